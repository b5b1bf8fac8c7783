"""The kernel alone, with the image integrated out: variational Bayes on gradients.

A kernel that is found together with one sharp image likes to be a point; one that is found with all sharp images at
once does not (Levin, Weiss, Durand and Freeman, Efficient marginal likelihood optimization in blind deconvolution, CVPR
2011). Gradients have a Gaussian each with a variance of its own under Jeffreys' prior (Wipf and Zhang, Revisiting
Bayesian blind deconvolution, JMLR 2014); the noise level is re-estimated in every round, which anneals it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from deblurkit.core import Observation
from deblurkit.ops.fourier import fast_size, kernel_spectrum
from deblurkit.ops.kernel_fit import embed, fit_kernel, inner_gradients, inner_mask
from deblurkit.ops.simplex import keep_components, normalise, recentre

IMAGE_STEPS = 8
"""Conjugate gradient steps of a round, from where the last round ended."""
KERNEL_STEPS = 10
"""Projected gradient steps of a round: stopping early regularises, forty do worse."""
NOISE_START = 1e-3
NOISE_FLOOR = 1e-6
"""Variance of the noise at the start, and the least that is believed."""
SPREAD = 1e-3
"""Mass that the start kernel gets all over its window, so that any place can grow."""
STRONG, WEAK, MASS = 0.05, 0.02, 0.02
"""Hysteresis threshold and connected components at the end, see `keep_components`."""


@torch.no_grad()
def marginal_kernels(observation: Observation, start: Tensor, rounds: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Improve a kernel round by round.

    Args:
        observation: The blurry picture (B, C, H, W).
        start: (B, 1, h, w), sum 1.
        rounds: Number of rounds.

    Yields:
        The kernel (B, 1, h, w), sum 1, after every round, cleaned and recentred after the last; and the estimated noise
        variance of the gradients, (B,).
    """
    height, width = start.shape[-2:]
    margin = height // 2, width // 2
    rows, columns = observation.size
    grid = fast_size(rows + height - 2), fast_size(columns + width - 2)
    mask = embed(inner_mask(observation.mask), margin, grid)
    data = embed(inner_gradients(observation.y), margin, grid) * mask
    count = mask.sum((1, 2, 3), keepdim=True) * data.shape[1]
    mask_spectrum = torch.fft.rfft2(mask)
    x = data.clone()
    noise = torch.full_like(count, NOISE_START)
    variance_prior = 4 * data.square().sum((1, 2, 3), keepdim=True) / count.clamp_min(1) * torch.ones_like(mask)
    kernel = normalise(start + SPREAD / (height * width))
    for index in range(rounds):
        spectrum = kernel_spectrum(kernel, grid)
        energy = torch.fft.irfft2(kernel_spectrum(kernel.square(), grid).conj() * mask_spectrum, s=grid).clamp_min(0)
        x = posterior_mean(x, data, mask, spectrum, energy, noise / variance_prior)
        variance = 1 / (energy / noise + 1 / variance_prior)
        variance_prior = x.square().mean(1, keepdim=True) + variance
        transformed = torch.fft.rfft2(x)
        completed = torch.lerp(torch.fft.irfft2(spectrum * transformed, s=grid), data, mask)
        # the expected square of k * x has the posterior variances on its diagonal: a ridge on the kernel
        inside = (rows - 1) * (columns - 1) / ((rows + height - 2) * (columns + width - 2))
        ridge = data.shape[1] * variance.sum((1, 2, 3), keepdim=True) * inside
        kernel = normalise(
            fit_kernel(transformed, completed, kernel, ridge=ridge, smooth=torch.zeros_like(ridge), steps=KERNEL_STEPS)
        )
        misfit = (torch.fft.irfft2(transformed * kernel_spectrum(kernel, grid), s=grid) - data) * mask
        unexplained = dot(misfit, misfit) + ridge * dot(kernel, kernel)
        noise = (unexplained / count.clamp_min(1)).clamp_min(NOISE_FLOOR)
        if index == rounds - 1:
            kernel = recentre(keep_components(kernel, strong=STRONG, weak=WEAK, mass=MASS))
        yield kernel, noise.flatten()


def posterior_mean(
    x: Tensor, data: Tensor, mask: Tensor, spectrum: Tensor, energy: Tensor, shrinkage: Tensor
) -> Tensor:
    """Solve (K^T M K + shrinkage) x = K^T data by conjugate gradients, preconditioned by the diagonal."""
    grid = data.shape[-2:]
    conjugate = spectrum.conj()
    precondition = 1 / (energy + shrinkage)

    def apply(v: Tensor) -> Tensor:
        blurred = torch.fft.irfft2(spectrum * torch.fft.rfft2(v), s=grid)
        return torch.fft.irfft2(conjugate * torch.fft.rfft2(mask * blurred), s=grid) + shrinkage * v

    residual = torch.fft.irfft2(conjugate * torch.fft.rfft2(data), s=grid) - apply(x)
    scaled = precondition * residual
    direction, slope = scaled, dot(residual, scaled)
    for _ in range(IMAGE_STEPS):
        image = apply(direction)
        step = slope / dot(direction, image).clamp_min(1e-30)
        x = x + step * direction
        residual = residual - step * image
        scaled = precondition * residual
        before, slope = slope, dot(residual, scaled)
        direction = scaled + slope / before.clamp_min(1e-30) * direction
    return x


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of every picture of a batch, (B, 1, 1, 1)."""
    return (a * b).sum((1, 2, 3), keepdim=True)
