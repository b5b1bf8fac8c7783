import pytest
import torch

from deblurkit.errors import KernelError
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.spectral_ratio import nearest_kernel, simplex_threshold, spectral_ratio


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(3)
    # white enough for every frequency to be excited, so that least squares is well posed
    x = torch.rand(2, 3, 66, 70, generator=generator, dtype=torch.float64)
    k = torch.rand(2, 1, 7, 7, generator=generator, dtype=torch.float64).square()
    k = k / k.sum((-2, -1), keepdim=True)
    return x[..., 3:-3, 3:-3], convolve_valid(x, k), k


def least_squares(sharp: torch.Tensor, blurry: torch.Tensor, window: int) -> torch.Tensor:
    """The kernel of one grey pair by solving for it, one row an inner pixel of the blurry picture."""
    half = window // 2
    rows = sharp.unfold(0, window, 1).unfold(1, window, 1).flatten(2).flatten(0, 1)
    right = blurry[half : sharp.shape[0] - half, half : sharp.shape[1] - half].flatten()
    return torch.linalg.lstsq(rows, right.unsqueeze(1)).solution.view(window, window).flip(0, 1)


def test_corrections_lead_to_the_least_squares_kernel(pair):
    sharp, blurry, kernel = pair
    expected = least_squares(sharp[0, 0], blurry[0, 0], 7)
    torch.testing.assert_close(expected, kernel[0, 0], atol=1e-9, rtol=0)
    errors = []
    for corrections in (0, 1, 3, 10):
        found = spectral_ratio(sharp, blurry, 7, regularisation=1e-3, corrections=corrections)
        assert found.shape == (2, 1, 7, 7)
        errors.append(float((found - kernel).abs().max()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.05
    assert errors[-1] < 1e-6


def test_a_shift_is_a_shifted_delta(pair):
    sharp = pair[0]
    moved = sharp[..., 2:-2, 2:-2]
    found = spectral_ratio(sharp[..., 3:-1, 1:-3], moved, 7, corrections=8)
    delta = torch.zeros(7, 7, dtype=found.dtype)
    delta[3 + 1, 3 - 1] = 1  # moved[p] = cut[p - (1, -1)]
    torch.testing.assert_close(found[0, 0], delta, atol=1e-5, rtol=0)


def test_masked_pixels_do_not_count(pair):
    sharp, blurry, kernel = pair
    spoiled, mask = blurry.clone(), torch.ones_like(blurry[:, :1])
    spoiled[..., 20:26, 30:36] = 1
    mask[..., 20:26, 30:36] = 0
    plain = spectral_ratio(sharp, spoiled, 7, corrections=30)
    masked = spectral_ratio(sharp, spoiled, 7, corrections=30, mask=mask)
    assert (masked - kernel).abs().max() < 0.1 * (plain - kernel).abs().max()


def test_is_differentiable(pair):
    sharp, blurry, _ = pair
    sharp, blurry = sharp[:1, :1, :20, :20], blurry[:1, :1, :20, :20].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda y: spectral_ratio(sharp, y, 5, corrections=1), (blurry,))


def test_refuses_what_does_not_fit(pair):
    sharp, blurry, _ = pair
    with pytest.raises(ValueError, match="differ"):
        spectral_ratio(sharp, blurry[..., 1:], 7)
    with pytest.raises(KernelError, match="window"):
        spectral_ratio(sharp, blurry, 8)
    with pytest.raises(KernelError, match="window"):
        spectral_ratio(sharp[..., :7, :7], blurry[..., :7, :7], 7)
    with pytest.raises(ValueError, match="regularisation"):
        spectral_ratio(sharp, blurry, 7, regularisation=0.0)


def test_nearest_kernel_is_the_projection_onto_the_simplex():
    generator = torch.Generator().manual_seed(0)
    estimate = torch.randn(3, 1, 5, 5, generator=generator, dtype=torch.float64)
    found = nearest_kernel(estimate)
    assert found.min() >= 0
    torch.testing.assert_close(found.sum((1, 2, 3)), torch.ones(3, dtype=torch.float64))
    # the projection's defining property: <estimate - found, other - found> <= 0 for every other kernel
    others = torch.rand(200, 3, 1, 5, 5, generator=generator, dtype=torch.float64) ** 8
    others = others / others.sum((-2, -1), keepdim=True)
    assert ((estimate - found) * (others - found)).sum((-3, -2, -1)).max() <= 1e-12
    torch.testing.assert_close(nearest_kernel(found), found)
    assert simplex_threshold(estimate.flatten(1)).shape == (3, 1)
