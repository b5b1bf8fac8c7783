"""How blur kernels differ to the eye: a metric on kernels, and the basis that describes random ones best in it."""

from __future__ import annotations

import torch
from torch import Tensor

LOWEST = 0.006
"""Cycles a pixel below which the power spectrum of pictures is taken to be flat."""
POWER = 4.5e-4
"""Power of photographs in [0, 1] at frequency f, times f^2: measured on the Kodak pictures."""


def picture_power(side: int, like: Tensor) -> Tensor:
    """Power spectrum of a typical photograph on a square periodic grid, (side, side // 2 + 1), for ``rfft2``.

    ``(|rfft2(d)|^2 * power)`` summed over all frequencies of the grid and divided by their number is the mean squared
    error that a kernel error d causes. Frequency 0 has no power: kernels have one sum.
    """
    rows = torch.fft.fftfreq(side, device=like.device, dtype=like.dtype)
    columns = torch.fft.rfftfreq(side, device=like.device, dtype=like.dtype)
    squared = rows.square()[:, None] + columns.square()
    power = POWER / (squared + LOWEST**2)
    power[0, 0] = 0
    return power


def visible_error(difference: Tensor) -> Tensor:
    """Mean squared error (B,) that kernel differences (B, 1, w, w) cause in a typical photograph in [0, 1]."""
    side = 2 * difference.shape[-1] + 2
    spectrum = torch.fft.rfft2(difference.squeeze(1), s=(side, side))
    power = picture_power(side, difference)
    power = torch.cat([power[:, :1], 2 * power[:, 1:-1], power[:, -1:]], dim=1)  # rfft2 leaves out the mirror images
    return ((spectrum.real.square() + spectrum.imag.square()) * power).mean((1, 2)) * (power.shape[1] / side)


def principal_kernels(kernels: Tensor, dimensions: int) -> tuple[Tensor, Tensor, Tensor]:
    """Principal components of kernels where the error that shows counts, by a symmetric eigenvalue problem.

    Args:
        kernels: (N, 1, w, w).
        dimensions: How many components; those beyond what the kernels span get a small variance.

    Returns:
        Mean (w * w,), basis (dimensions, w * w) and measurement (dimensions, w * w) so that
        ``code = measurement @ (kernel - mean)`` has unit variances and ``kernel = mean + code @ basis`` is the best
        that so many numbers can do. The components come in descending order of what they explain.
    """
    window = kernels.shape[-1]
    flat = kernels.flatten(1).double()
    mean = flat.mean(0)
    root, inverse = _metric_root(window)
    seen = (flat - mean) @ root
    values, vectors = torch.linalg.eigh(seen.T @ seen / len(seen))
    values, vectors = values.flip(0)[:dimensions], vectors.flip(1)[:, :dimensions]
    spread = values.clamp_min(1e-7 * float(values[0].clamp_min(1e-12))).sqrt()
    basis = spread[:, None] * (vectors.T @ inverse)
    measurement = (vectors.T @ root) / spread[:, None]
    basis = basis - basis.mean(1, keepdim=True)
    dtype = kernels.dtype
    return mean.to(dtype), basis.to(dtype), measurement.to(dtype)


def _metric_root(window: int) -> tuple[Tensor, Tensor]:
    """Symmetric root of the metric (w * w, w * w) that :func:`visible_error` defines, and the root's inverse."""
    side = 2 * window + 2
    lags = torch.fft.irfft2(picture_power(side, torch.zeros((), dtype=torch.float64)), s=(side, side))
    steps = torch.arange(window)
    offsets = (steps[:, None] - steps) % side
    metric = lags[offsets[:, None, :, None], offsets[None, :, None, :]].reshape(window**2, window**2)
    values, vectors = torch.linalg.eigh(metric)
    values = values.clamp_min(1e-6 * float(values.max()))
    return (vectors * values.sqrt()) @ vectors.T, (vectors / values.sqrt()) @ vectors.T
