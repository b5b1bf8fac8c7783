import subprocess
import sys

import pytest
import torch
from deblurkit.core import Observation
from deblurkit.errors import KernelError
from deblurkit.ops.convolve import convolve_valid
from deblurkit.registry import registry
from deblurkit.testing import ImagePriorContract, blur_by_definition, cartoon, curved_kernel, example, generator

from deblurkit_normalized_sparsity.plugin import NORMALIZED_SPARSITY, NormalizedSparsityParams
from deblurkit_normalized_sparsity.prior import SMOOTHING, NormalizedSparsity, solved, spread


class TestContract(ImagePriorContract):
    spec = NORMALIZED_SPARSITY


def prior(observation, margin=(3, 4), **params):
    return NormalizedSparsity(NormalizedSparsityParams(**params), observation, margin=margin, generator=generator())


def gradients(x):
    return torch.cat([torch.diff(x, dim=-1)[..., :-1, :].flatten(1), torch.diff(x, dim=-2)[..., :-1].flatten(1)], dim=1)


def test_energy_is_l1_over_l2():
    observation, latent, _ = example(2, 3)
    x = latent + 0.05 * torch.randn(latent.shape, generator=generator(1))
    d = gradients(x)
    expected = 0.5 * d.abs().sum(1) / d.norm(dim=1) / d.shape[1] ** 0.5
    torch.testing.assert_close(prior(observation, energy_weight=0.5).energy(x), expected, rtol=1e-2, atol=0)


def test_energy_does_not_change_with_contrast_brightness_or_size():
    observation, latent, _ = example()
    model = prior(observation)
    energy = model.energy(latent)
    torch.testing.assert_close(model.energy(0.5 * latent + 0.3), energy, rtol=5e-2, atol=0)
    # a mirror image has the same gradients once more
    torch.testing.assert_close(model.energy(torch.cat([latent, latent.flip(-1)], dim=-1)), energy, rtol=2e-2, atol=0)


@pytest.mark.parametrize("seed", range(4))
def test_energy_prefers_the_sharp_picture_to_the_blurry_one(seed):
    """And its numerator alone does not, which is why it is divided."""
    observation, latent, kernel = example(seed=seed)
    blurred = convolve_valid(latent, kernel)
    sharp = latent[..., 3:-3, 4:-4]
    assert float(gradients(blurred).abs().mean()) < float(gradients(sharp).abs().mean())
    model = prior(observation)
    assert float(model.energy(sharp)) < 0.8 * float(model.energy(blurred))


def test_energy_of_a_flat_picture_is_that_of_no_sparsity_and_has_a_slope():
    x = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
    energy = prior(Observation.of(x.detach()), energy_weight=1.0).energy(x)
    torch.testing.assert_close(energy.detach(), torch.ones(1))
    (slope,) = torch.autograd.grad(energy.sum(), x)
    assert bool(torch.isfinite(slope).all())


def test_spread_is_the_root_mean_square_and_never_zero():
    x = torch.zeros(2, 1, 3, 3)
    x[1, 0, 1, 1] = 1.0  # all four differences at the only inner pixel
    torch.testing.assert_close(spread(x), torch.tensor([SMOOTHING, float((gradients(x)[1].square().mean()).sqrt())]))


def test_restoration_is_stationary():
    """At the fixed point no small step along any direction lowers the l1 problem with its denominator frozen."""
    observation, _, kernel = example(2)
    cost = torch.tensor([1e-4, 4e-4])
    x = solved(observation, kernel, observation.mask, cost, outer=20, inner=40)
    frozen = spread(x)

    def objective(x):
        # like the solver's: anisotropic, and all differences there are
        absolute = sum(torch.diff(x, dim=dim).abs().sum((1, 2, 3)) for dim in (-1, -2))
        return (convolve_valid(x, kernel) - observation.y).square().sum((1, 2, 3)) / 2 + cost / frozen * absolute

    least = objective(x)
    for seed in range(3):
        direction = torch.randn(x.shape, generator=generator(seed))
        for size in (0.01, 0.001):
            assert bool((objective(x + size * direction) > 0.999 * least).all())
    assert bool((objective(x) < 0.6 * objective(prior(observation)().detach().expand_as(x))).all())


