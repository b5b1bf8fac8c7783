import pytest
import torch

from deblurkit.errors import KernelError
from deblurkit.ops.resample import crop_kernel, enlarge_strided, resample_image, resample_kernel
from deblurkit.ops.simplex import centroid


@pytest.mark.parametrize(("factor", "size"), [(0.5, 11), (2**-0.5, 15), (2**0.5, 33), (2.0, 45), (1.0, 23)])
def test_kernel_keeps_mass_and_scales_its_centroid(draw, factor, size):
    k = torch.zeros(2, 1, 21, 21, dtype=torch.float64)
    k[..., 4:14, 6:17] = draw(2, 1, 10, 11)
    k = k / k.sum(dim=(2, 3), keepdim=True)
    new = resample_kernel(k, factor, (size, size))
    assert new.shape == (2, 1, size, size)
    assert new.min() >= 0
    torch.testing.assert_close(new.sum(dim=(1, 2, 3)), torch.ones(2, dtype=torch.float64))
    # Splatting downwards keeps every tap's centre of mass; interpolating upwards does so up to a ripple.
    tolerance = 0.0 if factor <= 1 else 0.1
    torch.testing.assert_close(centroid(new), factor * centroid(k), atol=tolerance, rtol=1e-6)


def test_kernel_of_unit_factor_is_itself(draw):
    k = draw(1, 1, 7, 5)
    torch.testing.assert_close(resample_kernel(k, 1.0, (7, 5)), k / k.sum())


def test_crop_and_pad_about_the_centre(draw):
    k = draw(1, 1, 7, 7)
    cut = crop_kernel(k, (3, 5))
    torch.testing.assert_close(cut, k[..., 2:5, 1:6] / k[..., 2:5, 1:6].sum())
    padded = crop_kernel(cut, (7, 7))
    torch.testing.assert_close(padded[..., 2:5, 1:6], cut)
    assert padded.sum() == pytest.approx(1.0)


def test_image_down_does_not_alias(draw):
    checkerboard = (torch.arange(64)[:, None] + torch.arange(64)).remainder(2).double()[None, None]
    small = resample_image(checkerboard, (24, 24))
    assert (small[..., 3:-3, 3:-3] - 0.5).abs().max() < 0.02


def test_image_keeps_its_frame():
    ramp = torch.linspace(0.5 / 40, 1 - 0.5 / 40, 40, dtype=torch.float64).expand(1, 1, 30, 40)
    for width in (20, 57):
        expected = (torch.arange(width, dtype=torch.float64) + 0.5) / width
        new = resample_image(ramp, (15, width))
        torch.testing.assert_close(new[0, 0, 7, 4:-4], expected[4:-4], atol=1e-6, rtol=0)
    assert resample_image(ramp, (30, 40)) is ramp


def test_bad_input(draw):
    with pytest.raises(ValueError, match="factor: must be positive"):
        resample_kernel(draw(1, 1, 3, 3), 0.0, (3, 3))
    with pytest.raises(KernelError, match="no centre"):
        resample_kernel(draw(1, 1, 3, 3), 1.0, (4, 3))
    with pytest.raises(ValueError, match="sides must be at least 1"):
        resample_image(draw(1, 1, 3, 3), (0, 3))


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_strided_picture_is_enlarged_where_its_pixels_were(stride):
    rows, columns = torch.arange(40, dtype=torch.float64), torch.arange(50, dtype=torch.float64)
    plane = (0.01 * rows[:, None] + 0.02 * columns)[None, None]
    coarse = plane[..., ::stride, ::stride]
    new = enlarge_strided(coarse, (44, 56), stride, (0, 0), (2, 3))
    inner = slice(2 * stride, -4 * stride)
    torch.testing.assert_close(new[..., 2:-2, 3:-3][..., inner, inner], plane[..., inner, inner])
    bordered = torch.nn.functional.pad(coarse, (1, 1, 2, 2), mode="replicate")
    again = enlarge_strided(bordered, (40, 50), stride, (2, 1), (0, 0))
    torch.testing.assert_close(again[..., inner, inner], plane[..., inner, inner])
