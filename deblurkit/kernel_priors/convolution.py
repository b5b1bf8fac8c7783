"""An explicit kernel on the simplex, with a closed-form estimate from gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deblurkit.core import KernelPrior, Observation
from deblurkit.kernel_priors.plugin import ConvolutionParams
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.fourier import fast_size, kernel_spectrum
from deblurkit.ops.kernel_fit import embed, fit_kernel, inner_gradients, inner_mask
from deblurkit.ops.simplex import keep_components, normalise, recentre, short_line

FULL_THRESHOLD = 0.01
FAINTEST = 0.2
"""Noise level from which the full threshold is right, and the least share of it, for a kernel from a good image."""
BREAKING = 0.005
"""Noise level from which thin lines break into dots, so that dots side by side count as one part."""
ANYWHERE = 0.1
"""Mass that the start has all over its window: where a softmax is zero, its gradient is too."""
NOTHING = 1e-20
"""Stands for zero where a logarithm is needed."""


class Convolution(KernelPrior[ConvolutionParams]):
    """k >= 0, sum 1. For gradient optimizers it is the softmax of free logits; closed forms set it directly."""

    def __init__(
        self, params: ConvolutionParams, observation: Observation, *, size: tuple[int, int], generator: torch.Generator
    ) -> None:
        super().__init__(params, observation, size=size, generator=generator)
        self.logits = nn.Parameter(observation.y.new_zeros(self.batch, 1, *size))
        line = short_line(size, observation.y).expand(self.batch, -1, -1, -1)
        self.fit(normalise(line + ANYWHERE / (size[0] * size[1])))

    def kernel(self) -> Tensor:
        """(B, 1, h, w); what a closed form or a fit set to zero is exactly zero."""
        kernel = torch.softmax(self.params.pace * self.logits.flatten(1), dim=1).view_as(self.logits)
        return kernel * (kernel > 10 * NOTHING)

    def fit(self, kernel: Tensor) -> None:
        """Take over a kernel; exact zeros stay zeros."""
        with torch.no_grad():
            self.logits.copy_(kernel.clamp_min(NOTHING).log() / self.params.pace)

    def estimate(self, x: Tensor, observation: Observation, *, progress: float = 1.0) -> None:
        """Non-negative least squares on gradients under the mask; then threshold and connected components.

        A rough image (``progress`` below 1) gets the full threshold, and the kernel is recentred; a good one gets a
        threshold in proportion to the noise, since on a clean picture even the kernel's faint parts can be believed.
        """
        self.fit(closed_form(x, observation, self.kernel(), self.params, rough=progress < 1.0))


def closed_form(
    x: Tensor, observation: Observation, start: Tensor, params: ConvolutionParams, *, rough: bool
) -> Tensor:
    """The kernel (B, 1, h, w) of the simplex that explains the observation best; see :meth:`Convolution.estimate`.

    Args:
        x: Latent image (B, C, H + 2 my, W + 2 mx).
        observation: The blurry picture of that image.
        start: The kernel so far (B, 1, h, w).
        params: Weights and thresholds.
        rough: Whether the image is a rough one.
    """
    raw = normalise(least_squares(x, observation, start, params))
    kernel = torch.cat(
        [clean(one, float(noise), params, rough) for one, noise in zip(raw.split(1), observation.noise, strict=True)]
    )
    return recentre(kernel) if rough else kernel


def clean(kernel: Tensor, noise: float, params: ConvolutionParams, rough: bool) -> Tensor:
    """Keep the connected parts of one kernel that can be believed at that noise level."""
    share = 1.0 if rough else min(1.0, max(FAINTEST, noise / FULL_THRESHOLD))
    return keep_components(
        kernel,
        strong=share * params.strong,
        weak=share * params.weak,
        mass=share * params.component,
        gap=int(noise > BREAKING),
    )


def least_squares(x: Tensor, observation: Observation, start: Tensor, params: ConvolutionParams) -> Tensor:
    """Minimise ||m (grad x * k - grad y)||^2 + ||grad x||^2 (ridge ||k||^2 + smooth ||grad k||^2) over k >= 0.

    Where nothing was observed, the present kernel's prediction stands in, so that nothing wraps around. The result
    (B, 1, h, w) has any sum.
    """
    margin = start.shape[-2] // 2, start.shape[-1] // 2
    grid = fast_size(x.shape[-2] - 1), fast_size(x.shape[-1] - 1)
    sharp = embed(inner_gradients(x), (0, 0), grid)
    spectrum = torch.fft.rfft2(sharp)
    mask = embed(inner_mask(observation.mask), margin, grid)
    data = embed(inner_gradients(observation.y), margin, grid)
    predicted = torch.fft.irfft2(spectrum * kernel_spectrum(start, grid), s=grid)
    energy = sharp.square().sum((1, 2, 3), keepdim=True)
    smooth = params.smooth * observation.noise.square().view(-1, 1, 1, 1) * energy
    completed = torch.lerp(predicted, data, mask)
    return fit_kernel(spectrum, completed, start, ridge=params.ridge * energy, smooth=smooth, steps=params.steps)


def gradient_misfit(x: Tensor, observation: Observation, kernel: Tensor) -> Tensor:
    """Squared misfit ||m (grad x * k - grad y)||^2 of a kernel (B, 1, h, w), as (B,)."""
    predicted = convolve_valid(inner_gradients(x), kernel)
    error = (predicted - inner_gradients(observation.y)) * inner_mask(observation.mask)
    return error.square().sum((1, 2, 3))
