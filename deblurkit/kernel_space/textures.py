"""Synthetic pictures with the statistics of natural ones, for training material that nobody has rights in."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deblurkit.kernel_space.draws import uniform

OVERSAMPLING = 2
"""Leaves are painted at this many times the size and averaged, for their edges to be smooth."""
SMALLEST, LARGEST = 1.5, 0.25
"""Radii of leaves: pixels, and share of the picture's side."""
CHROMA = 0.25
"""Strength of colour, relative to that of brightness."""


def texture(side: int, *, generator: torch.Generator) -> Tensor:
    """Paint a dead-leaves picture with 1/f shading.

    Leaves of radius r with density r^-3 that cover one another give edges and a power spectrum like those of natural
    pictures, the same at all scales (Lee, Mumford and Huang, Occlusion models for natural images, IJCV 2001). Each leaf
    has a colour, mostly a brightness, and carries 1/f noise of an amplitude of its own; some are long and thin.

    Args:
        side: Height and width in pixels.
        generator: All randomness comes from here, a CPU generator.

    Returns:
        (3, side, side) uint8.
    """
    size = side * OVERSAMPLING
    leaves = _leaves(size, generator)
    owner = _paint(size, leaves)
    count = len(leaves) + 1
    colours = _colours(count, generator)
    roughness = 0.12 * torch.rand(count, generator=generator).square()
    shading = torch.stack([_cloud(size, generator) for _ in range(2)])
    which = torch.randint(0, 2, (count,), generator=generator)
    grain = torch.where(which[owner] == 0, shading[0], shading[1]) * roughness[owner]
    picture = colours[owner].permute(2, 0, 1) + grain + 0.06 * _cloud(size, generator)
    contrast, brightness = uniform(generator, 0.7, 1.5), uniform(generator, 0.35, 0.6)
    picture = ((picture - 0.5) * contrast + brightness).clamp(0, 1)
    small = torch.nn.functional.avg_pool2d(picture[None], OVERSAMPLING)[0]
    return (small * 255).round().to(torch.uint8)


def _leaves(size: int, generator: torch.Generator) -> Tensor:
    """Leaves (N, 6), the lowest first: row, column, two half axes, angle, and whether it is a rectangle."""
    count = 900 + size * size // 700
    low, high = SMALLEST * OVERSAMPLING, LARGEST * size
    rank = torch.rand(count, generator=generator)
    # the inverse of the distribution function of a density r^-3 between two radii
    radius = (low**-2 + rank * (high**-2 - low**-2)).rsqrt()
    # large ones among the others and at the bottom, so that the ground is covered and not all is confetti
    large = (torch.rand(count, generator=generator) < 0.05) | (torch.arange(count) < count // 16)
    radius = torch.where(large, low * (high / low) ** (0.5 + 0.5 * rank), radius)
    aspect = torch.where(
        torch.rand(count, generator=generator) < 0.15,
        4 + 16 * torch.rand(count, generator=generator),
        1 + 1.5 * torch.rand(count, generator=generator),
    ).sqrt()
    place = torch.rand(count, 2, generator=generator) * size
    angle = torch.rand(count, generator=generator) * math.pi
    angle = torch.where(torch.rand(count, generator=generator) < 0.3, (angle > 1.6) * math.pi / 2, angle)
    square = (torch.rand(count, generator=generator) < 0.4).float()
    return torch.stack([place[:, 0], place[:, 1], radius * aspect, radius / aspect, angle, square], 1)


def _paint(size: int, leaves: Tensor) -> Tensor:
    """Which leaf is seen at each pixel: (size, size) int64, 0 where none is."""
    owner = torch.zeros(size, size, dtype=torch.int64)
    line = torch.arange(size, dtype=torch.float32)
    for number, (row, column, long, short, angle, square) in enumerate(leaves.tolist(), 1):
        reach = math.hypot(long, short) if square else long
        top, bottom = max(0, int(row - reach)), min(size, int(row + reach) + 2)
        left, right = max(0, int(column - reach)), min(size, int(column + reach) + 2)
        down, across = line[top:bottom, None] - row, line[None, left:right] - column
        u = (math.cos(angle) * across + math.sin(angle) * down) / long
        v = (math.cos(angle) * down - math.sin(angle) * across) / short
        inside = torch.maximum(u.abs(), v.abs()) < 1 if square else u * u + v * v < 1
        owner[top:bottom, left:right].masked_fill_(inside, number)
    return owner


def _colours(count: int, generator: torch.Generator) -> Tensor:
    """Colours (N, 3): brightness spread over the whole range, with a few axes of chroma."""
    light = torch.rand(count, 1, generator=generator)
    axes = torch.tensor([[0.6, 0.05, -0.65], [-0.3, 0.45, -0.15]])  # orange to blue, green to purple
    chroma = CHROMA * torch.randn(count, 2, generator=generator) * (0.3 + light * (1 - light)) @ axes
    return light + chroma


def _cloud(size: int, generator: torch.Generator) -> Tensor:
    """Noise (size, size) of amplitude spectrum 1/f, mean 0, standard deviation 1."""
    spectrum = torch.fft.rfft2(torch.randn(size, size, generator=generator))
    rows, columns = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]
    frequency = (rows.square() + columns.square()).sqrt()
    frequency[0, 0] = 1
    spectrum = spectrum / frequency
    spectrum[0, 0] = 0
    noise = torch.fft.irfft2(spectrum, s=(size, size))
    return noise / noise.std()
