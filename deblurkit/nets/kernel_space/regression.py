"""The code that explains a blurry picture best, by least squares: pictures depend linearly on the kernel.

With the kernel = mean + code @ basis the most probable code under white noise and a normal prior solves a linear
system of as many unknowns as the code has numbers. Only pixels whose blur lies inside the sharp picture count, so no
border is guessed; the system of the whole picture with zeros around it, which is a matter of the picture's
autocorrelation at small lags, serves as preconditioner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from deblurkit.ops.fourier import fast_size

NOISE_FLOOR = 1e-8
"""Least noise variance that is believed: (1e-4)^2, far below 8-bit rounding."""


@dataclass(frozen=True)
class Blurred:
    """A pair of pictures prepared for :func:`regress`: the sharp one's spectrum, the rest, and what counts.

    Attributes:
        spectrum: ``rfft2`` (B, C, ...) of the sharp picture less its mean.
        blurry: (B, C, H, W), less the sharp picture's mean.
        weight: (B, 1 or C, H, W), >= 0: what a pixel's squared error counts; 0 near the border.
        grid: Size of the Fourier grid.
    """

    spectrum: Tensor
    blurry: Tensor
    weight: Tensor
    grid: tuple[int, int]

    @classmethod
    def of(cls, sharp: Tensor, blurry: Tensor, window: int, weight: Tensor | None = None) -> Blurred:
        """Prepare pictures (B, C, H, W) for kernels of side ``window``; ``weight`` is (B, 1 or C, H, W)."""
        height, width = sharp.shape[-2:]
        grid = (fast_size(max(height, window) + window), fast_size(max(width, window) + window))
        mean = sharp.mean((-2, -1), keepdim=True)
        inside = sharp.new_zeros(1, 1, height, width)
        rows, columns = (min(window // 2, side // 4) for side in (height, width))
        inside[..., rows : height - rows, columns : width - columns] = 1
        counts = inside if weight is None else inside * weight
        return cls(torch.fft.rfft2(sharp - mean, s=grid), blurry - mean, counts.expand(len(sharp), -1, -1, -1), grid)

    def blur(self, kernel: Tensor) -> Tensor:
        """The sharp picture (less its mean) blurred by (B, 1, w, w), right wherever the weight is not zero."""
        height, width = self.blurry.shape[-2:]
        half = kernel.shape[-1] // 2
        blurred = torch.fft.irfft2(self.spectrum * torch.fft.rfft2(kernel, s=self.grid), s=self.grid)
        return blurred[..., half : half + height, half : half + width]

    def correlate(self, picture: Tensor, window: int) -> Tensor:
        """Adjoint of :meth:`blur`: (B, C, H, W) to (B, 1, window, window)."""
        half = window // 2
        placed = functional.pad(picture, (half, 0, half, 0))
        product = (self.spectrum.conj() * torch.fft.rfft2(placed, s=self.grid)).sum(1, keepdim=True)
        return torch.fft.irfft2(product, s=self.grid)[..., :window, :window]

    def gram(self, basis: Tensor) -> Tensor:
        """Normal matrices (B, K, K) of the basis (K, w * w), as if every pixel counted and zeros lay around."""
        window = round(basis.shape[1] ** 0.5)
        power = self.spectrum.abs().square().sum(1)
        lags = torch.fft.irfft2(power, s=self.grid)
        lags = torch.roll(lags, (window - 1, window - 1), (-2, -1))[..., : 2 * window - 1, : 2 * window - 1]
        steps = torch.arange(window, device=basis.device)
        offsets = steps[:, None] - steps + window - 1
        normal = lags[:, offsets[:, None, :, None], offsets[None, :, None, :]].reshape(-1, window**2, window**2)
        return basis @ normal @ basis.mT


class Regression:
    """The linear system of a pair of pictures in a basis, and what is known of the noise.

    Attributes:
        pair: The pictures.
        noise: Variance of the noise (B,), as estimated so far.
    """

    def __init__(self, pair: Blurred, mean: Tensor, basis: Tensor) -> None:
        """Prepare the system.

        Args:
            pair: The pictures.
            mean: Mean kernel (w * w,), sum 1.
            basis: (K, w * w), sums 0.
        """
        self.pair, self.mean, self.basis = pair, mean, basis
        self.window = round(len(mean) ** 0.5)
        channels = pair.blurry.shape[1] / pair.weight.shape[1]
        self._counted = channels * (pair.weight > 0).sum((1, 2, 3)).clamp_min(1)
        self._gram = pair.gram(basis) * pair.weight.mean((1, 2, 3)).view(-1, 1, 1)
        self.noise = basis.new_full((len(pair.blurry),), 1e-5)

    def kernel(self, code: Tensor) -> Tensor:
        """The kernel (B, 1, w, w), of any sign, that codes (B, K) stand for in the basis."""
        return (self.mean + code @ self.basis).view(-1, 1, self.window, self.window)

    def rest(self, kernel: Tensor) -> Tensor:
        """What kernels (B, 1, w, w) do not explain, (B, C, H, W); right where the weight is not zero."""
        return self.pair.blurry - self.pair.blur(kernel)

    def misfit(self, rest: Tensor) -> Tensor:
        """Weighted mean square (B,); 1, as bad as can be, where the rest is not finite."""
        return ((self.pair.weight * rest.square()).sum((1, 2, 3)) / self._counted).nan_to_num(1.0, 1.0)

    def improve(self, code: Tensor, rest: Tensor, steps: int) -> Tensor:
        """A code (B, K) that explains the rest of this one as well, by preconditioned conjugate gradients.

        Minimises ``misfit / noise`` times the number of pixels, plus the squared norm of the code, as if the rest
        depended on the code through the basis alone.
        """
        ridge = self.noise.view(-1, 1)
        largest = self._gram.diagonal(dim1=1, dim2=2).mean(1).view(-1, 1, 1)
        identity = torch.eye(len(self.basis), dtype=code.dtype, device=code.device)
        factor = torch.linalg.cholesky(self._gram + (ridge.unsqueeze(2) + 1e-6 * largest) * identity)
        gradient = self._back(rest) - ridge * code
        direction, before = None, gradient
        for _ in range(steps):
            solved = torch.cholesky_solve(gradient.unsqueeze(2), factor).squeeze(2)
            now = (gradient * solved).sum(1, keepdim=True)
            direction = solved if direction is None else solved + now / before.clamp_min(1e-30) * direction
            before = now
            applied = self._back(self.pair.blur(self.kernel(direction) - self.kernel(torch.zeros_like(direction))))
            applied = applied + ridge * direction
            curvature = (direction * applied).sum(1, keepdim=True)
            # rounding can leave none of it on smooth pictures, and then there is nothing to gain in this direction
            length = torch.where(curvature > 0, now / curvature.clamp_min(1e-30), 0.0)
            code = code + length * direction
            gradient = gradient - length * applied
        return code

    def _back(self, picture: Tensor) -> Tensor:
        return self.pair.correlate(self.pair.weight * picture, self.window).flatten(1) @ self.basis.mT


@torch.no_grad()
def regress(system: Regression, *, rounds: int = 2, steps: int = 6) -> Tensor:
    """The most probable codes (B, K) under a standard normal prior, the noise's level being estimated as well.

    Args:
        system: Pictures and basis; its noise level is updated.
        rounds: How often the noise's level is estimated anew.
        steps: Conjugate gradient steps a round.
    """
    code = system.basis.new_zeros(len(system.noise), len(system.basis))
    for _ in range(rounds):
        code = system.improve(code, system.rest(system.kernel(code)), steps)
        system.noise = system.misfit(system.rest(system.kernel(code))).clamp_min(NOISE_FLOOR)
    return code


@torch.no_grad()
def polish(
    system: Regression, code: Tensor, decode: Callable[[Tensor], Tensor], *, rounds: int = 3, steps: int = 4
) -> Tensor:
    """Improve codes (B, K) of a decoder that is only about linear, by Gauss-Newton steps with the basis as Jacobian.

    Args:
        system: Pictures and basis; its noise level is updated.
        code: Where to start.
        decode: From codes to kernels (B, 1, w, w).
        rounds: Gauss-Newton steps.
        steps: Conjugate gradient steps in each.

    Returns:
        The best codes on the way, picture by picture.
    """
    rest = system.rest(decode(code))
    best, least = code, system.misfit(rest)
    for _ in range(rounds):
        system.noise = torch.minimum(system.noise, least.clamp_min(NOISE_FLOOR))
        code = system.improve(code, rest, steps)
        rest = system.rest(decode(code))
        misfit = system.misfit(rest)
        better = misfit < least
        best = torch.where(better.view(-1, 1), code, best)
        least = torch.where(better, misfit, least)
    return best
