from deblurkit.hookspecs import hookimpl
from deblurkit.specs import ImagePriorSpec


@hookimpl
def deblurkit_image_priors():
    yield ImagePriorSpec(name="net", summary="Comes first by its name.", target="aardvark:Net", offers={"restore"})
