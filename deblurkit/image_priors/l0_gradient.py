"""Few gradients, whatever their size: what drives a blind estimation away from the blurry picture.

Xu, Lu, Xu and Jia, Image smoothing via L0 gradient minimization, 2011; Xu, Zheng and Jia, Unnatural L0 sparse
representation for natural image deblurring, CVPR 2013.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from deblurkit.core import Observation, PixelImagePrior
from deblurkit.core.image_prior import ROUGH
from deblurkit.image_priors.plugin import L0GradientParams
from deblurkit.ops.fourier import difference_powers, fast_size, kernel_spectrum
from deblurkit.ops.gradients import forward_differences, forward_differences_adjoint

PENALTY_GROWTH = 2.0
LARGEST_PENALTY = 1e3
RESTART_FACTORS = (1.0, 1.0, 0.5, 5.0)
"""Weights of the attempts, relative to the first: few strong edges want less, a kernel that collapsed wants more."""


class L0Gradient(PixelImagePrior[L0GradientParams]):
    """Few gradients that are not zero, whatever their size."""

    def restore(self, observation: Observation, kernel: Tensor, *, progress: float = 1.0) -> Tensor:
        """The sharp cartoon (B, C, H + h - 1, W + w - 1); with progress the weight falls by the factor ``relax``."""
        fallen = min(1.0, progress / ROUGH)
        return cartoon(observation, kernel, self.params.weight * self.params.relax ** (-fallen))

    @classmethod
    def restarted(cls, params: L0GradientParams, attempt: int) -> L0GradientParams:
        """Another weight."""
        factor = RESTART_FACTORS[attempt % len(RESTART_FACTORS)]
        return replace(params, weight=params.weight * factor)


def cartoon(observation: Observation, kernel: Tensor, weight: float) -> Tensor:
    """Minimise 1/2 ||m (k * x - y)||^2 + weight ||grad x||_0 by half-quadratic splitting; the border is unknown.

    What lies outside the observation (and under the mask) is filled with the current re-blurred image in every
    round, which majorises the masked data term by one that Fourier space solves.

    Args:
        observation: The blurry picture.
        kernel: (B, 1, h, w).
        weight: Cost of a gradient that is not zero.

    Returns:
        (B, C, H + h - 1, W + w - 1).
    """
    y, mask = observation.y, observation.mask
    height, width = y.shape[-2:]
    rows, columns = kernel.shape[-2] // 2, kernel.shape[-1] // 2
    grid = fast_size(height + 2 * rows), fast_size(width + 2 * columns)
    below, right = grid[0] - height - rows, grid[1] - width - columns
    frame = (columns, right, rows, below)
    believed = torch.nn.functional.pad(mask, frame)
    target = torch.nn.functional.pad(y, frame) * believed
    x = torch.nn.functional.pad(observation.start, frame, mode="replicate")
    spectrum = kernel_spectrum(kernel, grid)
    conjugate, power = spectrum.conj(), spectrum.abs().square()
    py, px = difference_powers(grid, y)
    transformed = torch.fft.rfft2(x)
    penalty = 2 * weight
    while penalty < LARGEST_PENALTY:
        filled = torch.lerp(torch.fft.irfft2(spectrum * transformed, s=grid), target, believed)
        dx, dy = forward_differences(x, periodic=True)
        keep = ((dx.square() + dy.square()).sum(1, keepdim=True) > weight / penalty).to(x.dtype)
        edges = forward_differences_adjoint(dx * keep, dy * keep, periodic=True)
        transformed = (conjugate * torch.fft.rfft2(filled) + penalty * torch.fft.rfft2(edges)) / (
            power + penalty * (px + py)
        ).clamp_min(1e-8)
        x = torch.fft.irfft2(transformed, s=grid)
        penalty *= PENALTY_GROWTH
    return x[..., : height + 2 * rows, : width + 2 * columns]
