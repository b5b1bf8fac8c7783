"""What was observed: the blurry picture, which of its pixels can be believed, and how noisy they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deblurkit.ops.inpaint import fill


@dataclass(frozen=True)
class Observation:
    """A blurry picture y = B(x; k) + n, or several of one size.

    Attributes:
        y: Blurry pixels (B, C, H, W) in [0, 1].
        mask: (B, 1, H, W), 1 where a pixel can be believed, 0 where it is saturated or missing.
        saturated: (B, 1, H, W), 1 where a channel stands at the sensor's limit: the light was at least that bright. The
            mask is 0 there, so that a part which knows only the mask is right; one that knows more can use the bound.
        noise: Standard deviation of the noise n, (B,), in units of y.
    """

    y: Tensor
    mask: Tensor
    saturated: Tensor
    noise: Tensor

    @classmethod
    def of(cls, y: Tensor, noise: float = 0.0, *, mask: Tensor | None = None) -> Observation:
        """Wrap (B, C, H, W) pixels with one noise level; all are believed where no mask (B, 1, H, W) is given."""
        ones = torch.ones_like(y[:, :1])
        return cls(y, ones if mask is None else mask, torch.zeros_like(ones), y.new_full(y.shape[:1], noise))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.y.shape[-2], self.y.shape[-1]

    @property
    def start(self) -> Tensor:
        """The blurry pixels (B, C, H, W) with the missing ones filled in: where an iteration may begin."""
        return fill(self.y, self.mask + self.saturated)

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Observation:
        """The same observation on another device, in another precision."""
        fields = (self.y, self.mask, self.saturated, self.noise)
        return Observation(*(value.to(device, dtype) for value in fields))

    def luma(self) -> Observation:
        """One channel only: the mean over channels, whose independent noise is averaged too."""
        channels = self.y.shape[1]
        return Observation(self.y.mean(1, keepdim=True), self.mask, self.saturated, self.noise / channels**0.5)

    def crop(self, top: int, left: int, height: int, width: int) -> Observation:
        """The window of the given corner and size, in pixels."""
        place = (..., slice(top, top + height), slice(left, left + width))
        return Observation(self.y[place], self.mask[place], self.saturated[place], self.noise)
