from deblurkit.hookspecs import hookimpl
from deblurkit.specs import ImagePriorSpec


@hookimpl
def deblurkit_image_prior():
    yield ImagePriorSpec(name="lost", summary="Never seen.", target="typo_hook:Lost")


@hookimpl
def deblurkit_image_priors():
    yield ImagePriorSpec(name="kept", summary="Still there.", target="typo_hook:Kept", offers={"parameters"})
