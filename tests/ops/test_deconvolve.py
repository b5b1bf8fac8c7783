import math

import pytest
import torch

from deblurkit.errors import KernelError, UsageError
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.deconvolve import Splitting, deconvolve, noise_weight
from deblurkit.ops.gradients import forward_differences, second_differences
from deblurkit.ops.shrink import power_shrink, soft_shrink


def kernel(size: int = 9) -> torch.Tensor:
    """A curved stroke."""
    k = torch.zeros(1, 1, size, size)
    for step in range(size):
        k[0, 0, step, round((size - 1) * (0.5 + 0.4 * math.sin(step / 2)))] = 1.0 + step % 3
    return k / k.sum()


def scene(channels: int, height: int, width: int) -> torch.Tensor:
    """Overlapping rectangles of random brightness, sharp."""
    generator = torch.Generator().manual_seed(2)
    x = torch.full((1, channels, height, width), 0.4)
    for _ in range(25):
        top, left = (int(torch.randint(0, side - 8, (1,), generator=generator)) for side in (height, width))
        colour = 0.1 + 0.7 * torch.rand(channels, 1, 1, generator=generator)
        x[0, :, top : top + 6 + top // 3, left : left + 5 + left // 2] = colour
    return x


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return -10 * math.log10((a - b).square().mean().item())


def run(y: torch.Tensor, k: torch.Tensor, **changes) -> torch.Tensor:
    settings = {"mask": torch.ones(1, 1, *y.shape[-2:], dtype=y.dtype), "shrink": power_shrink(0.8)}
    settings["weight"] = torch.full((y.shape[0],), 5e-5, dtype=y.dtype)
    return deconvolve(y, k, **(settings | changes))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_restores_the_latent_picture_up_to_its_border(channels):
    x, k = scene(channels, 88, 79), kernel()
    y = convolve_valid(x, k)
    found = run(y, k)
    assert found.shape == x.shape
    inner = (..., slice(4, -4), slice(4, -4))
    assert psnr(y, x[inner]) < 25
    assert psnr(found[inner], x[inner]) > 38
    # The border is seen through half a kernel only, and nothing may come in from the other side.
    assert psnr(found, x) > 28


def test_converges_to_the_minimum_of_the_stated_objective():
    """Total variation is convex, so nothing in any direction may lower the objective."""
    x, k = scene(1, 40, 37).double(), kernel(5).double()
    y = convolve_valid(x, k)
    weight, second = 2e-3, 0.25
    found = run(y, k, shrink=soft_shrink, weight=torch.tensor([weight]).double(), second_order=second, iterations=3000)

    def objective(latent):
        # Only differences wholly inside: the periodic ones that wrap cannot be seen from here.
        first, seconds = forward_differences(latent), second_differences(latent)
        prior = sum(d.abs().sum() for d in first) + second * sum(d.abs().sum() for d in seconds)
        return 0.5 * (convolve_valid(latent, k) - y).square().sum() + weight * prior

    best, generator = objective(found), torch.Generator().manual_seed(0)
    centre = torch.zeros_like(found)
    centre[..., 8:-8, 8:-8] = 1.0
    for _ in range(30):
        direction = centre * torch.randn(found.shape, generator=generator, dtype=torch.float64)
        for size in (1e-1, 1e-2, 1e-3):
            assert objective(found + size * direction) > best
    smoother = found + 0.05 * centre * (x - found)
    assert objective(smoother) > best
    assert objective(found + 0.05 * centre * (found.mean() - found)) > best


def test_every_picture_of_a_batch_has_its_kernel_and_weight():
    x, first, second = scene(3, 60, 66), kernel(7), kernel(7).flip(-1)
    y = torch.cat((convolve_valid(x, first), convolve_valid(x, second)))
    weight = torch.tensor([5e-5, 5e-4])
    both = run(y, torch.cat((first, second)), weight=weight)
    for index, k in enumerate((first, second)):
        alone = run(y[index : index + 1], k, weight=weight[index : index + 1])
        torch.testing.assert_close(both[index : index + 1], alone, atol=1e-4, rtol=0)


def test_a_part_alone_agrees_inside_so_that_frames_can_be_tiled():
    """Convex: within 0.015 two kernels from the cut. Not convex: thresholds flip here and there at any distance."""
    x, k = scene(3, 88, 150), kernel()
    y = convolve_valid(x, k)
    # Within the frame of the observation: beyond it the latent picture is half guessed, whatever is cut.
    core, cut = (..., slice(4, -4), slice(4, 104 - 18)), (..., slice(4, -4), slice(100, 104))
    whole, part = run(y, k, shrink=soft_shrink), run(y[..., :100], k, shrink=soft_shrink)
    assert (whole[core] - part[core]).abs().max() < 0.015
    assert (whole[cut] - part[cut]).abs().max() > 0.015
    whole, part = run(y, k), run(y[..., :100], k)
    assert (whole[core] - part[core]).square().mean().sqrt() < 5e-3


def test_masked_pixels_are_not_looked_at():
    x, k = scene(1, 88, 80), kernel()
    y = convolve_valid(x, k)
    mask = torch.ones_like(y)
    mask[..., 30:36, 20:28] = 0.0
    wild = torch.where(mask > 0, y, 0.7)
    torch.testing.assert_close(run(y, k, mask=mask), run(wild, k, mask=mask))
    inner = x[..., 4:-4, 4:-4]
    assert psnr(run(wild, k, mask=mask)[..., 4:-4, 4:-4], inner) > 30
    assert psnr(run(wild, k)[..., 4:-4, 4:-4], inner) < 25


@pytest.mark.parametrize("channels", [1, 3])
def test_saturated_pixels_only_bound_from_below(channels):
    x, k = scene(channels, 88, 80), kernel()
    x[..., 40:44, 40:44] = 4.0
    y = convolve_valid(x, k).clamp(max=1.0)
    inner = x[..., 4:-4, 4:-4].clamp(max=1.0)
    assert (y >= 1).sum() > 50
    aware, blind = (run(y, k, white=white)[..., 4:-4, 4:-4].clamp(0, 1) for white in (0.99, 2.0))
    assert psnr(aware, inner) > psnr(blind, inner) + 5


def test_more_noise_wants_more_weight():
    x, k = scene(3, 120, 110), kernel()
    clean = convolve_valid(x, k)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    for level in (0.01, 0.03):
        y = clean + level * noise
        found = {
            factor: psnr(
                run(y, k, weight=factor * noise_weight(torch.tensor([level])))[..., 4:-4, 4:-4], x[..., 4:-4, 4:-4]
            )
            for factor in (0.1, 1.0, 20.0)
        }
        assert found[1.0] == max(found.values())
        assert found[1.0] > psnr(y, x[..., 4:-4, 4:-4]) + 3


def test_delta_kernel_changes_little():
    x, k = scene(1, 40, 44), torch.ones(1, 1, 1, 1)
    assert (run(x, k, weight=torch.tensor([1e-6])) - x).abs().max() < 0.01


def test_bad_input():
    y, k = torch.rand(2, 1, 20, 20), kernel()
    with pytest.raises(ValueError, match="mask: needs"):
        run(y, k, mask=torch.ones(1, 1, 19, 20))
    with pytest.raises(ValueError, match="weight: needs one per picture"):
        run(y, k, weight=torch.tensor([1e-4]))
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="weight: must be positive"):
            run(y, k, weight=torch.tensor([1e-4, wrong]))
    with pytest.raises(UsageError, match="iterations"):
        run(y, k, iterations=0)
    with pytest.raises(KernelError, match="no centre"):
        run(y, k[..., :8])


