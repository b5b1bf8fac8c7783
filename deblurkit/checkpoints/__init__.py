"""Checkpoints that others wrote: opened without running what is in them, recognised, and turned into our networks."""
