"""Blur is taken from a pair and given to other pictures; its strength can be set."""

import math

import pytest
import torch
from torch.nn import functional

from deblurkit.errors import ImageError, UsageError
from deblurkit.kernel_space.transfer import (
    agreement,
    cut_share,
    give_blur,
    reblur_psnr,
    shown_kernel,
    take_blur,
    with_strength,
)
from deblurkit.nets.kernel_space.weights import build_space
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

KERNEL = curved_kernel((7, 9))


def mirrored(x, kernel):
    rows, columns = kernel.shape[-2] // 2, kernel.shape[-1] // 2
    return blur_by_definition(functional.pad(x, (columns, columns, rows, rows), mode="reflect"), kernel)


def pair(seed=0, size=(70, 80)):
    latent = cartoon(1, 3, (size[0] + 6, size[1] + 8), seed)
    return latent[..., 3:-3, 4:-4], blur_by_definition(latent, KERNEL)


def psnr(a, b, border=6):
    inner = (..., slice(border, -border), slice(border, -border))
    return -10 * math.log10(float((a[inner] - b[inner]).square().mean()))


@pytest.fixture
def plain(plain_spaces):
    return plain_spaces.PlainSpace(9)


@pytest.fixture
def grid(plain_spaces):
    return plain_spaces.GridSpace()


def test_a_blur_is_given_to_another_picture_of_another_size(plain):
    code = take_blur(plain, *pair())
    target = cartoon(1, 3, (50, 120), seed=5)
    assert psnr(give_blur(plain, target, code), mirrored(target, KERNEL)) > 40
    assert psnr(target, mirrored(target, KERNEL)) < 28


def test_a_grid_of_codes_is_spread_over_another_size(grid):
    x = cartoon(1, 3, (128, 192))
    y = x + 0.7 * (grid.smooth(x) - x)
    code = take_blur(grid, x, y)
    assert code.shape == (1, 2, 2, 3)
    target = cartoon(1, 3, (65, 70), seed=2)
    torch.testing.assert_close(give_blur(grid, target, code), target + 0.7 * (grid.smooth(target) - target))


def test_grey_targets_of_a_colour_pair(plain, grid):
    x = cartoon(1, 1, (64, 64))
    code = take_blur(plain, *pair())
    assert psnr(give_blur(plain, x, code), mirrored(x, KERNEL)) > 40
    assert give_blur(grid, x, torch.tensor([0.5, 1.0]).view(1, 2, 1, 1)).shape == x.shape


def test_tiles_follow_a_blur_that_differs_from_place_to_place(plain):
    latent = cartoon(1, 3, (128, 128))
    left, right = (mirrored(latent, kernel) for kernel in (KERNEL, KERNEL.flip(-1)))
    y = torch.cat([left[..., :64], right[..., 64:]], 3)
    one, four = (take_blur(plain, latent, y, tiles=tiles) for tiles in (1, 2))
    assert four.shape == (1, 81, 2, 2)
    assert reblur_psnr(plain, latent, y, four) > reblur_psnr(plain, latent, y, one) + 3
    assert shown_kernel(plain, four) is None
    torch.testing.assert_close(shown_kernel(plain, one).sum(), torch.tensor(1.0))


def test_steps_refine_the_code_and_never_spoil_it(grid):
    x = cartoon(1, 3, (96, 160))
    amount = torch.linspace(0.1, 0.9, 160).expand(1, 1, 96, 160)
    y = x + amount * (grid.smooth(x) - x)
    scores = [reblur_psnr(grid, x, y, take_blur(grid, x, y, steps=steps)) for steps in (0, 1, 60)]
    assert scores[0] <= scores[1]
    assert scores[2] > scores[0] + 1


def test_tiles_of_a_space_that_has_none(grid):
    with pytest.raises(UsageError, match="no codes for tiles"):
        take_blur(grid, *pair(), tiles=2)


def test_agreement_is_measured_beside_the_control(plain, grid):
    sharp, blurry = pair()
    scores = agreement(plain, sharp, blurry, take_blur(plain, sharp, blurry))
    assert scores.psnr == pytest.approx(scores.control, abs=1.0)  # the plain space is the control
    assert scores.psnr > scores.unblurred + 10
    assert not scores.poor
    assert not scores.order_is_wrong
    other = agreement(grid, sharp, blurry, take_blur(grid, sharp, blurry))
    assert other.unblurred < other.psnr < other.control


def test_a_swapped_pair_is_noticed(plain):
    sharp, blurry = pair()
    scores = agreement(plain, blurry, sharp, take_blur(plain, blurry, sharp))
    assert scores.order_is_wrong


def test_an_exact_pair_is_infinitely_good(plain):
    x = cartoon(1, 3, (64, 64))
    delta = functional.pad(torch.ones(1, 1, 1, 1), (4, 4, 4, 4))
    assert reblur_psnr(plain, x, x, plain.encode_kernel(delta)) > 100