def test_cost_is_relative_to_the_spread():
    """Half the contrast and noise with a quarter of the cost is the same problem."""
    observation, _, kernel = example()
    half = Observation.of(0.5 * observation.y + 0.2)
    whole = solved(observation, kernel, observation.mask, torch.tensor([4e-4]), 10, 50)
    scaled = solved(half, kernel, half.mask, torch.tensor([1e-4]), 10, 50)
    assert float((scaled - 0.5 * whole - 0.2).square().mean().sqrt()) < 1e-3


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("lamp", [False, True])
def test_grey_is_restored_alike_in_one_channel_and_in_three(progress, lamp):
    grey, _, kernel = example()
    if lamp:
        y, saturated = grey.y.clone(), torch.zeros_like(grey.y)
        y[..., 20:24, 30:36], saturated[..., 20:24, 30:36] = 1.0, 1.0
        grey = Observation(y, 1 - saturated, saturated, grey.noise)
    colour = Observation(grey.y.expand(-1, 3, -1, -1).contiguous(), grey.mask, grey.saturated, grey.noise)
    one, three = (prior(which).restore(which, kernel, progress=progress) for which in (grey, colour))
    assert three.shape[1] == 3
    torch.testing.assert_close(three, one.expand_as(three), atol=1e-3, rtol=0)


def test_weight_and_progress_decide_how_many_edges_are_left():
    observation, _, kernel = example()

    def edges(progress, **params):
        x = prior(observation, **params).restore(observation, kernel, progress=progress)
        return int((torch.diff(x, dim=-1).abs() > 0.02).sum())

    assert edges(0.0, weight=5e-3) < edges(0.0, weight=5e-4)
    assert edges(0.0, weight=5e-3) < edges(0.4, weight=5e-3)


def test_the_border_does_not_wrap_around():
    latent = torch.cat([torch.full((1, 1, 54, 32), 0.9), torch.full((1, 1, 54, 32), 0.1)], dim=-1)
    kernel = torch.full((1, 1, 1, 9), 1 / 9)
    observation = Observation.of(convolve_valid(latent, kernel), noise=0.001)
    for progress in (0.0, 1.0):
        x = prior(observation, margin=(0, 4)).restore(observation, kernel, progress=progress)[..., 4:-4]
        assert float((x[..., -8:] - 0.1).abs().max()) < 0.05
        assert float((x[..., :8] - 0.9).abs().max()) < 0.05


def test_a_lamp_may_be_brighter_than_the_sensor_shows():
    latent = cartoon(1, 1, (54, 64)) * 0.6
    latent[..., 24:28, 30:34] = 6.0
    kernel = curved_kernel((7, 9))
    y = blur_by_definition(latent, kernel)
    saturated = (y >= 1).float()
    assert bool(saturated.any())
    observation = Observation(y.clamp_max(1), 1 - saturated, saturated, torch.tensor([0.001]))
    x = prior(observation, inner=40).restore(observation, kernel)
    assert float(x[..., 24:28, 30:34].mean()) > 1.2


def test_an_even_kernel_is_refused():
    observation, _, _ = example()
    with pytest.raises(KernelError):
        prior(observation).restore(observation, torch.full((1, 1, 4, 4), 1 / 16))


def test_deblurkit_finds_it_under_its_distribution():
    entry = registry().find("image_prior", "normalized-sparsity")
    assert entry.provider.distribution == "deblurkit-normalized-sparsity"
    assert not [broken for broken in registry().broken if broken.provider == entry.provider]
    assert entry.spec.load() is NormalizedSparsity


def test_reading_the_plugin_does_not_import_torch():
    program = "import sys, deblurkit_normalized_sparsity.plugin; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