def test_isotropic_penalty_does_not_care_about_direction():
    """A turned by 45 degrees edge is smoothed like an upright one: the proximal step of |(dx, dy)| keeps directions."""
    y = torch.zeros(1, 1, 24, 24)
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    y[0, 0] = torch.sigmoid(2 * (rows - columns))
    delta, mask, weight = torch.ones(1, 1, 1, 1), torch.ones(1, 1, 24, 24), torch.tensor([0.02])
    results = {
        isotropic: deconvolve(
            y,
            delta,
            mask=mask,
            shrink=soft_shrink,
            weight=weight,
            second_order=0.0,
            isotropic=isotropic,
            iterations=200,
        )
        for isotropic in (True, False)
    }
    assert not torch.allclose(results[True], results[False], atol=1e-3)
    objectives = {
        kind: float(
            0.5 * (x - y).square().sum()
            + 0.02 * torch.hypot(torch.roll(x, -1, -1) - x, torch.roll(x, -1, -2) - x).sum()
        )
        for kind, x in results.items()
    }
    assert objectives[True] < objectives[False]


def test_reweighing_on_the_way_ends_where_that_weight_leads():
    """With a convex penalty there is one minimum where something was observed, whatever the weight was before."""
    k, x = kernel(5), scene(1, 40, 44)
    y = convolve_valid(x, k)
    y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 1, *y.shape[-2:])
    changed, fresh, other = (
        Splitting(y, k, mask=mask, weight=torch.tensor([weight]), second_order=0.0) for weight in (5e-3, 1e-3, 5e-3)
    )
    for index in range(150):
        if index == 20:
            before = changed.picture().clone()
            changed.reweigh(torch.tensor([1e-3]))
            assert torch.equal(changed.picture(), before)
        for problem in (changed, fresh, other):
            problem.step(soft_shrink, isotropic=False)
    inner = (..., slice(6, -6), slice(6, -6))
    apart = [float((one.picture() - fresh.picture())[inner].square().mean().sqrt()) for one in (changed, other)]
    assert apart[0] < 0.01 * apart[1]
