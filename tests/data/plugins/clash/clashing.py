from deblurkit.hookspecs import hookimpl
from deblurkit.specs import ImagePriorSpec


@hookimpl
def deblurkit_image_priors():
    yield ImagePriorSpec(name="gentle", summary="Takes a name.", target="clashing:Hard", offers={"restore"})
    yield ImagePriorSpec(name="net", summary="Takes a built-in name.", target="clashing:Hard", offers={"restore"})
    yield ImagePriorSpec(name="hard", summary="Its own.", target="clashing:Hard", offers={"restore"})
