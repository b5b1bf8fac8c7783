"""The pictures that the contracts are tried on: cartoons, a curved kernel, and their blur from its definition."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deblurkit.core import Observation

SIZE = (48, 56)
KERNEL_SIZE = (7, 9)
NOISE = 0.002


def cartoon(batch: int, channels: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Pictures of overlapping flat rectangles (B, C, H, W) in [0.1, 0.9]: sharp, with many edges."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.full((batch, channels, *size), 0.5)
    for b in range(batch):
        for _ in range(25):
            top, left = (int(torch.randint(0, side - 4, (), generator=generator)) for side in size)
            height, width = (int(torch.randint(4, 20, (), generator=generator)) for _ in range(2))
            level = 0.1 + 0.8 * torch.rand(channels, 1, 1, generator=generator)
            x[b, :, top : top + height, left : left + width] = level
    return x


def hills(batch: int, channels: int, size: tuple[int, int]) -> Tensor:
    """A smooth picture (B, C, H, W) in [0.2, 0.8], which a coarser grid shows as well as a finer one."""
    rows, columns = (torch.linspace(0, 1, side) for side in size)
    return (0.5 + 0.3 * torch.sin(5 * rows)[:, None] * torch.cos(4 * columns)).expand(batch, channels, -1, -1).clone()


def bell_kernel(size: tuple[int, int], batch: int = 1) -> Tensor:
    """A Gaussian kernel (B, 1, h, w) in the centre of its window, sum 1, of a fifth of its sides."""
    rows, columns = (torch.exp(-((torch.arange(side) - side // 2) / (0.2 * side)).square() / 2) for side in size)
    kernel = rows[:, None] * columns
    return (kernel / kernel.sum()).expand(batch, 1, -1, -1).clone()


def curved_kernel(size: tuple[int, int], batch: int = 1) -> Tensor:
    """A curved motion path (B, 1, h, w), non-negative, sum 1, centred and not symmetric."""
    height, width = size
    kernel = torch.zeros(height, width)
    for t in torch.linspace(0.0, 1.0, 200):
        row = (height - 1) * (0.2 + 0.6 * math.sin(2.0 * float(t)) ** 2)
        kernel[round(row), round((width - 1) * (0.15 + 0.7 * float(t)))] += 1.0 + float(t)
    return (kernel / kernel.sum()).expand(batch, 1, -1, -1).clone()


def blur_by_definition(x: Tensor, kernel: Tensor) -> Tensor:
    """Valid true convolution of (B, C, H, W) with (B, 1, h, w), as a sum of shifted pictures."""
    height, width = kernel.shape[-2:]
    rows, columns = x.shape[-2] - height + 1, x.shape[-1] - width + 1
    y = torch.zeros(*x.shape[:2], rows, columns, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            top, left = height - 1 - i, width - 1 - j
            y = y + kernel[:, :, i : i + 1, j : j + 1] * x[..., top : top + rows, left : left + columns]
    return y


def example(batch: int = 1, channels: int = 1, seed: int = 0) -> tuple[Observation, Tensor, Tensor]:
    """A blurry observation with its latent image (B, C, H + h - 1, W + w - 1) and its kernel (B, 1, h, w)."""
    kernel = curved_kernel(KERNEL_SIZE, batch)
    x = cartoon(batch, channels, (SIZE[0] + KERNEL_SIZE[0] - 1, SIZE[1] + KERNEL_SIZE[1] - 1), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    y = blur_by_definition(x, kernel)
    return Observation.of(y + NOISE * torch.randn(y.shape, generator=generator), noise=NOISE), x, kernel


def generator(seed: int = 0) -> torch.Generator:
    """A fresh source of randomness."""
    return torch.Generator().manual_seed(seed)
