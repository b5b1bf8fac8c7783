"""The fixed low-pass against its formula and against bicubic down-sampling."""

import pytest
import torch
from torch.nn import functional

from deblurkit.core import Observation
from deblurkit.errors import ConfigError
from deblurkit.kernel_priors.bicubic import Bicubic, cubic_taps
from deblurkit.kernel_priors.plugin import BicubicParams
from deblurkit.registry import registry
from deblurkit.testing import blur_by_definition


def cubic(t, a=-0.5):
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def build(factor=4, channels=3, dtype=torch.float64):
    y = torch.rand(1, channels, 20, 24, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return Bicubic(BicubicParams(factor=factor), Observation.of(y), size=(9, 9), generator=torch.Generator())


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
def test_taps_are_the_cubic_at_whole_pixels(factor):
    taps = cubic_taps(factor)
    assert len(taps) == 4 * factor - 1
    wanted = torch.tensor([cubic(i / factor) for i in range(1 - 2 * factor, 2 * factor)], dtype=torch.float64)
    torch.testing.assert_close(taps, wanted / wanted.sum())
    assert torch.equal(taps, taps.flip(0))


def test_factor_one_is_no_blur():
    x = torch.rand(1, 3, 22, 26, dtype=torch.float64)
    torch.testing.assert_close(build(1).blur(x), x[..., 1:-1, 1:-1])


def test_blur_is_valid_convolution_with_negative_lobes():
    prior = build(4)
    assert prior.margin == (7, 7)
    x = torch.rand(1, 3, 34, 38, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = torch.outer(cubic_taps(4), cubic_taps(4))[None, None]
    assert float(weights.min()) < 0
    torch.testing.assert_close(prior.blur(x), blur_by_definition(x, weights))


def test_every_third_pixel_is_bicubic_downsampling_by_three():
    """An odd factor samples the cubic at the same places as resizing does."""
    x = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    small = functional.interpolate(x, scale_factor=1 / 3, mode="bicubic", antialias=True, align_corners=False)
    blurred = build(3).blur(x)  # begins at pixel 5; the first output whose taps lie inside is number 2, at pixel 7
    torch.testing.assert_close(blurred[..., 2::3, 2::3], small[..., 2:14, 2:14])


def test_nothing_moves_and_no_kernel_is_offered():
    spec = registry().spec("kernel_prior", "bicubic")
    assert not spec.offers
    assert not list(build().parameters())


def test_a_factor_below_one_is_refused():
    with pytest.raises(ConfigError, match="factor"):
        BicubicParams(factor=0)
