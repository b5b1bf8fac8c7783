"""The kernel space of the paper, as its authors' code has it (Tran et al., CVPR 2021), down to the weights' names.

A stem that sharp and blurry pictures share, quartering their sides; the extractor G, strided convolutions on both; the
family F, a U-Net that takes the code at its narrowest place, residual blocks, and a residual connection to the sharp
picture. 49,205,187 parameters; 115,265,475 where G gives a mean and a spread.
"""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblurkit.nets.kernel_space.residual import Mirror, MirroredBlock, ResidualBlock
from deblurkit.nets.kernel_space.space import KernelSpace, extend
from deblurkit.nets.kernel_space.unet import HALVINGS, UNet

MULTIPLE = 4 * 2**HALVINGS
"""Pixels to one place of the code's grid."""


class PaperSpace(KernelSpace):
    """F and G as published; the code is a map with one place to 128 x 128 pixels.

    Args:
        channels: Channels of the pictures, 1 or 3.
        features: Width of the stem and of the trunk.
        code: Channels of the code.
        residual_front: Residual blocks of the stem.
        residual_back: Residual blocks behind the U-Net.
        extractor_blocks: Residual blocks at the end of G.
        vae: Whether G gives a mean and a spread.

    Raises:
        ValueError: If a size is impossible.
    """

    preset: ClassVar[str] = "paper"

    def __init__(
        self,
        channels: int = 3,
        features: int = 64,
        code: int = 512,
        residual_front: int = 10,
        residual_back: int = 20,
        extractor_blocks: int = 4,
        vae: bool = False,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"pictures have 1 or 3 channels, not {channels}")
        if min(features, code) < 1 or min(residual_front, residual_back, extractor_blocks) < 0:
            raise ValueError("widths are at least 1, and numbers of blocks at least 0")
        self.channels = channels
        self.code = code
        self.vae = vae
        self.feature_extractor = _stem(channels, features, residual_front)
        self.kernel_extractor = Extractor(features, 2 * code if vae else code, extractor_blocks)
        self.adapter = UNet(features, code)
        self.recon_trunk = _trunk(channels, features, residual_back)
        self._config: dict[str, int | float | bool] = {
            "channels": channels,
            "features": features,
            "code": code,
            "residual_front": residual_front,
            "residual_back": residual_back,
            "extractor_blocks": extractor_blocks,
            "vae": vae,
        }

    def config(self) -> dict[str, int | float | bool]:
        """The arguments that construct an equal structure."""
        return dict(self._config)

    def code_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """(D, gy, gx) of the code of a picture of that height and width."""
        return self.code, -(-size[0] // MULTIPLE), -(-size[1] // MULTIPLE)

    def extract(self, sharp: Tensor, blurry: Tensor) -> tuple[Tensor, Tensor | None]:
        """G: mean and spread (B, D, gy, gx); the spread is raw, of any sign, and ``None`` without VAE."""
        features = [self.feature_extractor(_whole(picture)) for picture in (sharp, blurry)]
        code: Tensor = self.kernel_extractor(torch.cat(features, dim=1))
        if not self.vae:
            return code, None
        mean, spread = code.chunk(2, dim=1)
        return mean, spread

    def apply_code(self, x: Tensor, code: Tensor) -> Tensor:
        """F: (B, C, H, W) blurred by a code (B, D, gy, gx); one of another grid is resampled to the picture's.

        Raises:
            ValueError: If the code does not fit the pictures or the space.
        """
        if code.ndim != 4 or code.shape[:2] != (x.shape[0], self.code):
            raise ValueError(f"codes must be ({x.shape[0]}, {self.code}, rows, columns), not {tuple(code.shape)}")
        height, width = x.shape[-2:]
        grid = self.code_shape((height, width))[1:]
        code = code if code.shape[-2:] == grid else _resampled(code, grid)
        difference = self.recon_trunk(self.adapter(self.feature_extractor(_whole(x)), code))
        left, _, top, _ = _borders((height, width))
        return x + difference[..., top : top + height, left : left + width]


class Extractor(nn.Module):
    """G behind the stem: the features of both pictures to a code of 1/32 of their sides; no bias anywhere.

    Args:
        features: Channels of the features of one picture.
        out: Channels of what comes out.
        blocks: Residual blocks at the end.
    """

    def __init__(self, features: int, out: int, blocks: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [Mirror(3), nn.Conv2d(2 * features, features, 7, bias=False)]
        # no width exceeds the last one; the empty places are norms that the authors switched off
        widths = [features, *(min(features * 2**index, out) for index in range(1, HALVINGS)), out]
        for before, after in itertools.pairwise(widths):
            layers += [nn.Identity(), nn.ReLU(inplace=True)]
            layers.append(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False))
        layers += [nn.Identity(), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(*layers, *(MirroredBlock(out) for _ in range(blocks)))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, 2 features, H, W), the sharp picture's first, to (B, out, H/32, W/32)."""
        code: Tensor = self.model(features)
        return code


def _stem(channels: int, features: int, blocks: int) -> nn.Sequential:
    """Map pictures (B, C, H, W) to features (B, F, H/4, W/4)."""
    return nn.Sequential(
        *(nn.Conv2d(channels, features, 3, padding=1), nn.LeakyReLU(0.1, inplace=True)),
        *(nn.Conv2d(features, features, 3, stride=2, padding=1), nn.LeakyReLU(0.1, inplace=True)),
        *(nn.Conv2d(features, features, 3, stride=2, padding=1), nn.LeakyReLU(0.1, inplace=True)),
        *(ResidualBlock(features) for _ in range(blocks)),
    )


def _trunk(channels: int, features: int, blocks: int) -> nn.Sequential:
    """Map features (B, F, H/4, W/4) to what is added to the sharp picture, (B, C, H, W)."""
    doubling = [
        layer
        for _ in range(2)
        for layer in (
            nn.Conv2d(features, 4 * features, 3, padding=1),
            nn.PixelShuffle(2),
            nn.LeakyReLU(0.1, inplace=True),
        )
    ]
    return nn.Sequential(
        *(ResidualBlock(features) for _ in range(blocks)),
        *doubling,
        *(nn.Conv2d(features, features, 3, padding=1), nn.LeakyReLU(0.1, inplace=True)),
        nn.Conv2d(features, channels, 3, padding=1),
    )


def _resampled(code: Tensor, grid: tuple[int, int]) -> Tensor:
    """A code (B, D, gy, gx) on another grid, bilinearly; averaged where the new one is coarser."""
    precise = code.to(torch.promote_types(code.dtype, torch.float32))  # torch has no kernel for half precision
    return functional.interpolate(precise, grid, mode="bilinear", align_corners=False, antialias=True).to(code.dtype)


def _borders(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of what a picture lacks to multiples of the grid."""
    missing_rows, missing_columns = (-side % MULTIPLE for side in size)
    left, top = missing_columns // 2, missing_rows // 2
    return left, missing_columns - left, top, missing_rows - top


def _whole(x: Tensor) -> Tensor:
    """Pictures extended to sides that are multiples of the grid."""
    return extend(x, _borders((x.shape[-2], x.shape[-1])))
