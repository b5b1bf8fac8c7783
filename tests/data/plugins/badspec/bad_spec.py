from deblurkit.hookspecs import hookimpl
from deblurkit.specs import ImagePriorSpec


@hookimpl
def deblurkit_image_priors():
    yield ImagePriorSpec(name="before", summary="Is kept.", target="bad_spec:Before", offers={"parameters"})
    yield ImagePriorSpec(name="misspelt", summary="Is not.", target="bad_spec:Misspelt", offers={"retore"})
