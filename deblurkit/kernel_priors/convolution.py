"""An explicit kernel on the simplex, with a closed-form estimate from gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblurkit.core import KernelPrior, Observation
from deblurkit.kernel_priors.plugin import ConvolutionParams
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.fourier import fast_size, kernel_spectrum
from deblurkit.ops.simplex import keep_components, normalise, recentre

NOTHING = 1e-20
"""Stands for zero where a logarithm is needed."""


class Convolution(KernelPrior[ConvolutionParams]):
    """k >= 0, sum 1. For gradient optimizers it is the softmax of free logits; closed forms set it directly."""

    def __init__(
        self, params: ConvolutionParams, observation: Observation, *, size: tuple[int, int], generator: torch.Generator
    ) -> None:
        super().__init__(params, observation, size=size, generator=generator)
        self.logits = nn.Parameter(observation.y.new_zeros(self.batch, 1, *size))
        self.fit(start_kernel(size, observation.y).expand(self.batch, -1, -1, -1))

    def kernel(self) -> Tensor:
        """(B, 1, h, w); what a closed form or a fit set to zero is exactly zero."""
        kernel = torch.softmax(self.logits.flatten(1), dim=1).view_as(self.logits)
        return kernel * (kernel > 10 * NOTHING)

    def blur(self, x: Tensor) -> Tensor:
        """Valid convolution with :meth:`kernel`."""
        return convolve_valid(x, self.kernel())

    def fit(self, kernel: Tensor) -> None:
        """Take over a kernel; exact zeros stay zeros."""
        with torch.no_grad():
            self.logits.copy_(kernel.clamp_min(NOTHING).log())

    def estimate(self, x: Tensor, observation: Observation, *, progress: float = 1.0) -> None:
        """Least squares on gradients under the mask, by conjugate gradients; then threshold, components, recentre."""
        del progress
        raw = least_squares(x, observation, self.kernel(), self.params.ridge, self.params.steps)
        kernel = keep_components(
            normalise(raw), strong=self.params.strong, weak=self.params.weak, mass=self.params.component
        )
        self.fit(recentre(kernel))


def start_kernel(size: tuple[int, int], like: Tensor) -> Tensor:
    """A short horizontal line (1, 1, h, w): enough to tell up from sideways at the coarsest scale."""
    kernel = like.new_zeros(1, 1, *size)
    row, column = size[0] // 2, size[1] // 2
    kernel[..., row, column - 1 : column + 2] = like.new_tensor([0.25, 0.5, 0.25])
    return kernel


def least_squares(x: Tensor, observation: Observation, start: Tensor, ridge: float, steps: int) -> Tensor:
    """Argmin ||m (grad x * k - grad y)||^2 + ridge ||grad y||^2 ||k||^2 over (B, 1, h, w), not constrained."""
    kh, kw = start.shape[-2:]
    y, mask = observation.y, observation.mask
    height, width = y.shape[-2:]
    grid = fast_size(height + kh - 1), fast_size(width + kw - 1)
    gx = torch.cat(
        [functional.pad(torch.diff(x, dim=-1), (0, 1)), functional.pad(torch.diff(x, dim=-2), (0, 0, 0, 1))], 1
    )
    gy = torch.cat(
        [functional.pad(torch.diff(y, dim=-1), (0, 1)), functional.pad(torch.diff(y, dim=-2), (0, 0, 0, 1))], 1
    )
    believed = torch.zeros_like(mask)
    believed[..., :-1, :-1] = mask[..., :-1, :-1] * mask[..., 1:, :-1] * mask[..., :-1, 1:]
    frame = (kw // 2, grid[1] - width - kw // 2, kh // 2, grid[0] - height - kh // 2)
    believed = functional.pad(believed, frame)
    target = functional.pad(gy, frame) * believed
    spectrum = torch.fft.rfft2(gx, s=grid)
    conjugate = spectrum.conj()
    scale = ridge * target.square().sum((1, 2, 3), keepdim=True)

    def correlate(u: Tensor) -> Tensor:
        full = torch.fft.irfft2((conjugate * torch.fft.rfft2(u)).sum(1, keepdim=True), s=grid)
        return torch.roll(full, (kh // 2, kw // 2), (-2, -1))[..., :kh, :kw]

    def normal(k: Tensor) -> Tensor:
        blurred = torch.fft.irfft2(spectrum * kernel_spectrum(k, grid), s=grid) * believed
        return correlate(blurred) + scale * k

    return conjugate_gradients(normal, correlate(target), start, steps)


def conjugate_gradients(operator, right: Tensor, start: Tensor, steps: int) -> Tensor:  # type: ignore[no-untyped-def]
    """Solve ``operator(k) = right`` for every picture of the batch."""

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((1, 2, 3), keepdim=True)

    k = start
    residual = right - operator(k)
    direction, energy = residual, dot(residual, residual)
    for _ in range(steps):
        image = operator(direction)
        step = energy / dot(direction, image).clamp_min(1e-20)
        k = k + step * direction
        residual = residual - step * image
        before, energy = energy, dot(residual, residual)
        direction = residual + energy / before.clamp_min(1e-20) * direction
    return k