def spread(kernel):
    """Root of the second moment about the centre, in pixels."""
    rows, columns = (torch.arange(side) - side // 2 for side in kernel.shape[-2:])
    return float((kernel[0, 0] * (rows[:, None] ** 2 + columns[None, :] ** 2)).sum().sqrt())


def test_strength_stretches_the_trace(plain):
    code = plain.encode_kernel(functional.pad(curved_kernel((5, 5)), (2, 2, 2, 2)))
    x = cartoon(1, 3, (64, 64))
    assert with_strength(plain, code, 1.0, x) is code
    spreads = [spread(plain.kernel(with_strength(plain, code, s, x))) for s in (0.0, 0.25, 0.5, 1.0, 1.5)]
    assert spreads[0] == pytest.approx(0.0, abs=1e-2)
    assert spreads == sorted(spreads)
    assert spreads[4] == pytest.approx(1.5 * spreads[3], rel=0.15)
    distances = [
        float((plain(x, with_strength(plain, code, s, x)) - x).square().mean()) for s in (0, 0.25, 0.5, 1, 1.5)
    ]
    assert distances[0] < 1e-9
    assert distances == sorted(distances)


def test_what_a_stretched_kernel_loses_is_known(plain):
    ends = torch.zeros(1, 1, 9, 9)
    ends[..., 4, 4], ends[..., 4, 7] = 0.75, 0.25
    code = plain.encode_kernel(ends)
    assert cut_share(plain, code, 1.0) == 0.0
    assert cut_share(plain, code, 1.25) == pytest.approx(0.0, abs=1e-6)  # from column +3 to +3.75, and at most +4
    assert cut_share(plain, code, 3.0) == pytest.approx(0.25, abs=0.01)


def test_strength_of_tiles_is_that_of_each(plain):
    kernels = torch.cat(
        [functional.pad(k, (2, 2, 2, 2)) for k in (curved_kernel((5, 5)), curved_kernel((5, 5)).flip(-1))]
    )
    codes = plain.encode_kernel(kernels)  # (2, 81, 1, 1)
    both = torch.cat([codes[:1], codes[1:]], 3)
    x = cartoon(1, 3, (32, 32))
    stretched = with_strength(plain, both, 0.5, x)
    assert stretched.shape == both.shape
    for index in range(2):
        torch.testing.assert_close(
            stretched[..., index : index + 1], with_strength(plain, codes[index : index + 1], 0.5, x)
        )


def test_strength_without_kernels_scales_the_distance_from_no_blur(grid):
    x = cartoon(1, 3, (64, 128))
    code = take_blur(grid, x, x + 0.8 * (grid.smooth(x) - x))
    half = with_strength(grid, code, 0.5, x)
    torch.testing.assert_close(half[:, :1], torch.full((1, 1, 1, 2), 0.4))
    torch.testing.assert_close(give_blur(grid, x, with_strength(grid, code, 0.0, x)), x)
    with pytest.raises(ValueError, match="at least 0"):
        with_strength(grid, code, -1.0, x)


@pytest.mark.parametrize(
    ("preset", "config"),
    [
        ("compact", {"window": 9, "dimensions": 30, "stages": 0}),
        ("paper", {"features": 4, "code": 8, "residual_front": 1, "residual_back": 1, "extractor_blocks": 1}),
    ],
)
def test_the_real_presets_untrained(preset, config):
    """Sizes that fit no grid, all strengths, refinement: nothing here depends on what was learned."""
    space = build_space(preset, config).eval().requires_grad_(False)
    sharp, blurry = pair()
    code = take_blur(space, sharp, blurry, steps=2)
    assert code.shape == (1, *space.code_shape((70, 80)))
    assert math.isfinite(agreement(space, sharp, blurry, code).psnr)
    for channels, size in ((1, (33, 150)), (3, (140, 61))):
        target = cartoon(1, channels, size)
        results = [give_blur(space, target, with_strength(space, code, s, target)) for s in (0.0, 0.5, 1.0)]
        assert all(one.shape == target.shape and one.isfinite().all() for one in results)
    if preset == "compact":
        assert take_blur(space, sharp, blurry, tiles=2).shape == (1, 30, 2, 2)


def test_colours_that_nobody_sees_do_not_bleed(plain):
    x = cartoon(1, 3, (40, 40))
    alpha = torch.ones(1, 1, 40, 40)
    alpha[..., :20] = 0
    code = take_blur(plain, *pair())
    hidden = [torch.where(alpha > 0, x, torch.full_like(x, value)) for value in (0.0, 1.0)]
    a, b = (give_blur(plain, one, code, alpha=alpha) for one in hidden)
    assert torch.equal(a, b)


def test_a_pair_that_is_too_small(plain):
    with pytest.raises(ImageError, match="too small"):
        take_blur(plain, cartoon(1, 3, (12, 40)), cartoon(1, 3, (12, 40)))
    with pytest.raises(ImageError, match="4 x 4 tiles"):
        take_blur(plain, *pair(size=(50, 50)), tiles=4)
