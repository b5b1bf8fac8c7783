import numpy as np
import pytest
import torch
from scipy import ndimage

from deblurkit.ops.ssim import masked_ssim, ssim, ssim_map


def by_definition(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Weighted moments of each window, zeros outside, with an explicit 11x11 Gaussian."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(values):
        return ndimage.correlate(values, window, mode="constant")

    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b, cov = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2, mean(a * b) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))


def test_map_by_definition(draw):
    a, b = draw(2, 2, 16, 19), draw(2, 2, 16, 19)
    same, valid = ssim_map(a, b, padding="same"), ssim_map(a, b, padding="valid")
    expected = np.stack([[by_definition(a[i, c].numpy(), b[i, c].numpy()) for c in range(2)] for i in range(2)])
    np.testing.assert_allclose(same.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(valid.numpy(), expected[..., 5:-5, 5:-5], atol=1e-12)
    torch.testing.assert_close(ssim(a, b, padding="same"), same.mean(dim=(1, 2, 3)))


def test_equal_pictures_have_one(draw):
    a = draw(3, 1, 12, 12)
    torch.testing.assert_close(ssim(a, a, padding="valid"), torch.ones(3, dtype=torch.float64))


def test_gradient(draw):
    a, b = draw(1, 1, 12, 11).requires_grad_(), draw(1, 1, 12, 11).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, q: ssim(p, q, padding="same"), (a, b))


def test_masked_pixels_do_not_count(draw):
    a, b = draw(1, 2, 20, 20), draw(1, 2, 20, 20)
    mask = torch.ones(1, 1, 20, 20, dtype=torch.float64)
    torch.testing.assert_close(masked_ssim(a, b, mask, padding="same"), ssim(a, b, padding="same"))
    mask[..., 8:12, 5:9] = 0.0
    wild = torch.where(mask > 0, a, 7.0)
    for padding in ("same", "valid"):
        torch.testing.assert_close(
            masked_ssim(wild, b, mask, padding=padding), masked_ssim(a, b, mask, padding=padding)
        )
        torch.testing.assert_close(
            masked_ssim(torch.where(mask > 0, b, wild), b, mask, padding=padding), torch.ones(1, dtype=torch.float64)
        )
    assert masked_ssim(a, b, torch.zeros_like(mask), padding="same").item() == 1.0


def test_bad_input(draw):
    with pytest.raises(ValueError, match="differ in shape"):
        ssim(draw(1, 1, 12, 12), draw(1, 3, 12, 12), padding="same")
    with pytest.raises(ValueError, match="smaller than the 11x11 window"):
        ssim(draw(1, 1, 10, 12), draw(1, 1, 10, 12), padding="valid")
