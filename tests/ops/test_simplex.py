import pytest
import torch

from deblurkit.errors import KernelError
from deblurkit.ops import simplex


def delta(size: int, row: int, column: int, value: float = 1.0) -> torch.Tensor:
    kernel = torch.zeros(1, 1, size, size, dtype=torch.float64)
    kernel[0, 0, row, column] = value
    return kernel


def test_normalise_clips_and_saves_an_empty_kernel():
    k = torch.cat((delta(3, 0, 1, 4.0) + delta(3, 2, 2, -1.0), delta(3, 0, 0, -1.0)))
    torch.testing.assert_close(simplex.normalise(k), torch.cat((delta(3, 0, 1), delta(3, 1, 1))))


def test_centroid_counts_from_the_centre():
    k = torch.cat((0.25 * delta(7, 0, 2) + 0.75 * delta(7, 4, 6), delta(7, 3, 3)))
    torch.testing.assert_close(simplex.centroid(k), torch.tensor([[0.0, 2.0], [0.0, 0.0]], dtype=torch.float64))


def test_recentre_moves_the_centroid_to_the_centre_and_keeps_all_values():
    k = 0.5 * delta(9, 0, 5) + 0.5 * delta(9, 3, 8)
    moved = simplex.recentre(k)
    assert simplex.recentring_shift(k).tolist() == [[2, -2]]
    assert simplex.centroid(moved).abs().max() <= 0.5
    torch.testing.assert_close(moved.flatten().sort().values, k.flatten().sort().values)


def test_recentre_stops_at_the_edge_instead_of_losing_mass():
    k = 0.9 * delta(5, 0, 2) + 0.1 * delta(5, 4, 2)
    assert simplex.recentring_shift(k).tolist() == [[0, 0]]
    torch.testing.assert_close(simplex.recentre(k), k)


def test_components_with_hysteresis():
    bright = delta(9, 1, 1, 1.0) + delta(9, 2, 2, 0.1) + delta(9, 3, 3, 0.03)  # a tail, diagonal
    second = delta(9, 1, 7, 0.4)
    dust = delta(9, 7, 7, 0.08) + delta(9, 7, 1, 0.01)
    kept = simplex.keep_components(bright + second + dust, strong=0.3, weak=0.02, mass=0.0)
    torch.testing.assert_close(kept, (bright + second) / (bright + second).sum())
    kept = simplex.keep_components(bright + second + dust, strong=0.3, weak=0.02, mass=0.5)
    torch.testing.assert_close(kept, bright / bright.sum())


def test_border_mass():
    k = 0.3 * delta(7, 0, 3) + 0.2 * delta(7, 5, 5) + 0.5 * delta(7, 3, 3)
    torch.testing.assert_close(simplex.border_mass(k), torch.tensor([0.3], dtype=torch.float64))
    torch.testing.assert_close(simplex.border_mass(k, width=2), torch.tensor([0.5], dtype=torch.float64))
    torch.testing.assert_close(simplex.border_mass(k, width=4), torch.tensor([1.0], dtype=torch.float64))


def test_effective_size():
    k = 0.6 * delta(11, 2, 2) + 0.39 * delta(11, 4, 6) + 0.01 * delta(11, 10, 10)
    sizes = [int(simplex.effective_size(k, fraction=f)) for f in (0.5, 0.99, 1.0)]
    assert sizes == [1, 5, 9]


def test_bad_input(draw):
    with pytest.raises(ValueError, match="weak <= strong"):
        simplex.keep_components(draw(1, 1, 3, 3), strong=0.1, weak=0.2, mass=0.0)
    with pytest.raises(ValueError, match="fraction"):
        simplex.effective_size(draw(1, 1, 3, 3), fraction=0.0)
    with pytest.raises(KernelError, match="no centre"):
        simplex.normalise(draw(1, 1, 4, 3))
    with pytest.raises(ValueError, match="kernel: needs"):
        simplex.centroid(draw(1, 2, 3, 3))


@pytest.mark.parametrize("size", [(3, 3), (5, 9), (9, 3), (1, 3)])
def test_the_short_line_lies_in_the_middle_of_any_window(size):
    k = simplex.short_line(size, torch.zeros(2, dtype=torch.float64))
    assert k.shape == (1, 1, *size)
    assert k.dtype == torch.float64
    assert float(k.sum()) == 1
    assert k[0, 0, size[0] // 2, size[1] // 2 - 1 : size[1] // 2 + 2].tolist() == [0.25, 0.5, 0.25]
    assert simplex.centroid(k).tolist() == [[0, 0]]
