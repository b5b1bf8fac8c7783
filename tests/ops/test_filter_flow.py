import pytest
import torch

from deblurkit.errors import KernelError
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.filter_flow import blending, filter_flow, tile_bounds


@pytest.fixture
def kernels():
    generator = torch.Generator().manual_seed(1)
    k = torch.rand(2, 3, 2, 5, 5, generator=generator, dtype=torch.float64)
    return k / k.sum((-2, -1), keepdim=True)


@pytest.fixture
def x():
    return torch.rand(2, 3, 24, 31, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_every_pixel_has_the_blended_kernel(x, kernels):
    y = filter_flow(x, kernels)
    assert y.shape == (2, 3, 20, 27)
    down, across = blending(20, 3, x), blending(27, 2, x)
    for row, column in ((0, 0), (7, 13), (10, 3), (19, 26)):
        weights = down[:, row, None] * across[:, column]
        kernel = (weights[None, :, :, None, None] * kernels).sum((1, 2))
        patch = x[..., row : row + 5, column : column + 5]
        expected = (patch * kernel.flip(-2, -1).unsqueeze(1)).sum((-2, -1))
        torch.testing.assert_close(y[..., row, column], expected)


def test_equal_kernels_blur_as_one(x, kernels):
    one = kernels[:, :1, :1]
    torch.testing.assert_close(filter_flow(x, one.expand_as(kernels)), convolve_valid(x, one[:, 0]))
    torch.testing.assert_close(filter_flow(x, one), convolve_valid(x, one[:, 0]))


@pytest.mark.parametrize(("side", "tiles"), [(20, 1), (20, 3), (7, 7), (3, 5), (100, 5)])
def test_windows_are_a_partition_of_unity(side, tiles):
    windows = blending(side, tiles, torch.zeros((), dtype=torch.float64))
    assert windows.shape == (tiles, side)
    assert windows.min() >= 0
    torch.testing.assert_close(windows.sum(0), torch.ones(side, dtype=torch.float64))


def test_more_tiles_than_pixels_still_blur(x, kernels):
    small = x[..., :6, :6]
    assert filter_flow(small, kernels[:, :, :1].expand(-1, -1, 5, -1, -1)).shape == (2, 3, 2, 2)


def test_is_differentiable(x, kernels):
    x = x[:1, :1, :9, :8].clone().requires_grad_(True)
    kernels = kernels[:1, :2].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(filter_flow, (x, kernels))


def test_tiles_cover_the_side_and_overlap():
    bounds = tile_bounds(100, 4, overlap=0.2)
    assert bounds == [(0, 30), (20, 55), (45, 80), (70, 100)]


def test_refuses_what_does_not_fit(x, kernels):
    with pytest.raises(ValueError, match="kernels"):
        filter_flow(x, kernels[:, 0])
    with pytest.raises(ValueError, match="2 pictures"):
        filter_flow(x, torch.cat([kernels, kernels]))
    with pytest.raises(KernelError, match="larger"):
        filter_flow(x[..., :4, :], kernels)
