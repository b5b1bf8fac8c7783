"""Which image prior takes the last step where nobody names one."""

from deblurkit.config import resolve
from deblurkit.pipeline import Parts
from deblurkit.registry import registry


def parts(last: int, **flags) -> Parts:
    """The parts around `l0-gradient`, whose descriptor says so about the last step."""
    spec = registry().spec("image_prior", "l0-gradient")
    original = spec.last
    object.__setattr__(spec, "last", last)
    try:
        dotted = {"image_prior.name": "l0-gradient", "kernel_prior.name": "convolution", "final.name": "auto"}
        return Parts.load(resolve(dotted | flags, registry=registry()), registry())
    finally:
        object.__setattr__(spec, "last", original)


def test_a_prior_that_restores_takes_it_itself():
    made = parts(0)
    assert made.final_class is made.image_class


def test_a_prior_that_only_serves_the_estimation_leaves_it_to_the_usual_one():
    made = parts(-1)
    assert made.final_class is registry().load("image_prior", registry().default_restorer())
    assert type(made.final_params) is registry().spec("image_prior", registry().default_restorer()).params


def test_it_takes_it_where_it_is_named():
    made = parts(-1, **{"final.name": "l0-gradient"})
    assert made.final_class is made.image_class


def test_it_takes_it_where_the_kernel_is_given():
    made = parts(-1, **{"kernel_prior.name": "known"})
    assert made.final_class is made.image_class
