import subprocess
import sys
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from deblurkit.core import Observation
from deblurkit.errors import KernelError
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.deconvolve import Splitting
from deblurkit.ops.fourier import fast_size
from deblurkit.registry import registry
from deblurkit.testing import ImagePriorContract, blur_by_definition, cartoon, curved_kernel, example, generator

from deblurkit_normalized_sparsity.plugin import NORMALIZED_SPARSITY, NormalizedSparsityParams
from deblurkit_normalized_sparsity.prior import SMOOTHING, USUAL_RMS, NormalizedSparsity, solved, spread


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
    """At the fixed point no small step lowers the l1 problem with its denominator frozen.

    Noise would raise any l1 norm of gradients. These directions move no edge and make none: they raise and lower what
    is brighter than a level, so that the norm changes like the misfit and only the right balance of both is stationary.
    """
    observation, _, kernel = example(2)
    cost = torch.tensor([1e-4, 4e-4])
    x = solved(observation, kernel, observation.mask, cost, outer=20, inner=100).double()
    frozen = spread(x)
    y, kernel = observation.y.double(), kernel.double()
    assert (fast_size(x.shape[-2]), fast_size(x.shape[-1])) == tuple(x.shape[-2:]), "the solver's grid is the picture"

    def norm(x):
        return cost / frozen * sum((x.roll(-1, dim) - x).abs().sum((1, 2, 3)) for dim in (-1, -2))

    def objective(x):
        return (convolve_valid(x, kernel) - y).square().sum((1, 2, 3)) / 2 + norm(x)

    least = objective(x)
    for direction in [*((x > level).double() for level in (0.35, 0.5, 0.65)), x - x.mean((1, 2, 3), True)]:
        assert bool((norm(direction) > 0).all())
        for step in (1e-5, -1e-5):
            slope = (objective(x + step * direction) - least) / 1e-5
            # misfit and norm cancel to this share
            assert bool((slope > -0.05 * norm(direction)).all())


def dense_solution(y, kernel, cost, outer):
    """The reweighted problem in matrices, by iteratively reweighted least squares; also its last weight."""
    size = y.shape[-2] + kernel.shape[-2] - 1, y.shape[-1] + kernel.shape[-1] - 1
    unit = torch.eye(size[0] * size[1], dtype=torch.float64).view(-1, 1, *size)
    blur = blur_by_definition(unit, kernel.double().expand(len(unit), -1, -1, -1)).flatten(1).T
    slope = torch.cat([(unit.roll(-1, dim) - unit).flatten(1) for dim in (-1, -2)], dim=1).T
    weight, x = cost / float(spread(y)), None
    for index in range(outer):
        if index:
            weight = cost / float(spread(x.view(1, 1, *size)))
        per_gradient = torch.ones(len(slope), dtype=torch.float64)
        for _ in range(150):
            normal = blur.T @ blur + weight * slope.T @ (per_gradient[:, None] * slope)
            x = torch.linalg.solve(normal, blur.T @ y.flatten().double())
            per_gradient = 1 / ((slope @ x).square() + 1e-8).sqrt()
    return x.view(1, 1, *size), weight


@pytest.mark.parametrize("outer", [1, 2, 4])
def test_it_solves_the_reweighted_problem_that_linear_algebra_writes_down(outer):
    kernel = curved_kernel((3, 5))
    observation = Observation.of(blur_by_definition(cartoon(1, 1, (10, 12), seed=3), kernel))
    exact, weight = dense_solution(observation.y, kernel, 2e-3, outer)
    x = solved(observation, kernel, observation.mask, torch.tensor([2e-3]), outer, 1500)
    # a corner that hardly any kernel tap reaches may have any value between its neighbours'
    inside = (..., slice(1, -1), slice(2, -2))
    torch.testing.assert_close(x.double()[inside], exact[inside], atol=1e-3, rtol=0)
    if outer == 4:
        assert 2e-3 / float(spread(x)) == pytest.approx(weight, rel=2e-2)
        once, first = dense_solution(observation.y, kernel, 2e-3, 1)
        assert first > 1.1 * weight, "the blurry picture has the smaller gradients"
        assert float((once - exact)[inside].abs().max()) > 1e-2


class Watched(Splitting):
    """Remembers the weights it was given, and after how many steps."""

    made: ClassVar[list] = []

    def __init__(self, *arguments, weight, **more):
        super().__init__(*arguments, weight=weight, **more)
        self.weights, self.taken = [(0, float(weight))], 0
        self.made.append(self)

    def reweigh(self, weight):
        super().reweigh(weight)
        self.weights.append((self.taken, float(weight)))

    def step(self, *arguments, **more):
        super().step(*arguments, **more)
        self.taken += 1


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.setattr("deblurkit_normalized_sparsity.prior.Splitting", Watched)
    Watched.made.clear()
    return Watched.made


def test_the_weight_at_the_end_is_the_cost_over_the_spread(watched):
    observation, _, kernel = example()
    cost = 4e-4
    x = solved(observation, kernel, observation.mask, torch.tensor([cost]), 12, 30)
    weights = [weight for _, weight in watched[0].weights]
    assert weights[0] == pytest.approx(cost / float(spread(observation.y)))
    assert weights[-1] == pytest.approx(cost / float(spread(x)), rel=1e-3)
    assert weights[-1] < 0.8 * weights[0]
    once = solved(observation, kernel, observation.mask, torch.tensor([cost]), 1, 12 * 30)
    assert float((x - once).square().mean().sqrt()) > 1e-3


@pytest.mark.parametrize("progress", [0.0, 1.0])
@pytest.mark.parametrize(("outer", "inner"), [(1, 4), (3, 4), (3, 7)])
def test_outer_and_inner_count_the_rounds(watched, progress, outer, inner):
    observation, _, kernel = example()
    prior(observation, outer=outer, inner=inner).restore(observation, kernel, progress=progress)
    assert watched[0].taken == outer * inner
    assert [taken for taken, _ in watched[0].weights] == [index * inner for index in range(outer)]


@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
def test_strength_is_a_factor_on_the_cost_by_noise(watched, strength):
    observation, _, kernel = example()
    prior(observation, strength=strength, weight=0.1, relax=7.0).restore(observation, kernel)
    cost = strength * USUAL_RMS * (1.5 * float(observation.noise) ** 2 + 5e-5)
    assert watched[0].weights[0][1] == pytest.approx(cost / float(spread(observation.y)))


@pytest.mark.parametrize(("progress", "fallen"), [(0.0, 1.0), (0.25, 8.0**0.5), (0.5, 8.0), (0.9, 8.0)])
def test_weight_falls_by_relax(watched, progress, fallen):
    observation, _, kernel = example()
    prior(observation, weight=3e-3, relax=8.0, strength=5.0).restore(observation, kernel, progress=progress)
    assert watched[0].weights[0][1] == pytest.approx(3e-3 / fallen / float(spread(observation.y)))


def test_further_attempts_have_other_costs():
    params = NormalizedSparsityParams(weight=3e-3, inner=7)
    attempts = [NormalizedSparsity.restarted(params, attempt) for attempt in range(1, 5)]
    assert [one.weight for one in attempts] == pytest.approx([6e-3, 1.5e-3, 1.5e-2, 3e-3])
    assert all(replace(one, weight=3e-3) == params for one in attempts)


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
