import importlib

import pytest
import torch
from deblurkit.config import resolve
from deblurkit.core import ImagePrior, KernelPrior, Observation, Problem
from deblurkit.ops.convolve import convolve_valid
from deblurkit.pipeline import deblur
from deblurkit.registry import registry
from deblurkit.specs import Fit
from deblurkit.testing import cartoon, curved_kernel, generator

from deblurkit_inr.cross_scale import CrossScaleSSIM, strided_taps
from deblurkit_inr.plugin import CrossScaleParams

FIT = Fit(frozenset({"parameters"}), frozenset({"parameters"}), 2)


class Given(ImagePrior):
    def __init__(self, x, observation, margin):
        super().__init__(None, observation, margin=margin, generator=generator())
        self.x = torch.nn.Parameter(x)

    def forward(self):
        return self.x


class Taps(KernelPrior):
    def __init__(self, kernel, observation):
        super().__init__(None, observation, size=tuple(kernel.shape[-2:]), generator=generator())
        self.k = torch.nn.Parameter(kernel)

    def kernel(self):
        return self.k


def problem(x, kernel, y, **more):
    observation = Observation.of(y)
    margin = kernel.shape[-2] // 2, kernel.shape[-1] // 2
    data = CrossScaleSSIM(CrossScaleParams(until=5, weight=0.01))
    return Problem(observation, Given(x, observation, margin), Taps(kernel, observation), data, FIT, **more)


def pair(stride=2, change=0.0):
    """A scene, and the same one on every second pixel, of which the image may be changed."""
    kernel = curved_kernel((9, 13))  # radii 4 and 6: their even taps reach the border
    x = cartoon(1, 1, (50, 60))
    y = convolve_valid(x, kernel)
    taps = kernel[..., ::stride, ::stride]
    coarse_y = y[..., ::stride, ::stride]
    size = [side + taps_side - 1 for side, taps_side in zip(coarse_y.shape[-2:], taps.shape[-2:], strict=True)]
    small = x[..., ::stride, ::stride][..., : size[0], : size[1]]
    there = problem(small + change * torch.randn(small.shape, generator=generator(2)), stride**2 * taps, coarse_y)
    return problem(x, kernel, y, coarser=there, stride=stride)


def terms(one, step=0):
    return {name: float(term.detach()) for name, term in one.data.terms(one, one.image(), step).items()}


def test_both_sides_agree_where_both_scales_show_the_same_scene():
    exact, other = terms(pair()), terms(pair(change=0.1))
    assert exact["data"] == pytest.approx(0.0, abs=1e-5)
    assert exact["scales"] < 1e-5
    assert other["scales"] > 1e-3
    assert other["data"] == exact["data"], "the fine image is the same"


def test_the_distance_is_the_one_with_modulated_kernels_as_the_paper_has_it():
    """4 k' * x' minus the three modulated blurs, every second pixel of each; k' as the strided taps are."""
    one = pair(change=0.1)
    x, kernel, there = one.image(), one.kernel.kernel(), one.coarser
    right = 4 * convolve_valid(there.image(), there.kernel.kernel() / 4)
    rows, columns = torch.arange(9)[:, None] - 4, torch.arange(13)[None, :] - 6
    for sign in ((-1.0) ** rows.abs(), (-1.0) ** columns.abs(), (-1.0) ** (rows.abs() + columns.abs())):
        right = right - convolve_valid(x, kernel * sign)[..., ::2, ::2]
    distance = torch.fft.fft2(there.observation.y - right).abs().mean()
    assert terms(one)["scales"] == pytest.approx(0.01 * float(distance.detach()), rel=1e-3)


def test_a_kernel_on_the_black_pixels_of_a_checkerboard_is_told_by_the_coarser_scale():
    """Of a smooth image it makes nearly the same on every second pixel."""
    x = torch.nn.functional.avg_pool2d(cartoon(1, 1, (60, 70)), 9, stride=1)
    kernel = curved_kernel((9, 13))
    black = kernel * (1 + (-1.0) ** (torch.arange(9)[:, None] - 4 + torch.arange(13)[None, :] - 6))
    y = convolve_valid(x, kernel)
    taps = 4 * kernel[..., ::2, ::2]
    there = problem(x[..., ::2, ::2], taps, y[..., ::2, ::2])
    right, wrong = (terms(problem(x, k, y, coarser=there, stride=2)) for k in (kernel, black / black.sum()))
    assert wrong["data"] < 0.02
    assert right["scales"] < 1e-5
    assert wrong["scales"] > 1e-2


