"""The untrained network that makes a blur code from noise (k-DIP of Tran et al., CVPR 2021, published code)."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

FEATURES = 64
"""Channels of the input noise and of the first convolution."""
HALVINGS = 5
BLOCKS = 6
BorderMode = Literal["reflect", "replicate"]


class CodeNet(nn.Module):
    """Noise (B, 64, 32 gy, 32 gx) to codes (B, D, gy, gx): a 7x7 convolution, five halvings, six residual blocks.

    With D = 512 it has the 34,787,264 parameters of the published code; smaller codes have narrower layers.

    Args:
        dimensions: Channels D of the code.
        grid: (gy, gx) of the code. Borders are mirrored, or repeated where one place has no neighbour to mirror.
    """

    def __init__(self, dimensions: int, grid: tuple[int, int]) -> None:
        super().__init__()
        mode: BorderMode = "reflect" if min(grid) > 1 else "replicate"
        widths = [FEATURES] + [min(FEATURES << step, dimensions) for step in range(1, HALVINGS)] + [dimensions]
        layers: list[nn.Module] = [
            nn.Conv2d(FEATURES, FEATURES, 7, padding=3, padding_mode="reflect"),
            nn.ReLU(inplace=True),
        ]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, *(Residual(dimensions, mode) for _ in range(BLOCKS)))

    @staticmethod
    def input_shape(grid: tuple[int, int]) -> tuple[int, int, int]:
        """Shape of the noise, without the batch, for a code of that grid."""
        return FEATURES, grid[0] << HALVINGS, grid[1] << HALVINGS

    def forward(self, z: Tensor) -> Tensor:
        """Map noise to codes of any sign."""
        code: Tensor = self.layers(z)
        return code


class Residual(nn.Module):
    """x + conv(relu(conv(x))) with 3x3 convolutions."""

    def __init__(self, channels: int, mode: BorderMode) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode=mode)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode=mode)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        return x + self.second(torch.relu(self.first(x)))
