"""The hourglass ("skip") network of the deep image prior, with SelfDeblur's non-local blocks.

Ulyanov et al., Deep Image Prior, CVPR 2018; Ren et al., Neural Blind Deconvolution Using Deep Priors, CVPR 2020,
whose published code puts non-local blocks (Wang et al., CVPR 2018) into the three deepest scales.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

NON_LOCAL_FROM = 2
"""First scale (0 is the outermost) with a non-local block."""


class Hourglass(nn.Module):
    """Encoder and decoder with narrow skip connections; the output has the size of the input, odd sizes included.

    Args:
        in_channels: Channels of the input noise.
        out_channels: Channels of the picture.
        channels: Features of every "down" and "up" convolution.
        skip_channels: Features of every skip branch.
        scales: Number of halvings. The smaller side must be at least ``min_side(scales)``.
        non_local: Whether the scales from ``NON_LOCAL_FROM`` on have a non-local block.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        channels: int = 128,
        skip_channels: int = 16,
        scales: int = 5,
        non_local: bool = True,
    ) -> None:
        super().__init__()
        inner: nn.Module | None = None
        for index in reversed(range(scales)):
            inner = HourglassScale(
                in_channels if index == 0 else channels,
                channels,
                skip_channels,
                non_local=non_local and index >= NON_LOCAL_FROM,
                inner=inner,
            )
        assert inner is not None
        self.body = inner
        self.head = nn.Conv2d(channels, out_channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Map noise (B, in_channels, H, W) to a picture (B, out_channels, H, W) in (0, 1), as precise as ``z``."""
        # under autocast the convolutions are coarser, and what is made of the picture must not be
        return torch.sigmoid(self.head(self.body(z)).to(z.dtype))


class HourglassScale(nn.Module):
    """One scale: a skip branch beside a strided branch that holds the next scale, then their merge."""

    def __init__(
        self, in_channels: int, channels: int, skip_channels: int, *, non_local: bool, inner: nn.Module | None
    ) -> None:
        super().__init__()
        self.skip = block(in_channels, skip_channels, size=1)
        self.down = nn.Sequential(
            block(in_channels, channels, size=3, stride=2),
            NonLocal(channels) if non_local else nn.Identity(),
            block(channels, channels, size=3),
        )
        self.inner = inner if inner is not None else nn.Identity()
        self.merge = nn.Sequential(
            nn.BatchNorm2d(channels + skip_channels),
            block(channels + skip_channels, channels, size=3),
            block(channels, channels, size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Keep the size of (B, C, H, W)."""
        skip = self.skip(x)
        deep = self.inner(self.down(x))
        deep = functional.interpolate(deep, scale_factor=2.0, mode="bilinear", align_corners=False)
        height, width = min(skip.shape[-2], deep.shape[-2]), min(skip.shape[-1], deep.shape[-1])
        merged: Tensor = self.merge(
            torch.cat([centre_crop(skip, height, width), centre_crop(deep, height, width)], dim=1)
        )
        return merged


class NonLocal(nn.Module):
    """Non-local block, dot-product variant; the identity at initialisation, as its last norm starts at zero.

    There is no softmax, so theta^T phi g is associated to the right: phi g^T is (C/2, C/2), and cost and memory
    grow linearly with the number of pixels instead of quadratically.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.theta = nn.Conv2d(channels, half, 1)
        self.phi = nn.Conv2d(channels, half, 1)
        self.g = nn.Conv2d(channels, half, 1)
        self.out = nn.Conv2d(half, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        batch, _, height, width = x.shape
        theta = self.theta(x).flatten(2)
        phi = functional.max_pool2d(self.phi(x), 2).flatten(2)
        g = functional.max_pool2d(self.g(x), 2).flatten(2)
        mixed = torch.einsum("bip,bjp->bij", g, phi) / phi.shape[-1]
        y = torch.einsum("bij,bjn->bin", mixed, theta).reshape(batch, -1, height, width)
        residual: Tensor = self.norm(self.out(y))
        return x + residual


def block(in_channels: int, out_channels: int, *, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution with reflection padding, batch norm, LeakyReLU 0.2."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, size, stride, padding=size // 2, padding_mode="reflect" if size > 1 else "zeros"
        ),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.2, inplace=True),
    )


def centre_crop(x: Tensor, height: int, width: int) -> Tensor:
    """The central (height, width) of (B, C, H, W)."""
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]


def min_side(scales: int) -> int:
    """Smallest side in pixels that the network accepts: every halving rounds up, and two pixels must be left."""
    return int(2**scales) + 1
