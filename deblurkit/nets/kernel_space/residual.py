"""The residual blocks of the published kernel space (Tran et al., CVPR 2021, authors' code): none has a norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblurkit.nets.kernel_space.space import extend


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input; (B, C, H, W) keeps its shape.

    Starts near the identity: weights are Kaiming normal times 0.1, biases zero.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight)
            with torch.no_grad():
                conv.weight.mul_(0.1)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Refine (B, C, H, W)."""
        refined: Tensor = self.conv2(functional.relu_(self.conv1(x)))
        return refined.add_(x)


class MirroredBlock(nn.Module):
    """The same without biases, its borders mirrored; torch's own start.

    The empty places of the sequence are the norms that the authors switched off, kept so that weights find their names.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            Mirror(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.Identity(),
            nn.ReLU(inplace=True),
            Mirror(1),
            nn.Conv2d(channels, channels, 3, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Refine (B, C, H, W)."""
        refined: Tensor = self.conv_block(x)
        return refined.add_(x)


class Mirror(nn.Module):
    """Extends (B, C, H, W) on every side by a mirror image, or by its last row where it is too small for one.

    Args:
        border: Rows and columns.
    """

    def __init__(self, border: int) -> None:
        super().__init__()
        self.border = border

    def forward(self, x: Tensor) -> Tensor:
        """Extend (B, C, H, W) to (B, C, H + 2 border, W + 2 border)."""
        return extend(x, (self.border,) * 4)
