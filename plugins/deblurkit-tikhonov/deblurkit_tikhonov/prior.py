"""Squared gradients as an image prior: an energy, and a restoration that is linear in the picture.

The latent image minimises, with the mask m of pixels that can be believed::

    1/2 ||m (k * x - y)||^2 + weight/2 (||Dx x||^2 + ||Dy x||^2)

If every pixel of a periodic picture were observed, one division in Fourier space would solve it::

    X = conj(K) Y / (|K|^2 + weight (|Dx|^2 + |Dy|^2))

A photograph is not periodic: its blur mixes in light from beyond the frame. The latent image is therefore larger than
the observation, the pixels around it count as not observed, and the division serves as the preconditioner of conjugate
gradients on the masked problem (in the spirit of Reeves, Fast image restoration without boundary artifacts, IEEE Trans.
Image Processing 2005). Where nothing is masked they are done after one round.
"""

from __future__ import annotations

import torch
from deblurkit.core import Observation, PixelImagePrior
from deblurkit.ops.fourier import difference_powers, fast_size, kernel_spectrum
from torch import Tensor
from torch.nn import functional

from deblurkit_tikhonov.plugin import TikhonovParams

GRADIENT_VARIANCE = 0.05**2
"""Mean squared difference of neighbouring pixels in sharp photographs; the weight is the noise's variance over it."""
ROUNDING = 1e-3
"""Standard deviation of what 8 bits and an inexact kernel leave unexplained; it keeps the weight away from 0."""


class Tikhonov(PixelImagePrior[TikhonovParams]):
    """Gaussian gradients: what a Wiener filter assumes, without its periodic border."""

    def energy(self, x: Tensor) -> Tensor:
        """``energy_weight`` times the mean squared gradient of ``x`` (B, C, H, W), as (B,)."""
        squares = [torch.diff(x, dim=dim).square().mean((1, 2, 3)) for dim in (-2, -1)]
        return self.params.energy_weight * (squares[0] + squares[1])

    @torch.no_grad()
    def restore(self, observation: Observation, kernel: Tensor, *, progress: float = 1.0) -> Tensor:
        """The minimiser for a fixed kernel; see the module.

        Args:
            observation: Blurry picture, y (B, C, H, W); saturated and missing pixels are not believed.
            kernel: (B, 1, h, w), odd sides, non-negative, sum 1, true convolution.
            progress: Not used: the problem has one solution, at the start of an estimation as at its end.

        Returns:
            (B, C, H + h - 1, W + w - 1), not clipped.

        Raises:
            KernelError: If the kernel has an even side.
        """
        del progress
        (height, width), (rows, columns) = observation.size, kernel.shape[-2:]
        size = height + rows - 1, width + columns - 1
        # the prior's differences are periodic: a gap of one more kernel keeps the far side's brightness away
        grid = fast_size(size[0] + rows - 1), fast_size(size[1] + columns - 1)
        top, left = rows // 2, columns // 2
        frame = (left, grid[1] - width - left, top, grid[0] - height - top)
        mask = functional.pad(observation.mask, frame)
        start = functional.pad(observation.start, frame, mode="replicate")
        weight = self.params.strength * (observation.noise.square() + ROUNDING**2) / GRADIENT_VARIANCE
        x = _solve(start, mask, kernel_spectrum(kernel, grid), weight.view(-1, 1, 1, 1), self.params.rounds)
        return x[..., : size[0], : size[1]]


def _solve(y: Tensor, mask: Tensor, spectrum: Tensor, weight: Tensor, rounds: int) -> Tensor:
    """Solve ``(K' M K + weight D' D) x = K' M y`` on a periodic grid by conjugate gradients, started at ``y``."""
    grid = y.shape[-2:]
    py, px = difference_powers((grid[0], grid[1]), y)
    prior = weight * (px + py)
    inverse = 1.0 / (spectrum.abs().square() + prior).clamp_min(torch.finfo(y.dtype).eps)

    def normal(picture: Tensor) -> Tensor:
        """K' M K + weight D' D."""
        transformed = torch.fft.rfft2(picture)
        believed = mask * torch.fft.irfft2(spectrum * transformed, s=grid)
        return torch.fft.irfft2(spectrum.conj() * torch.fft.rfft2(believed) + prior * transformed, s=grid)

    def divided(picture: Tensor) -> Tensor:
        """The solution if every pixel were observed."""
        return torch.fft.irfft2(inverse * torch.fft.rfft2(picture), s=grid)

    x = y
    residual = torch.fft.irfft2(spectrum.conj() * torch.fft.rfft2(mask * y), s=grid) - normal(x)
    direction = step = divided(residual)
    slope = _dot(residual, step)
    for _ in range(rounds):
        moved = normal(direction)
        # a picture that is solved already has no slope left: 0 / tiny stays 0
        length = slope / _dot(direction, moved).clamp_min(torch.finfo(y.dtype).tiny)
        x = x + length * direction
        residual = residual - length * moved
        step = divided(residual)
        slope, before = _dot(residual, step), slope
        direction = step + slope / before.clamp_min(torch.finfo(y.dtype).tiny) * direction
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar products (B, C, 1, 1): every channel of every picture is a problem of its own."""
    return (a * b).sum((-2, -1), keepdim=True)
