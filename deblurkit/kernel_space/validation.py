"""How good a space is while it is trained: reblur PSNR, a figure to look at, and the Gaussian over its codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from deblurkit.files import atomic_write
from deblurkit.kernel_space.datasets import Data
from deblurkit.nets.kernel_space.space import ConvolutionalSpace, KernelSpace, Statistics

RIDGE = 1e-4
"""Share of the mean variance that is added to every variance, so that the covariance has a factor."""
GAP, HEADING = 4, 14


@dataclass(frozen=True)
class Score:
    """Validation scores in dB, means over the examples, interior of the pictures.

    Attributes:
        psnr: Of F(sharp, G(sharp, blurry)) against the blurry picture.
        untouched: Of the sharp picture itself against the blurry one: what doing nothing scores.
    """

    psnr: float
    untouched: float


@dataclass(frozen=True)
class Samples:
    """Fixed examples on the device: sharp and blurry (N, C, H, W)."""

    sharp: Tensor
    blurry: Tensor


def fixed_examples(data: Data, count: int, *, seed: int, purpose: str, batch: int, device: torch.device) -> Samples:
    """Draw examples that stay the same throughout a training."""
    parts = [
        data.collate([data.draw(seed, purpose, number) for number in range(start, min(start + batch, count))], device)
        for start in range(0, count, batch)
    ]
    return Samples(torch.cat([sharp for sharp, _ in parts]), torch.cat([blurry for _, blurry in parts]))


def interior(pictures: Tensor, margin: int) -> Tensor:
    """Pictures without a margin on every side."""
    height, width = pictures.shape[-2:]
    return pictures[..., margin : height - margin, margin : width - margin]


@torch.no_grad()
def score(space: KernelSpace, samples: Samples, *, batch: int) -> Score:
    """Score a space on fixed examples."""
    found = [
        torch.stack([_psnr(reblur(space, sharp, blurry), target), _psnr(interior(sharp, space.margin), target)])
        for sharp, blurry in zip(samples.sharp.split(batch), samples.blurry.split(batch), strict=True)
        for target in (interior(blurry, space.margin),)
    ]
    psnr, untouched = torch.cat(found, 1).mean(1).tolist()
    return Score(psnr, untouched)


def reblur(space: KernelSpace, sharp: Tensor, blurry: Tensor) -> Tensor:
    """F(sharp, G(sharp, blurry)), without the margin."""
    return space.blur(sharp, space.encode(sharp, blurry))


def _psnr(estimate: Tensor, target: Tensor) -> Tensor:
    """PSNR (B,) in dB, white being 1; at most 100, so that a mean of equal pictures is a number."""
    error = (estimate.float().clamp(0, 1) - target).square().mean((1, 2, 3))
    return -10 * error.clamp_min(1e-10).log10()


@torch.no_grad()
def fit_statistics(
    space: KernelSpace, samples: Samples, noise: Callable[[int, int], Tensor], *, batch: int
) -> Statistics:
    """Fit a Gaussian to the codes of fixed examples, every place of their grids counting as one code.

    Args:
        space: The space.
        samples: Training examples.
        noise: Standard normal numbers (N, D, gy, gx) for the examples from one number to another, in a space with a
            spread: its codes are drawn, as they are in training.
        batch: Examples at a time.
    """
    codes = []
    for start in range(0, len(samples.sharp), batch):
        sharp, blurry = samples.sharp[start : start + batch], samples.blurry[start : start + batch]
        mean, spread = space.distribution(sharp, blurry)
        if spread is not None:
            mean = mean + spread * noise(start, start + len(sharp)).to(mean)
        codes.append(mean.movedim(1, -1).flatten(0, -2).double().cpu())
    return gaussian(torch.cat(codes))


def gaussian(codes: Tensor) -> Statistics:
    """The Gaussian of codes (N, D): their mean, and a factor of their covariance (slightly widened)."""
    mean = codes.mean(0)
    centred = codes - mean
    covariance = centred.mT @ centred / max(1, len(codes) - 1)
    widening = RIDGE * covariance.diagonal().mean() + 1e-12
    factor = torch.linalg.cholesky(covariance + widening * torch.eye(len(mean), dtype=codes.dtype))
    return Statistics(mean.float(), factor.float())


@torch.no_grad()
def draw_samples(path: Path, space: KernelSpace, samples: Samples, count: int) -> None:
    """Write a figure: a row for each example, with sharp, blurry, re-blurred, ten times their difference, the kernel.

    Raises:
        RunError: The system refuses to write.
    """
    sharp, blurry = samples.sharp[:count], samples.blurry[:count]
    code = space.encode(sharp, blurry)
    again = space.blur(sharp, code).float()
    sharp, blurry = (interior(one, space.margin) for one in (sharp, blurry))
    columns = {"sharp": sharp, "blurry": blurry, "re-blurred": again, "difference x 10": 0.5 + 10 * (again - blurry)}
    if isinstance(space, ConvolutionalSpace):
        kernels = space.kernel(code.mean((-2, -1), keepdim=True)).float()
        kernels = kernels / kernels.amax((-2, -1), keepdim=True)
        factor = max(1, min(sharp.shape[-2:]) // kernels.shape[-1])
        columns["kernel"] = functional.interpolate(kernels, scale_factor=float(factor), mode="nearest")
    figure = _figure(columns)
    atomic_write(path, lambda file: figure.save(file, "PNG"), overwrite=True)


def _figure(columns: dict[str, Tensor]) -> Image.Image:
    """Pictures (N, C, h, w) of several columns in one."""
    pictures = {name: [_image(one) for one in column.cpu()] for name, column in columns.items()}
    rows = max(len(column) for column in pictures.values())
    widths = [max(one.width for one in column) for column in pictures.values()]
    height = max(one.height for column in pictures.values() for one in column)
    figure = Image.new("RGB", (sum(widths) + GAP * (len(widths) - 1), HEADING + rows * (height + GAP) - GAP), "white")
    pen = ImageDraw.Draw(figure)
    left = 0
    for (name, column), width in zip(pictures.items(), widths, strict=True):
        pen.text((left + 2, 1), name, fill="black")
        for row, one in enumerate(column):
            figure.paste(one, (left, HEADING + row * (height + GAP)))
        left += width + GAP
    return figure


def _image(pixels: Tensor) -> Image.Image:
    """A picture (C, h, w) for Pillow."""
    values = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(values.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())
