import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from deblurkit.errors import KernelError
from deblurkit.ops.fourier import difference_powers, fast_size, kernel_spectrum


@pytest.mark.parametrize("size", [1, 7, 97, 281, 1009])
def test_fast_size_has_small_factors_and_is_not_smaller(size):
    fast = fast_size(size)
    rest = fast
    for prime in (2, 3, 5, 7, 11):
        while rest % prime == 0:
            rest //= prime
    assert size <= fast < 1.2 * size + 8
    assert rest == 1


@pytest.mark.parametrize("shape", [(12, 10), (11, 13)])
def test_spectrum_is_periodic_true_convolution(draw, shape):
    x, k = draw(2, 3, *shape), draw(2, 1, 5, 3)
    y = torch.fft.irfft2(torch.fft.rfft2(x) * kernel_spectrum(k, shape), s=shape)
    for picture in range(2):
        for channel in range(3):
            expected = ndimage.convolve(x[picture, channel].numpy(), k[picture, 0].numpy(), mode="wrap")
            np.testing.assert_allclose(y[picture, channel].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(8, 10), (9, 7)])
def test_difference_powers(draw, shape):
    x = draw(1, 1, *shape)
    py, px = difference_powers(shape, x)
    expected = sum(((torch.roll(x, -1, dims=dim) - x) ** 2).sum() for dim in (-1, -2))
    power = torch.fft.fft2(x).abs() ** 2
    full = py + torch.cat((px, px[:, 1 : (shape[1] + 1) // 2].flip(-1)), dim=1)
    torch.testing.assert_close((power * full).sum() / math.prod(shape), expected)


def test_bad_input(draw):
    with pytest.raises(KernelError, match="larger than the 5x5 picture"):
        kernel_spectrum(draw(1, 1, 7, 3), (5, 5))
    with pytest.raises(ValueError, match="at least 1"):
        fast_size(0)
