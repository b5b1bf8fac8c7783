"""The components themselves."""


class Gentle:
    pass


class Eager:
    pass
