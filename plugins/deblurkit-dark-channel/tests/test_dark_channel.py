import subprocess
import sys

import pytest
import torch
from deblurkit.core import Observation
from deblurkit.errors import KernelError
from deblurkit.ops.convolve import convolve_valid
from deblurkit.registry import registry
from deblurkit.testing import (
    ImagePriorContract,
    blur_by_definition,
    cartoon,
    curved_kernel,
    example,
    generator,
)

from deblurkit_dark_channel.channel import dark_channel, pick, put
from deblurkit_dark_channel.plugin import DARK_CHANNEL, DarkChannelParams
from deblurkit_dark_channel.prior import KNEE, DarkChannel
from deblurkit_dark_channel.splitting import Splitting, sharpened


class TestContract(ImagePriorContract):
    spec = DARK_CHANNEL


def prior(observation, margin=(3, 4), **params):
    return DarkChannel(DarkChannelParams(**params), observation, margin=margin, generator=generator())


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=generator(seed))


def by_definition(x, patch):
    """The least value of every patch, one pixel at a time."""
    reach = patch // 2
    out = torch.zeros(x.shape[0], 1, *x.shape[-2:])
    for row in range(x.shape[-2]):
        for column in range(x.shape[-1]):
            window = x[..., max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
            out[:, 0, row, column] = window.amin((1, 2, 3))
    return out


@pytest.mark.parametrize(("batch", "channels", "size"), [(1, 1, (9, 12)), (2, 3, (10, 7)), (1, 3, (1, 6))])
@pytest.mark.parametrize("patch", [1, 3, 5, 35])
def test_dark_channel_is_the_least_value_of_every_patch(batch, channels, size, patch):
    x = noise(batch, channels, *size) - 0.3
    values, places = dark_channel(x, patch)
    assert torch.equal(values, by_definition(x, patch))
    assert torch.equal(values, pick(x, places))


def test_dark_channel_of_equal_values():
    values, places = dark_channel(torch.full((2, 3, 6, 5), 0.25), 3)
    assert bool((values == 0.25).all())
    assert 0 <= int(places.min()) <= int(places.max()) < 3 * 6 * 5


def test_put_is_the_adjoint_of_pick():
    x, u = noise(2, 3, 8, 9), noise(2, 1, 8, 9, seed=1)
    _, places = dark_channel(x, 5)
    other = noise(2, 3, 8, 9, seed=2)
    torch.testing.assert_close((pick(other, places) * u).sum(), (other * put(u, places, other.shape)).sum())


def test_slope_of_the_dark_channel_goes_to_the_darkest_pixels():
    x = noise(1, 3, 6, 7).requires_grad_()
    values, places = dark_channel(x, 3)
    (slope,) = torch.autograd.grad(values.sum(), x)
    assert torch.equal(slope, put(torch.ones_like(values.detach()), places, x.shape))


def test_kept_dark_counts_every_picked_pixel_once():
    observation, _, kernel = example(2, 3)
    problem = Splitting(observation, kernel, patch=5, rounds=1)
    picked, wanted = problem.kept_dark(0.3**2)
    x = problem.picture()
    _, places = dark_channel(x, 5)
    inside = (..., slice(0, x.shape[-2]), slice(0, x.shape[-1]))
    at = torch.zeros(2, x[0].numel()).scatter(1, places.flatten(1), 1.0).view(x.shape)
    assert torch.equal(picked[inside], at)
    torch.testing.assert_close(wanted[inside], at * x * (x.abs() > 0.3))
    for grid in (picked, wanted):
        outside = grid.clone()
        outside[inside] = 0
        assert not bool(outside.any())


def dense_system(problem, alpha, weights):
    """The matrix of the x-step, from one column a pixel."""
    count = problem.grid[0] * problem.grid[1]
    unit = torch.eye(count, dtype=torch.float64).view(count, 1, *problem.grid)
    dx, dy = (torch.roll(unit, -1, dim) - unit for dim in (-1, -2))
    gradients = torch.cat([dx.flatten(1), dy.flatten(1)], dim=1)
    blurred = problem.blurred(unit.float()).double() * problem.mask.double().sqrt()
    return blurred.flatten(1) @ blurred.flatten(1).T + alpha * gradients @ gradients.T + weights.flatten().diag()


def test_image_solves_the_system_that_linear_algebra_writes_down():
    kernel = curved_kernel((3, 5))
    latent = cartoon(1, 1, (16, 18), seed=3)
    mask = torch.ones(1, 1, 14, 14)
    mask[..., 4:6, 7:10] = 0
    observation = Observation.of(blur_by_definition(latent, kernel), mask=mask)
    problem = Splitting(observation, kernel, patch=3, rounds=150)
    alpha, beta = 0.05, 0.1
    picked, wanted = problem.kept_dark(0.2**2)
    right = problem.explained + alpha * problem.kept_gradients(0.1**2) + beta * wanted
    exact = torch.linalg.solve(dense_system(problem, alpha, beta * picked.double()), right.flatten().double())
    problem.solve(right, beta * picked, alpha)
    torch.testing.assert_close(problem.x.flatten().double(), exact, atol=1e-3, rtol=0)


def objective(problem, observation, kernel, *, dark, edges):
    """What is minimised, of the latent picture: L0 norms counted with a little tolerance."""
    x = problem.picture()
    data = (convolve_valid(x, kernel) - observation.y).square().sum()
    gradients = sum(torch.diff(x, dim=dim).abs().gt(0.02).sum() for dim in (-1, -2))
    values, places = dark_channel(x, problem.patch)
    return float(data + edges * gradients + dark * len(places[values.abs() > 0.02].unique()))


def test_restoration_lowers_the_objective():
    _, latent, kernel = example()
    dark_world = Observation.of(blur_by_definition((latent - 0.1).clamp_min(0), kernel), 0.002)
    before = Splitting(dark_world, kernel, patch=5, rounds=3)
    after = Splitting(dark_world, kernel, patch=5, rounds=3)
    weights = {"dark": 2e-3, "edges": 3e-3}
    after.x[..., : after.size[0], : after.size[1]] = sharpened(dark_world, kernel, patch=5, rounds=3, **weights)
    assert objective(after, dark_world, kernel, **weights) < 0.7 * objective(before, dark_world, kernel, **weights)


def test_dark_pixels_become_black():
    """A dull black is what blur makes of a dark spot; the cost of the dark channel takes its pixels to zero."""
    latent = cartoon(1, 1, (54, 64)).clamp_min(0.2)
    for row in range(10, 50, 8):
        latent[..., row : row + 2, 12:52:8] = 0.03
    kernel = torch.full((1, 1, 3, 3), 1 / 9)
    observation = Observation.of(blur_by_definition(latent, kernel), 0.002)
    shares = []
    for dark in (0.0, 0.02):
        x = sharpened(observation, kernel, dark=dark, edges=1e-5, patch=15, rounds=5)
        shares.append(float((dark_channel(x, 15)[0].abs() < 0.01).float().mean()))
    assert shares[0] < 0.2
    assert shares[1] > 0.8


@pytest.mark.parametrize("dark", [0.0, 0.002, 0.5])
def test_both_penalties_grow_together_and_that_of_the_dark_channel_stays_at_its_largest(dark, monkeypatch):
    levels = []
    monkeypatch.setattr(Splitting, "step", lambda _, *given: levels.append(given))
    observation, _, kernel = example()
    sharpened(observation, kernel, dark=dark, edges=0.003, patch=5, rounds=1)
    alphas, betas = [level[3] for level in levels], [level[1] for level in levels]
    assert {(level[0], level[2]) for level in levels} == {(dark, 0.003)}
    assert alphas == pytest.approx([0.006 * 2**index for index in range(18)])
    assert alphas[-1] < 1e3 <= 2 * alphas[-1]
    assert betas == pytest.approx([min(2 * dark * 2**index, 8.0) for index in range(18)])


def test_costs_fall_with_progress():
    observation, _, kernel = example()
    model = prior(observation)

    def misfit(progress):
        x = model.restore(observation, kernel, progress=progress)
        return float((convolve_valid(x, kernel) - observation.y).square().mean())

    assert misfit(0.0) > 1.2 * misfit(0.25) > 1.2**2 * misfit(1.0)
    full = prior(observation, relax=1.0)
    assert torch.equal(model.restore(observation, kernel, progress=0.0), full.restore(observation, kernel))


def test_the_norms_are_joint_over_channels():
    """Three channels weigh three times in the misfit and once in the norms, as costs of a third in one channel do."""
    grey, _, kernel = example()
    colour = Observation.of(grey.y.expand(-1, 3, -1, -1).contiguous(), float(grey.noise))
    one, three = (Splitting(which, kernel, patch=5, rounds=1) for which in (grey, colour))
    for threshold in (0.05**2, 0.2**2):
        kept = three.kept_gradients(3 * threshold)
        torch.testing.assert_close(kept, one.kept_gradients(threshold).expand_as(kept))
    (few, _), (many, _) = one.kept_dark(0.1), three.kept_dark(0.1)
    assert int(many.sum()) == int(few.sum()), "a dark value is one channel's"


def test_patch_scales_with_the_picture():
    observation, _, _ = example()
    auto = prior(observation)
    assert [auto.patch(size) for size in ((2000, 3000), (238, 400), (400, 237))] == [35, 35, 33]
    assert [auto.patch(size) for size in ((98, 70), (3, 3))] == [11, 1]
    assert prior(observation, patch=9).patch((2000, 3000)) == 9


def test_energy_counts_dark_values_and_gradients():
    x = torch.zeros(2, 1, 4, 4)
    x[1] = KNEE
    energy = prior(Observation.of(x), energy_weight=1.0, dark=1.0, edges=1.0).energy(x)
    torch.testing.assert_close(energy, torch.tensor([0.0, 0.25]))


def test_energy_prefers_the_sharp_picture():
    observation, latent, kernel = example()
    sharp = (latent - 0.1).clamp_min(0)
    blurred = convolve_valid(sharp, kernel)
    model = prior(observation)
    assert float(model.energy(sharp[..., 3:-3, 4:-4])) < float(model.energy(blurred))


def test_an_even_kernel_is_refused():
    observation, _, _ = example()
    with pytest.raises(KernelError):
        prior(observation).restore(observation, torch.full((1, 1, 4, 4), 1 / 16))


def test_deblurkit_finds_it_under_its_distribution():
    entry = registry().find("image_prior", "dark-channel")
    assert entry.provider.distribution == "deblurkit-dark-channel"
    assert not [broken for broken in registry().broken if broken.provider == entry.provider]
    assert entry.spec.load() is DarkChannel


def test_reading_the_plugin_does_not_import_torch():
    program = "import sys, deblurkit_dark_channel.plugin; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
