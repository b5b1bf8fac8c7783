"""SelfDeblur's kernel network."""

import pytest
import torch

from deblurkit.nets.fcn import KernelFCN

PUBLISHED = {
    11: 322_121, 13: 370_169, 15: 426_225, 17: 490_289, 19: 562_361, 21: 642_441,
    27: 930_729, 31: 1_162_961, 51: 2_804_601, 55: 3_229_025, 75: 5_831_625,
}  # fmt: skip


@pytest.mark.parametrize(("side", "parameters"), PUBLISHED.items())
def test_has_the_published_number_of_parameters(side, parameters):
    assert sum(p.numel() for p in KernelFCN((side, side)).parameters()) == parameters


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_gives_kernels_on_the_simplex(layers):
    k = KernelFCN((5, 7), hidden=20, layers=layers)(torch.rand(3, 200)).detach()
    assert k.shape == (3, 1, 5, 7)
    assert float(k.min()) >= 0
    torch.testing.assert_close(k.sum((1, 2, 3)), torch.ones(3), atol=1e-5, rtol=0)


def test_hidden_layers_are_as_many_as_asked():
    assert [sum(isinstance(m, torch.nn.Linear) for m in KernelFCN((3, 3), layers=n).modules()) for n in (0, 1, 2)] == [
        1,
        2,
        3,
    ]


def test_activation_saturates_at_six():
    net = KernelFCN((1, 2), inputs=1, hidden=1)
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(1.0)
        net.stack[2].weight.copy_(torch.tensor([[1.0], [0.0]]))
    far, farther = net(torch.tensor([[10.0]])), net(torch.tensor([[1000.0]]))
    torch.testing.assert_close(far, farther)
    torch.testing.assert_close(far.flatten(), torch.softmax(torch.tensor([7.0, 1.0]), 0))
