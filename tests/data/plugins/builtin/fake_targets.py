"""What the stand-ins point to; imported only when one is loaded."""


class Net:
    pass
