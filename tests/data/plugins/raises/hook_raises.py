from deblurkit.hookspecs import hookimpl


@hookimpl
def deblurkit_optimizers():
    raise ZeroDivisionError("one\nover\nnothing")
