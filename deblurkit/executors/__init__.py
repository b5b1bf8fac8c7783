"""Where many independent tasks are computed: here, in worker processes, or on a cluster."""
