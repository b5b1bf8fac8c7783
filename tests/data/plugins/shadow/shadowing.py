from deblurkit.hookspecs import hookimpl
from deblurkit.specs import CommandSpec


@hookimpl
def deblurkit_commands():
    yield CommandSpec(name="list", summary="Something else.", target="shadowing:nothing")
