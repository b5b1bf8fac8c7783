"""The network that makes codes from noise: its size to the parameter, its grids, and what it computes."""

import pytest
import torch
from torch.nn import functional

from deblurkit.nets.code_net import CodeNet, Residual
from deblurkit.nets.seeding import seeded


def build(dimensions: int, grid: tuple[int, int], seed: int = 0) -> CodeNet:
    with seeded(torch.Generator().manual_seed(seed)):
        return CodeNet(dimensions, grid)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def test_the_published_width_has_the_published_number_of_parameters():
    with torch.device("meta"):
        net = CodeNet(512, (2, 2))
    assert sum(p.numel() for p in net.parameters()) == 34_787_264
    assert all(p.requires_grad for p in net.parameters())
    # with biases everywhere: one to every weight
    named = dict(net.named_parameters())
    assert sum(name.endswith("bias") for name in named) == sum(name.endswith("weight") for name in named) == 18


def test_the_noise_is_thirty_two_times_the_grid():
    assert CodeNet.input_shape((2, 2)) == (64, 64, 64)
    assert CodeNet.input_shape((1, 3)) == (64, 32, 96)


@pytest.mark.parametrize("dimensions", [3, 42, 100])
@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (2, 2), (3, 2)])
def test_every_grid_gets_its_codes(dimensions, grid):
    net = build(dimensions, grid)
    code = net(noise(2, *net.input_shape(grid)))
    assert code.shape == (2, dimensions, *grid)
    assert bool(code.isfinite().all())
    code.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())


def test_codes_have_any_sign():
    code = build(100, (2, 2))(noise(1, 64, 64, 64)).detach()
    assert float(code.min()) < 0 < float(code.max())


def test_narrow_codes_have_narrow_layers():
    widths = [layer.out_channels for layer in build(100, (2, 2)).layers if isinstance(layer, torch.nn.Conv2d)]
    assert widths == [64, 100, 100, 100, 100, 100]
    with torch.device("meta"):
        widths = [layer.out_channels for layer in CodeNet(512, (2, 2)).layers if isinstance(layer, torch.nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 512, 512]


def test_the_forward_pass_is_the_written_out_one():
    net = build(5, (2, 1))
    z = noise(1, *net.input_shape((2, 1)))
    first, *halvings = [layer for layer in net.layers if isinstance(layer, torch.nn.Conv2d)]
    x = functional.conv2d(functional.pad(z, (3, 3, 3, 3), mode="reflect"), first.weight, first.bias).relu()
    for layer in halvings:
        x = functional.conv2d(x, layer.weight, layer.bias, stride=2, padding=1).relu()
    blocks = [layer for layer in net.layers if isinstance(layer, Residual)]
    assert (len(halvings), len(blocks)) == (5, 6)
    for block in blocks:
        y = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        y = functional.conv2d(y, block.first.weight, block.first.bias).relu()
        y = functional.conv2d(functional.pad(y, (1, 1, 1, 1), mode="replicate"), block.second.weight, block.second.bias)
        x = x + y
    torch.testing.assert_close(net(z), x)


@pytest.mark.parametrize(("grid", "mode"), [((2, 2), "reflect"), ((2, 3), "reflect"), ((1, 2), "replicate")])
def test_borders_are_mirrored_where_there_is_a_neighbour(grid, mode):
    modes = {block.first.padding_mode for block in build(3, grid).layers if isinstance(block, Residual)}
    assert modes == {mode}
