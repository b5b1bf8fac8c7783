"""What was observed: the blurry picture, which of its pixels can be believed, and how noisy they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Observation:
    """A blurry picture y = B(x; k) + n, or several of one size.

    Attributes:
        y: Blurry pixels (B, C, H, W) in [0, 1].
        mask: (B, 1, H, W), 1 where a pixel can be believed, 0 where it is saturated or missing.
        noise: Standard deviation of the noise n, (B,), in units of y.
    """

    y: Tensor
    mask: Tensor
    noise: Tensor

    @classmethod
    def of(cls, y: Tensor, noise: float = 0.0) -> Observation:
        """Wrap (B, C, H, W) pixels, all of them believed, with one noise level."""
        batch, _, height, width = y.shape
        return cls(y, y.new_ones(batch, 1, height, width), y.new_full((batch,), noise))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.y.shape[-2], self.y.shape[-1]

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Observation:
        """The same observation on another device, in another precision."""
        return Observation(self.y.to(device, dtype), self.mask.to(device, dtype), self.noise.to(device, dtype))

    def luma(self) -> Observation:
        """One channel only: the mean over channels, whose independent noise is averaged too."""
        channels = self.y.shape[1]
        return Observation(self.y.mean(1, keepdim=True), self.mask, self.noise / channels**0.5)

    def crop(self, top: int, left: int, height: int, width: int) -> Observation:
        """The window of the given corner and size, in pixels."""
        rows, columns = slice(top, top + height), slice(left, left + width)
        return Observation(self.y[..., rows, columns], self.mask[..., rows, columns], self.noise)
