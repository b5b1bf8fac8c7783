"""The full frame restored with a given kernel, in tiles where it is large, so that memory stays bounded."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from deblurkit.core import Observation
from deblurkit.core.image_prior import inner
from deblurkit.pipeline.parts import Parts
from deblurkit.pipeline.progress import Listener, Progress

TILE = 1024
"""Side of a tile's core in pixels. A picture that is not larger than this is restored in one piece."""
BLEND = 16
"""Pixels over which neighbouring tiles fade into each other."""


@dataclass(frozen=True)
class Span:
    """One tile along one side: what it computes, and where it begins to fade.

    Attributes:
        start: First pixel that is computed.
        stop: One past the last.
        fade_in: Whether a tile comes before it.
        fade_out: Whether a tile comes after it.
    """

    start: int
    stop: int
    fade_in: bool
    fade_out: bool

    def weights(self, halo: int, like: Tensor) -> Tensor:
        """Weight of every pixel: 0 in the outer halo, where the tile's own border is felt, then a ramp, then 1."""
        length = self.stop - self.start
        distance = torch.arange(length, device=like.device, dtype=like.dtype) + 0.5
        weight = torch.ones_like(distance)
        if self.fade_in:
            weight = torch.minimum(weight, ((distance - halo) / BLEND).clamp(0.0, 1.0))
        if self.fade_out:
            weight = torch.minimum(weight, ((length - distance - halo) / BLEND).clamp(0.0, 1.0))
        return weight


def spans(length: int, halo: int) -> list[Span]:
    """Cut a side into tiles of about equal cores, each with ``halo`` and half a blend beyond its core."""
    count = -(-length // TILE)
    edges = [round(index * length / count) for index in range(count + 1)]
    reach = halo + BLEND // 2
    return [
        Span(max(0, start - reach), min(length, stop + reach), start > 0, stop < length)
        for start, stop in pairwise(edges)
    ]


def restore_frame(frame: Observation, parts: Parts, kernel: Tensor, listener: Listener) -> Tensor:
    """Non-blind deconvolution of a whole picture by the image prior of the last step.

    Args:
        frame: The picture, a batch of one, of any size.
        parts: The components; there is a last step.
        kernel: (1, 1, h, w).
        listener: Is told of every tile.

    Returns:
        (1, C, H, W), of the picture's own size.
    """
    margin = kernel.shape[-2] // 2, kernel.shape[-1] // 2
    # ringing from a tile's border decays over a few kernel widths; one is enough once the border is modelled
    rows = spans(frame.size[0], kernel.shape[-2])
    columns = spans(frame.size[1], kernel.shape[-1])
    image = torch.zeros_like(frame.y)
    total = frame.y.new_zeros(1, 1, *frame.size)
    done = 0
    for row in rows:
        for column in columns:
            tile = frame.crop(row.start, column.start, row.stop - row.start, column.stop - column.start)
            latent = parts.restorer(tile, margin).restore(tile, kernel)
            weight = row.weights(kernel.shape[-2], image)[:, None] * column.weights(kernel.shape[-1], image)[None, :]
            place = (..., slice(row.start, row.stop), slice(column.start, column.stop))
            image[place] += weight * inner(latent, tile.size)
            total[place] += weight
            done += 1
            listener(Progress("restore", done=done, total=len(rows) * len(columns)))
    return image.div_(total)
