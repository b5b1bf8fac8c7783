"""What the contracts tell an author whose part is wrong: what is wrong, and where it says what is right."""

import pytest
import torch
from torch import nn

from deblurkit.core import DataTerm, ImagePrior, KernelPrior, PixelImagePrior
from deblurkit.ops.convolve import convolve_valid
from deblurkit.specs import DataTermSpec, ImagePriorSpec, KernelPriorSpec
from deblurkit.testing import DataTermContract, ImagePriorContract, KernelPriorContract


class Scalar(PixelImagePrior):
    def energy(self, x):
        return x.square().mean()


class Detached(PixelImagePrior):
    def energy(self, x):
        return x.detach().square().mean((1, 2, 3))


class Negative(PixelImagePrior):
    def energy(self, x):
        return -x.square().mean((1, 2, 3))


class Small(ImagePrior):
    def forward(self):
        return torch.zeros(1, 1, 48, 56)


class Built(PixelImagePrior):
    def __init__(self, params):
        self.params = params


class Same(KernelPrior):
    def __init__(self, params, observation, *, size, generator):
        super().__init__(params, observation, size=size, generator=generator)
        self.raw = nn.Parameter(torch.ones(self.batch, 1, *size))

    def kernel(self):
        return self.raw

    def blur(self, x):
        return convolve_valid(x, self.kernel().flip(-1))


class Absolute(DataTerm):
    def forward(self, prediction, observation, step):
        return (prediction - observation.y).square().mean((1, 2, 3))


class Reserved(DataTerm):
    def terms(self, problem, x, step):
        return {"data": x.square().mean((1, 2, 3)), "image": x.abs().mean((1, 2, 3))}


class Unnamed(DataTerm):
    def terms(self, problem, x, step):
        return {"scales": x.square().mean((1, 2, 3))}


class Summed(DataTerm):
    def terms(self, problem, x, step):
        return {"data": x.square().mean((1, 2, 3)), "scales": x.abs().mean()}


class Still(DataTerm):
    def terms(self, problem, x, step):
        return {"data": x.detach().square().mean((1, 2, 3))}


class Halved(DataTerm):
    def terms(self, problem, x, step):
        return {"data": x.square().mean((1, 2, 3)), "scales": (x * x.detach()).mean((1, 2, 3))}


class Plane(ImagePrior):
    """A ramp over the place: its parameters do not hang on the grid."""

    heed = True

    def __init__(self, params, observation, *, margin, generator):
        super().__init__(params, observation, margin=margin, generator=generator)
        self.slopes = nn.Parameter(torch.rand(2, generator=generator))
        self.pitch = 0.02

    def forward(self):
        rows, columns = (torch.arange(n) * self.pitch for n in self.latent_shape[-2:])
        return (self.slopes[0] * rows[:, None] + self.slopes[1] * columns).expand(self.latent_shape)

    def take_over(self, coarser, *, ratio, offset):
        self.slopes = coarser.slopes
        if self.heed:
            self.pitch = coarser.pitch / ratio[0]
        return True


class Heedless(Plane):
    heed = False


class Silent(Plane):
    def take_over(self, coarser, *, ratio, offset):
        super().take_over(coarser, ratio=ratio, offset=offset)


