"""Data terms against their formulas."""

import pytest
import torch

from deblurkit.core import Observation
from deblurkit.data_terms.pixelwise import MSE, Charbonnier
from deblurkit.data_terms.plugin import CharbonnierParams, MSEParams, MSEThenSSIMParams, SSIMParams
from deblurkit.data_terms.structural import SSIM, MSEThenSSIM


def pair():
    g = torch.Generator().manual_seed(0)
    y = torch.rand(2, 3, 20, 24, generator=g)
    return Observation.of(y), (y + 0.1 * torch.randn(y.shape, generator=g)).clamp(0, 1)


def test_mse_is_the_mean_of_squares():
    o, x = pair()
    expected = torch.stack([((x[b] - o.y[b]) ** 2).sum() / (3 * 20 * 24) for b in range(2)])
    torch.testing.assert_close(MSE(MSEParams())(x, o, 0), expected)


def test_charbonnier_of_identical_pictures_is_its_floor():
    o, _ = pair()
    torch.testing.assert_close(Charbonnier(CharbonnierParams())(o.y, o, 0), torch.full((2,), 1e-3))


def test_charbonnier_is_nearly_the_absolute_error_for_large_errors():
    o, _ = pair()
    torch.testing.assert_close(
        Charbonnier(CharbonnierParams())(o.y + 0.5, o, 0), torch.full((2,), 0.5), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize(("step", "structural"), [(0, False), (6, False), (7, True), (100, True)])
def test_switch_happens_exactly_at_its_step(step, structural):
    o, x = pair()
    value = MSEThenSSIM(MSEThenSSIMParams(switch=7))(x, o, step)
    expected = SSIM(SSIMParams())(x, o, step) if structural else MSE(MSEParams())(x, o, step)
    assert torch.equal(value, expected)


def test_published_switch_is_the_default():
    assert MSEThenSSIMParams().switch == 1000


def test_a_picture_without_believed_pixels_costs_nothing():
    o, x = pair()
    nothing = Observation.of(o.y, mask=torch.zeros_like(o.mask))
    for term in (MSE(MSEParams()), SSIM(SSIMParams())):
        assert torch.equal(term(x, nothing, 0), torch.zeros(2))
