"""The kernel that fits best, against a dense solver."""

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.kernel_fit import embed, fit_kernel, inner_gradients, inner_mask

GRID = (14, 15)
SIZE = (3, 5)


def dense(sharp: torch.Tensor) -> np.ndarray:
    """The matrix of periodic true convolution of a picture (H, W) with a kernel, one column a tap."""
    columns = []
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            shift = row - SIZE[0] // 2, column - SIZE[1] // 2
            columns.append(torch.roll(sharp, shift, (0, 1)).flatten().numpy())
    return np.stack(columns, 1)


def differences() -> np.ndarray:
    """Periodic first differences of a kernel on the grid of the normal matrix, twice the window."""
    rows, columns = 2 * SIZE[0] - 1, 2 * SIZE[1] - 1
    taps = np.eye(SIZE[0] * SIZE[1]).reshape(-1, *SIZE)
    padded = np.zeros((len(taps), rows, columns))
    padded[:, : SIZE[0], : SIZE[1]] = taps
    parts = [np.roll(padded, -1, axis) - padded for axis in (1, 2)]
    return np.concatenate([part.reshape(len(taps), -1) for part in parts], 1).T


@pytest.mark.parametrize(("ridge", "smooth"), [(0.0, 0.0), (0.5, 0.0), (0.0, 2.0), (0.3, 1.0)])
def test_is_the_non_negative_least_squares_solution(draw, ridge, smooth):
    sharp, blurry = draw(1, 2, *GRID) - 0.5, draw(1, 2, *GRID) - 0.5
    start = torch.full((1, 1, *SIZE), 1 / 15, dtype=torch.float64)
    weights = torch.full((1, 1, 1, 1), 1.0, dtype=torch.float64)
    found = fit_kernel(
        torch.fft.rfft2(sharp), blurry, start, ridge=ridge * weights, smooth=smooth * weights, steps=5000
    )
    stack = [dense(one) for one in sharp[0]] + [ridge**0.5 * np.eye(15), smooth**0.5 * differences()]
    right = np.concatenate([blurry[0].flatten().numpy(), np.zeros(15 + len(differences()))])
    expected, _ = nnls(np.concatenate(stack), right)
    np.testing.assert_allclose(found.flatten().numpy(), expected, atol=1e-6)
    assert (expected == 0).any(), "the bound matters here"


def test_every_picture_of_a_batch_gets_its_own(draw):
    sharp, blurry = draw(2, 1, *GRID), draw(2, 1, *GRID)
    start = torch.full((2, 1, *SIZE), 1 / 15, dtype=torch.float64)
    ridge = torch.tensor([0.1, 0.4], dtype=torch.float64).view(2, 1, 1, 1)
    together = fit_kernel(torch.fft.rfft2(sharp), blurry, start, ridge=ridge, smooth=ridge, steps=20)
    for i in range(2):
        one = slice(i, i + 1)
        alone = fit_kernel(
            torch.fft.rfft2(sharp[one]), blurry[one], start[one], ridge=ridge[one], smooth=ridge[one], steps=20
        )
        torch.testing.assert_close(together[one], alone)


def test_inner_gradients_commute_with_blur(draw):
    x, k = draw(1, 1, 12, 13), draw(1, 1, 3, 5)
    blurred_first = inner_gradients(convolve_valid(x, k))
    dx, dy = inner_gradients(x).split(1, 1)
    torch.testing.assert_close(blurred_first, torch.cat([convolve_valid(dx, k), convolve_valid(dy, k)], 1))


def test_a_gradient_is_believed_where_its_three_pixels_are():
    mask = torch.ones(1, 1, 4, 4)
    mask[..., 2, 2] = 0
    expected = torch.ones(3, 3)
    expected[2, 2] = expected[2, 1] = expected[1, 2] = 0
    assert torch.equal(inner_mask(mask)[0, 0], expected)


def test_embed_places_and_pads():
    placed = embed(torch.ones(1, 1, 2, 3), (1, 2), (5, 7))
    assert placed.shape == (1, 1, 5, 7)
    assert torch.equal(placed[0, 0].nonzero().amin(0), torch.tensor([1, 2]))
    assert float(placed.sum()) == 6