def test_the_gradient_reaches_both_scales():
    one = pair(change=0.1)
    sum(one.data.terms(one, one.image(), 0).values()).sum().backward()
    for part in (one.image.x, one.kernel.k, one.coarser.image.x, one.coarser.kernel.k):
        assert part.grad is not None
        assert float(part.grad.abs().max()) > 0


def test_it_is_plain_ssim_later_and_where_there_is_no_coarser_scale():
    one = pair()
    assert set(terms(one, 4)) == {"data", "scales"}
    assert set(terms(one, 5)) == {"data"}
    assert set(terms(one.coarser)) == {"data"}
    averaged = Problem(one.observation, one.image, one.kernel, one.data, FIT, coarser=one.coarser)
    assert set(terms(averaged)) == {"data"}


def test_the_phase_changes_only_where_the_objective_does():
    """Else the steps before ``until`` would not count for the least loss of a scale that compares nothing."""
    one = pair()
    averaged = Problem(one.observation, one.image, one.kernel, one.data, FIT, coarser=one.coarser)
    strided = Problem(one.observation, one.image, one.kernel, one.data, FIT, stride=2)
    for problem_, expected in ((averaged, [0, 0, 0, 0]), (one, [0, 0, 1, 1]), (strided, [0, 0, 0, 0])):
        seen = []
        for step in (0, 4, 5, 9):  # as optimizers do: the loss first
            one.data.terms(problem_, problem_.image(), step)
            seen.append(one.data.phase(step))
        assert seen == expected


@pytest.mark.parametrize("optimizer", ["joint", "alternating"])
def test_the_engine_sees_a_change_at_the_finer_scale_alone(optimizer, monkeypatch):
    """Every step that the optimizer yields, with its scale and phase."""
    kind = importlib.import_module(f"deblurkit.optimizers.{optimizer}").__dict__[optimizer.capitalize()]
    steps, seen = kind.steps, []

    def watched(self, problem):
        for step in steps(self, problem):
            seen.append((problem.scale, step.index, step.phase))
            yield step

    monkeypatch.setattr(kind, "steps", watched)
    flags = {"optimizer.name": optimizer, "optimizer.iterations": 4, "data_term.name": "cross-scale-ssim"}
    flags |= {"optimizer.image_steps": 1, "optimizer.kernel_steps": 1} if optimizer == "alternating" else {}
    flags |= {"data_term.until": 2, "image_prior.name": "inr", "kernel_prior.name": "inr", "image_prior.channels": 4}
    flags |= {"image_prior.skip_channels": 2, "image_prior.scales": 2, "run.kernel_size": 9, "run.threads": 1}
    flags |= {"run.scales": 2, "run.scale_ratio": 2, "run.decimation": "stride", "run.restarts": 0, "run.start": "own"}
    deblur(cartoon(1, 1, (64, 66)), resolve(flags | {"final.name": "none"}, registry=registry()))
    assert {scale for scale, _, _ in seen} == {0, 1}
    assert all(phase == int(scale == 1 and index >= 2) for scale, index, phase in seen)


def test_masked_pixels_of_the_coarser_scale_do_not_count():
    values = []
    for level in (0.0, 1.0):
        one = pair(change=0.05)
        y, mask = one.coarser.observation.y.clone(), torch.ones_like(one.coarser.observation.y)
        mask[..., 3:7, 4:9] = 0
        y[..., 3:7, 4:9] = level
        there = Problem(Observation.of(y, mask=mask), one.coarser.image, one.coarser.kernel, one.data, FIT)
        values.append(terms(Problem(one.observation, one.image, one.kernel, one.data, FIT, coarser=there, stride=2)))
    assert values[0] == pytest.approx(values[1], abs=1e-6)


@pytest.mark.parametrize(("size", "stride"), [((9, 13), 2), ((7, 5), 2), ((13, 9), 3)])
def test_strided_taps_hold_the_centre(size, stride):
    kernel = torch.rand(1, 1, *size, generator=generator())
    kept = strided_taps(kernel, stride)
    for i in range(size[0]):
        for j in range(size[1]):
            on = (i - size[0] // 2) % stride == 0 and (j - size[1] // 2) % stride == 0
            assert float(kept[0, 0, i, j]) == (float(kernel[0, 0, i, j]) if on else 0.0)
