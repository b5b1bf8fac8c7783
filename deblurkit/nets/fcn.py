"""The fully connected kernel network of SelfDeblur (Ren et al., CVPR 2020, section 3.2)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class KernelFCN(nn.Module):
    """A noise vector to a kernel on the simplex: Linear, ReLU6, ..., Linear, softmax.

    Args:
        size: Height and width of the kernel.
        inputs: Length of the noise vector.
        hidden: Units of every hidden layer.
        layers: Hidden layers; 1 is the method, 0 and 2 are the paper's ablation (table 2).
    """

    def __init__(self, size: tuple[int, int], *, inputs: int = 200, hidden: int = 1000, layers: int = 1) -> None:
        super().__init__()
        self.size = size
        widths = [inputs] + [hidden] * layers
        stack: list[nn.Module] = []
        for before, after in pairwise(widths):
            stack += [nn.Linear(before, after), nn.ReLU6()]
        self.stack = nn.Sequential(*stack, nn.Linear(widths[-1], size[0] * size[1]))

    def forward(self, z: Tensor) -> Tensor:
        """Map (B, inputs) to kernels (B, 1, h, w), >= 0, sum 1, in the precision of ``z``, under autocast too."""
        weights = torch.softmax(self.stack(z).to(z.dtype), dim=-1)
        return weights.reshape(-1, 1, *self.size)
