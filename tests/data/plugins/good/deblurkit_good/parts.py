"""The components themselves."""


class Gentle:
    pass


class Eager:
    pass


class Elsewhere:
    def __init__(self, params, *, jobs):
        self.params, self.jobs = params, jobs
