"""Where the pixels of a picture lie, whatever its scale, and the waves that a network sees there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """The coordinates of a latent image along its rows and columns.

    At the scale where a network begins, its latent image goes from 0 to 1. At a finer one the same coordinate is the
    same place of the scene, so the network that was found goes on there.

    Attributes:
        first: Coordinates of the first row and the first column.
        pitch: Distances of neighbouring rows and columns.
    """

    first: tuple[float, float]
    pitch: tuple[float, float]

    @classmethod
    def whole(cls, size: tuple[int, int]) -> Frame:
        """A latent image of that height and width from 0 to 1."""
        return cls((0.0, 0.0), (1 / max(size[0] - 1, 1), 1 / max(size[1] - 1, 1)))

    def finer(
        self,
        ratio: tuple[float, float],
        offset: tuple[float, float],
        margins: tuple[tuple[int, int], tuple[int, int]],
    ) -> Frame:
        """The frame of a finer latent image of the same scene.

        Args:
            ratio: Its rows and columns a row and a column of this one.
            offset: Where the first pixel of the coarser picture lies in the finer picture.
            margins: Rows and columns of the latent images beyond their pictures, of this one and of the finer one.
        """
        # the first finer pixel, counted in pixels of the coarser latent image
        places = [m - (f + o) / r for m, f, o, r in zip(*margins, offset, ratio, strict=True)]
        first = [c + p * place for c, p, place in zip(self.first, self.pitch, places, strict=True)]
        return Frame((first[0], first[1]), (self.pitch[0] / ratio[0], self.pitch[1] / ratio[1]))

    def axis(self, dim: int, count: int) -> Tensor:
        """Coordinates of ``count`` rows (``dim`` 0) or columns (1), (count,), in double precision on the CPU."""
        return self.first[dim] + self.pitch[dim] * torch.arange(count, dtype=torch.float64)


def fourier_features(frame: Frame, size: tuple[int, int], *, count: int, growth: float) -> Tensor:
    """Cosine and sine of ``growth ** i`` times the row and the column, i = 0 ... ``count`` - 1.

    As Deblur-INR has them (Zhang, Quan and Ji, NeurIPS 2024, published code): radians without 2 pi. With the usual
    growth of 2 ** (8 / 7) the higher ones are faster than the pixels: they look like noise there, and let the network
    tell neighbours apart.

    Args:
        frame: Where the pixels lie.
        size: Height and width of the latent image.
        count: Frequencies.
        growth: Ratio of neighbouring ones.

    Returns:
        (1, 4 count, *size), float32 on the CPU.
    """
    frequencies = growth ** torch.arange(count, dtype=torch.float64)
    rows, columns = (frequencies[:, None] * frame.axis(dim, size[dim]) for dim in (0, 1))
    waves = [
        *(wave[:, :, None].expand(-1, *size) for wave in (rows.cos(), rows.sin())),
        *(wave[:, None, :].expand(-1, *size) for wave in (columns.cos(), columns.sin())),
    ]
    return torch.cat(waves)[None].float()
