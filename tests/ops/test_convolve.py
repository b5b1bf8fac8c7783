import numpy as np
import pytest
import torch

from deblurkit.errors import KernelError
from deblurkit.ops.convolve import convolve_valid, convolve_valid_adjoint


def by_definition(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """y[p] = sum_j k[j] x[p - j] in loops, j from the array centre."""
    (height, width), (h, w) = x.shape, k.shape
    y = np.zeros((height - h + 1, width - w + 1))
    for row in range(y.shape[0]):
        for column in range(y.shape[1]):
            for dy in range(-(h // 2), h // 2 + 1):
                for dx in range(-(w // 2), w // 2 + 1):
                    y[row, column] += k[h // 2 + dy, w // 2 + dx] * x[row + h // 2 - dy, column + w // 2 - dx]
    return y


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 5), (7, 3), (9, 9)])
def test_is_true_convolution_with_a_kernel_per_picture(draw, size):
    x, k = draw(2, 3, 12, 10), draw(2, 1, *size)
    y = convolve_valid(x, k)
    assert y.shape == (2, 3, 12 - size[0] + 1, 10 - size[1] + 1)
    for picture in range(2):
        for channel in range(3):
            expected = by_definition(x[picture, channel].numpy(), k[picture, 0].numpy())
            np.testing.assert_allclose(y[picture, channel].numpy(), expected, atol=1e-12)


def test_one_kernel_serves_all_pictures(draw):
    x, k = draw(3, 2, 11, 13), draw(1, 1, 5, 7)
    torch.testing.assert_close(convolve_valid(x, k), convolve_valid(x, k.expand(3, -1, -1, -1)))


@pytest.mark.parametrize("size", [3, 7])
def test_delta_gives_the_central_crop(draw, size):
    x, k = draw(1, 1, 20, 21), torch.zeros(1, 1, size, size, dtype=torch.float64)
    k[..., size // 2, size // 2] = 1.0
    half = size // 2
    torch.testing.assert_close(convolve_valid(x, k), x[..., half : 20 - half, half : 21 - half])


@pytest.mark.parametrize("size", [(3, 3), (5, 9)])
def test_adjoint(draw, size):
    x, k = draw(2, 3, 14, 17), draw(2, 1, *size)
    y = draw(2, 3, 14 - size[0] + 1, 17 - size[1] + 1)
    back = convolve_valid_adjoint(y, k)
    assert back.shape == x.shape
    torch.testing.assert_close((convolve_valid(x, k) * y).sum(), (x * back).sum())


@pytest.mark.parametrize("size", [3, 5])
def test_gradients_match_finite_differences(draw, size):
    x, k = draw(2, 2, 7, 6).requires_grad_(), draw(2, 1, size, size).requires_grad_()
    assert torch.autograd.gradcheck(convolve_valid, (x, k))
    assert torch.autograd.gradcheck(convolve_valid_adjoint, (x, k))


def test_float32_is_accurate_enough(draw):
    x, k = draw(1, 1, 200, 200), draw(1, 1, 31, 31)
    k = k / k.sum()
    torch.testing.assert_close(convolve_valid(x.float(), k.float()).double(), convolve_valid(x, k), atol=2e-6, rtol=0)


def test_bad_input(draw):
    with pytest.raises(KernelError, match="larger than the 4x9 picture"):
        convolve_valid(draw(1, 1, 4, 9), draw(1, 1, 5, 5))
    with pytest.raises(KernelError, match="no centre"):
        convolve_valid(draw(1, 1, 9, 9), draw(1, 1, 4, 5))
    with pytest.raises(ValueError, match="2 kernels do not fit 3 images"):
        convolve_valid(draw(3, 1, 9, 9), draw(2, 1, 3, 3))
    with pytest.raises(ValueError, match=r"needs a floating point tensor \(B, C, H, W\)"):
        convolve_valid_adjoint(draw(9, 9), draw(1, 1, 3, 3))