class Round(KernelPrior):
    """A Gaussian of a width in pixels of the scale where it began."""

    heed = True

    def __init__(self, params, observation, *, size, generator):
        super().__init__(params, observation, size=size, generator=generator)
        self.width = nn.Parameter(1 + torch.rand(1, generator=generator))
        self.ratio = 1.0

    def kernel(self):
        rows, columns = ((torch.arange(n) - n // 2) / self.ratio for n in self.size)
        squares = rows[:, None].square() + columns.square()
        return torch.softmax(-(squares / self.width.square()).flatten(), 0).view(1, 1, *self.size)

    def take_over(self, coarser, *, ratio):
        self.width = coarser.width
        if self.heed:
            self.ratio = coarser.ratio * ratio
        return True


class Narrow(Round):
    heed = False


class Mute(Round):
    def take_over(self, coarser, *, ratio):
        super().take_over(coarser, ratio=ratio)


TAKES = {ImagePriorSpec: {"parameters"}, KernelPriorSpec: {"parameters", "kernel"}}
TAKING = "test_take_over_goes_on_where_the_coarser_prior_was"


def fails(contract, spec, cls, test, *args, monkeypatch):
    """The message of one test of a contract for a class."""
    monkeypatch.setattr(type(spec), "load", lambda _: cls)
    made = type("TestPart", (contract,), {"spec": spec})()
    with pytest.raises(AssertionError) as caught:
        getattr(made, test)(*args)
    return str(caught.value)


SLOPE = "test_energy_is_a_number_per_picture_with_the_right_slope"


@pytest.mark.parametrize(
    ("cls", "test", "args", "words"),
    [
        (Scalar, SLOPE, (2,), "has the shape (), and must have (2,) (see deblurkit.core.ImagePrior.energy)"),
        (Detached, SLOPE, (1,), "varies with x and has no gradient"),
        (Negative, SLOPE, (1,), "energy(x) is negative"),
        (Small, "test_proposes_images_of_the_latent_size", (1, 1), "must have (1, 1, 54, 64)"),
        (
            Built,
            "test_same_seed_same_image",
            (),
            "it is built as Built(params, observation, margin=..., generator=...)",
        ),
        (Small, "test_does_what_it_offers", (), "it offers 'energy', and its class has no energy()"),
        (int, "test_same_seed_same_image", (), "must be a class derived from ImagePrior"),
    ],
)
def test_an_image_prior_is_told_what_is_wrong(cls, test, args, words, monkeypatch):
    spec = ImagePriorSpec(name="part", summary="A part.", target="a:B", offers={"parameters", "energy"})
    message = fails(ImagePriorContract, spec, cls, test, *args, monkeypatch=monkeypatch)
    assert message.startswith("image prior 'part': ")
    assert words in message
    assert "(see deblurkit." in message


@pytest.mark.parametrize(
    ("test", "args", "words"),
    [
        (
            "test_kernel_is_on_the_simplex_and_is_the_blur",
            (1,),
            "kernel() does not sum to 1; the largest difference is 62",
        ),
        ("test_does_what_it_offers", (), "it offers 'fit', and its class has no fit()"),
    ],
)
def test_a_kernel_prior_is_told_what_is_wrong(test, args, words, monkeypatch):
    spec = KernelPriorSpec(name="part", summary="A part.", target="a:B", offers={"parameters", "kernel", "fit"})
    assert words in fails(KernelPriorContract, spec, Same, test, *args, monkeypatch=monkeypatch)


def test_a_data_term_is_told_that_it_believes_masked_pixels(monkeypatch):
    spec = DataTermSpec(name="part", summary="A part.", target="a:B")
    message = fails(DataTermContract, spec, Absolute, "test_masked_pixels_do_not_count", 0, monkeypatch=monkeypatch)
    assert "depends on pixels where observation.mask is 0" in message
    assert message.endswith("(see deblurkit.core.Observation)")


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Reserved, "returns 'image', which is the name of a prior's energy"),
        (Unnamed, "returns 'scales', and must return 'data' among its parts"),
        (Summed, "'scales' of terms(), one number a picture, has the shape (), and must have (2,)"),
        (Still, "the sum of terms() has no gradient in the latent image"),
        (Halved, "the gradient of terms() says"),
    ],
)
def test_a_data_term_is_told_what_is_wrong_with_its_terms(cls, words, monkeypatch):
    spec = DataTermSpec(name="part", summary="A part.", target="a:B")
    test = "test_terms_are_named_numbers_per_picture_with_the_right_slope"
    message = fails(DataTermContract, spec, cls, test, 2, 2, 0, monkeypatch=monkeypatch)
    assert message.startswith("data term 'part': ")
    assert words in message
    assert message.endswith("(see deblurkit.core.DataTerm.terms)")


@pytest.mark.parametrize(
    ("contract", "spec", "cls", "words"),
    [
        (
            ImagePriorContract,
            ImagePriorSpec,
            Heedless,
            "take_over() says that it did, and at the pixels that both grids",
        ),
        (ImagePriorContract, ImagePriorSpec, Silent, "take_over() returns None, and must return a bool"),
        (KernelPriorContract, KernelPriorSpec, Narrow, "take_over() says that it did, and at the taps that both grids"),
        (KernelPriorContract, KernelPriorSpec, Mute, "take_over() returns None, and must return a bool"),
    ],
)
def test_a_prior_is_told_what_is_wrong_with_its_taking_over(contract, spec, cls, words, monkeypatch):
    made = spec(name="part", summary="A part.", target="a:B", offers=TAKES[spec])
    message = fails(contract, made, cls, TAKING, monkeypatch=monkeypatch)
    assert words in message
    assert ".take_over)" in message


@pytest.mark.parametrize(
    ("contract", "spec", "cls"),
    [(ImagePriorContract, ImagePriorSpec, Plane), (KernelPriorContract, KernelPriorSpec, Round)],
)
def test_a_prior_that_takes_over_as_it_should_passes(contract, spec, cls, monkeypatch):
    made = spec(name="part", summary="A part.", target="a:B", offers=TAKES[spec])
    monkeypatch.setattr(spec, "load", lambda _: cls)
    getattr(type("TestPart", (contract,), {"spec": made})(), TAKING)()


def test_an_override_that_is_no_parameter_is_named():
    spec = ImagePriorSpec(name="part", summary="A part.", target="a:B")
    made = type("TestPart", (ImagePriorContract,), {"spec": spec, "overrides": {"rounds": 3}})()
    with pytest.raises(AssertionError, match="overrides names 'rounds', and its parameters are none"):
        _ = made.params


@pytest.mark.parametrize("members", [{}, {"spec": DataTermSpec(name="part", summary="A part.", target="a:B")}])
def test_a_contract_without_the_right_descriptor_is_an_error_at_once(members):
    with pytest.raises(TypeError, match=r"TestPart: give it `spec = .*, the ImagePriorSpec"):
        type("TestPart", (ImagePriorContract,), members)
