import pytest
import torch

from deblurkit.ops.shrink import power_shrink, soft_shrink


@pytest.mark.parametrize("exponent", [0.3, 0.5, 2 / 3, 0.8, 0.9, 0.97, 1.0])
@pytest.mark.parametrize("amount", [0.003, 0.4])
def test_minimises_its_objective(exponent, amount):
    magnitudes = torch.linspace(0.0, 2.0, 101, dtype=torch.float64)
    # The global minimum by brute force over a fine grid of candidates for every magnitude.
    candidates = torch.cat((torch.zeros(1), torch.linspace(1e-5, 1.0, 20001))).double() * magnitudes[:, None]
    costs = amount * candidates.pow(exponent) + 0.5 * (candidates - magnitudes[:, None]) ** 2
    factor = power_shrink(exponent)(magnitudes, torch.tensor(amount, dtype=torch.float64))
    found = factor * magnitudes
    cost = amount * found.pow(exponent) + 0.5 * (found - magnitudes) ** 2
    assert (cost <= costs.amin(dim=1) + 1e-8).all()
    assert factor.min() >= 0
    assert factor.max() <= 1 + 1e-4


def test_amounts_broadcast_and_float32_survives_zero_and_huge():
    magnitude = torch.tensor([[0.0, 1e-30, 0.1, 1e4]])
    amount = torch.tensor([[0.01], [1.0]])
    for shrink in (soft_shrink, power_shrink(0.8)):
        factor = shrink(magnitude, amount)
        assert factor.shape == (2, 4)
        assert torch.isfinite(factor).all()
        assert (factor[:, :2] == 0).all()
        torch.testing.assert_close(factor[:, 3], torch.ones(2), atol=1e-3, rtol=0)
        assert factor[0, 2] > 0.85
        assert factor[1, 2] == 0


def test_total_variation_is_exponent_one():
    assert power_shrink(1.0) is soft_shrink


@pytest.mark.parametrize("exponent", [0.0, 1.1, float("nan")])
def test_bad_input(exponent):
    with pytest.raises(ValueError, match="exponent: must lie in"):
        power_shrink(exponent)
