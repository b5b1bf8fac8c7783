import pytest
import torch
from deblurkit.core import Observation
from deblurkit.nets.seeding import seeded
from deblurkit.ops.simplex import centroid
from deblurkit.testing import curved_kernel, generator

from deblurkit_inr.kernel import CoordinateKernel, Siren
from deblurkit_inr.plugin import INRKernelParams

Y = Observation.of(torch.zeros(1, 1, 40, 40))


def prior(size=(13, 15), seed=0, observation=Y, **params):
    return CoordinateKernel(INRKernelParams(**params), observation, size=size, generator=generator(seed))


class Blob(torch.nn.Module):
    """A Gaussian of places: what a network would say whose kernel is off the centre."""

    def __init__(self, down, right, width=0.2):
        super().__init__()
        self.centre = torch.nn.Parameter(torch.tensor([down, right]))
        self.width = width

    def forward(self, places):
        return -((places - self.centre) ** 2).sum(-1) / (2 * self.width**2)


def blob(centring, down=0.23, right=-0.31):
    one = prior(centring=centring)
    one.networks = torch.nn.ModuleList([Blob(down, right)])
    return one


def test_a_siren_is_what_its_definition_says():
    net = Siren(5, 2, 30.0)
    places = torch.rand(7, 2)
    values = places
    for layer in net.layers[:-1]:
        values = torch.sin(30.0 * (values @ layer.weight.T + layer.bias))
    values = values @ net.layers[-1].weight.T + net.layers[-1].bias
    torch.testing.assert_close(net(places), values[:, 0])
    assert len(net.layers) == 4
    assert float(net.layers[0].weight.detach().abs().max()) <= 1 / 2
    assert float(net.layers[1].weight.detach().abs().max()) <= (6 / 5) ** 0.5 / 30


@pytest.mark.parametrize("seed", range(3))
def test_a_siren_begins_with_the_spread_of_its_paper(seed):
    """Sitzmann et al. 2020, section 3.2: uniform weights, and sines that all see inputs of like spread over places."""
    with seeded(generator(seed)):
        net = Siren(64, 3, 30.0)
    axis = torch.linspace(-1, 1, 21)
    signal = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).flatten(0, 1)
    bounds = [1 / 2] + 4 * [(6 / 64) ** 0.5 / 30]
    for index, (layer, bound) in enumerate(zip(net.layers, bounds, strict=True)):
        weight = layer.weight.detach()
        assert bound * 0.9 < float(weight.abs().max()) <= bound
        # a uniform distribution has its bound over sqrt(3); the first and last layers have few weights
        assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.05 if weight.numel() > 1000 else 0.2)
        inputs = 30.0 * layer(signal).detach()
        spread = float(inputs.std(0).mean())
        # of the first layer, over both uniform coordinates: 30 / 2 sqrt(2) / 3; then 1, a little less with depth
        assert (5.5 < spread < 8.5) if index == 0 else (0.4 < spread < 1.2)
        signal = inputs.sin()


def test_without_centring_a_kernel_stays_where_it_is():
    shift = centroid(blob("none").kernel())[0].detach()
    torch.testing.assert_close(shift, torch.tensor([0.23 * 6, -0.31 * 7]), atol=0.1, rtol=0)


def test_coordinates_centre_to_a_fraction_of_a_pixel_and_interpolate_nothing():
    moved, centred = blob("coordinates").kernel(), blob("coordinates", 0.0, 0.0).kernel()
    assert float(centroid(moved).detach().abs().max()) < 0.02
    torch.testing.assert_close(moved, centred, atol=1e-4, rtol=0)


def test_a_kernel_at_the_border_of_its_window_is_centred_too():
    """A part of it lies outside, so its centre of mass is found only once the window was moved."""
    one = blob("coordinates", 0.9, -0.9)
    first = one.at(centroid(one.at(torch.zeros(1, 2)))).detach()
    assert float(centroid(first).abs().min()) > 0.3, "moved once it is not in the centre"
    assert float(centroid(one.kernel()).detach().abs().max()) < 0.01


def test_whole_pixels_centre_to_half_a_pixel_and_keep_the_values():
    rolled, still = blob("pixels").kernel(), blob("none").kernel()
    assert float(centroid(rolled).detach().abs().max()) <= 0.55
    assert torch.equal(rolled.detach().flatten().sort().values, still.detach().flatten().sort().values)


@pytest.mark.parametrize("centring", ["coordinates", "none"])
def test_gradients_are_those_of_finite_differences(centring):
    """Through the centre of mass too."""
    observation = Observation.of(torch.zeros(1, 1, 40, 40, dtype=torch.float64))
    one = prior((7, 9), observation=observation, centring=centring, hidden_units=6, hidden_layers=1, frequency=5.0)
    weight = one.networks[0].layers[0].weight
    probe = torch.randn(1, 1, 7, 9, generator=generator(3), dtype=torch.float64)
    direction = torch.randn(weight.shape, generator=generator(4), dtype=torch.float64)
    (slope,) = torch.autograd.grad((one.kernel() * probe).sum(), weight)
    delta = 1e-5
    ends = []
    with torch.no_grad():
        for sign in (1, -2):
            weight.add_(sign * delta * direction)
            ends.append(float((one.kernel() * probe).sum()))
    assert float((slope * direction).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * delta), rel=1e-4)


def test_moving_the_network_does_not_move_a_centred_kernel():
    """The freedom to shift is gone: the gradient along it vanishes."""
    one = blob("coordinates")
    probe = torch.randn(1, 1, 13, 15, generator=generator(3))
    slopes = [
        float(torch.autograd.grad((other.kernel() * probe).sum(), other.networks[0].centre)[0].abs().max())
        for other in (one, blob("none"))
    ]
    assert slopes[0] < 1e-2 * slopes[1]


@pytest.mark.parametrize("centring", ["coordinates", "none"])
def test_taking_over_is_the_same_kernel_in_finer_pixels(centring):
    coarse, fine = prior((9, 9), centring=centring), prior((17, 17), seed=4, centring=centring)
    coarse.fit(curved_kernel((9, 9)))
    assert fine.take_over(coarse, ratio=2.0)
    assert fine.networks is coarse.networks
    torch.testing.assert_close(fine.places.view(17, 17, 2)[::2, ::2], coarse.places.view(9, 9, 2))
    if centring == "none":
        taps = fine.kernel()[..., ::2, ::2].detach()
        torch.testing.assert_close(taps / taps.sum(), coarse.kernel().detach(), atol=1e-5, rtol=1e-3)
    assert float(fine.kernel().sum().detach()) == pytest.approx(1.0, abs=1e-5)


def test_it_fits_for_as_many_steps_as_its_parameters_say():
    target, calls, distances = curved_kernel((13, 15)), [], []
    for steps in (3, 60):
        one = prior(fit_steps=steps, centring="none")
        one.networks[0].register_forward_hook(lambda *_: calls.append(1))
        calls.clear()
        one.fit(target)
        assert len(calls) == steps
        distances.append(float((one.kernel() - target).abs().sum().detach()))
    assert distances[1] < 0.5 * distances[0]


def test_a_window_of_one_pixel_is_a_point():
    torch.testing.assert_close(prior((1, 1)).kernel().detach(), torch.ones(1, 1, 1, 1))
