"""SelfDeblur's image network: sizes, shapes, and the non-local block against its definition."""

import pytest
import torch

from deblurkit.nets.hourglass import Hourglass, HourglassScale, NonLocal, min_side
from deblurkit.nets.seeding import seeded


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("outputs", "non_local", "parameters"), [(1, True, 2_365_521), (1, False, 2_265_489), (3, True, 2_365_779)]
)
def test_has_the_published_number_of_parameters(outputs, non_local, parameters):
    assert count(Hourglass(8, outputs, non_local=non_local)) == parameters


@pytest.mark.parametrize("size", [(64, 64), (281, 293), (65, 97), (33, 34)])
def test_keeps_any_size_and_stays_within_zero_and_one(size):
    net = Hourglass(8, 1, channels=8)
    y = net(torch.rand(1, 8, *size)).detach()
    assert y.shape == (1, 1, *size)
    assert float(y.min()) > 0
    assert float(y.max()) < 1


@pytest.mark.parametrize("scales", [1, 3, 5])
def test_smallest_side_is_the_smallest(scales):
    net = Hourglass(2, 1, channels=4, scales=scales)
    side = min_side(scales)
    net(torch.rand(1, 2, side, side))
    with pytest.raises((ValueError, RuntimeError)):
        net(torch.rand(1, 2, side - 1, side - 1))


def test_non_local_blocks_stand_in_the_three_deepest_scales():
    scales = [m for m in Hourglass(8, 1).modules() if isinstance(m, HourglassScale)]
    assert [any(isinstance(m, NonLocal) for m in s.down) for s in scales] == [False, False, True, True, True]


def test_non_local_block_is_the_identity_at_first():
    x = torch.rand(1, 16, 9, 10)
    assert torch.equal(NonLocal(16)(x), x)


def test_non_local_block_is_scaled_dot_product_attention_without_softmax():
    block = NonLocal(6).double()
    block.norm = torch.nn.Identity()
    x = torch.rand(2, 6, 7, 9, dtype=torch.float64)
    theta, phi, g = (getattr(block, name)(x) for name in ("theta", "phi", "g"))
    phi, g = (torch.nn.functional.max_pool2d(value, 2) for value in (phi, g))
    expected = torch.zeros(2, 3, 7, 9, dtype=torch.float64)
    for b in range(2):
        for i in range(7):
            for j in range(9):
                weights = (theta[b, :, i, j, None, None] * phi[b]).sum(0) / (phi.shape[-2] * phi.shape[-1])
                expected[b, :, i, j] = (weights * g[b]).sum((-2, -1))
    torch.testing.assert_close(block(x), x + block.out(expected))


def test_initialisation_draws_from_the_given_generator_alone():
    def weights(seed):
        with seeded(torch.Generator().manual_seed(seed)):
            return torch.cat([p.flatten() for p in Hourglass(2, 1, channels=4, scales=2).parameters()])

    state = torch.random.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(state, torch.random.get_rng_state())
