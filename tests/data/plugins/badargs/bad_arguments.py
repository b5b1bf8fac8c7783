from deblurkit.hookspecs import hookimpl
from deblurkit.specs import ImagePriorSpec


@hookimpl
def deblurkit_image_priors(register):
    register(ImagePriorSpec(name="callback", summary="In another style.", target="bad_arguments:Callback"))
