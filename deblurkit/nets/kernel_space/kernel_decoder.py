"""From a code to a blur kernel, and back: few linear measurements, and what a kernel with these must look like."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblurkit.nets.kernel_space.kernel_basis import principal_kernels, visible_error
from deblurkit.ops.spectral_ratio import simplex_threshold

SOFTNESS = 1e-3
"""Smoothing of the last clip at zero, in units of the uniform kernel: so much is left of what is clipped."""


class Refinement(nn.Module):
    """A small net on the kernel as a picture, indifferent to its scale; does nothing at first."""

    def __init__(self, hidden: int) -> None:
        """Args: hidden: Channels."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, hidden, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(hidden, hidden, 3, padding=2, dilation=2),
            nn.LeakyReLU(0.1),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(hidden, 1, 3, padding=1),
        )
        last = cast(nn.Conv2d, self.layers[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))

    def forward(self, estimate: Tensor) -> Tensor:
        """A better kernel (B, 1, w, w), of any sign and sum."""
        flat = estimate.flatten(1)
        clipped = (flat - simplex_threshold(flat / flat.shape[1]) * flat.shape[1]).clamp_min(0).view_as(estimate)
        scale = clipped.square().mean((-2, -1), keepdim=True).sqrt() + 1e-3
        return clipped + scale * self.layers(torch.cat([estimate, clipped], 1) / scale)


class KernelDecoder(nn.Module):
    """Kernels >= 0 with sum 1 from codes, which are measurements of them.

    ``code = measurement (kernel - mean)`` is linear; that there is a non-negative kernel with these measurements makes
    up for many that were not taken. So the decoder alternates between a net that knows what kernels look like and the
    projection onto those with the code's measurements. Kernels are in units of the uniform one inside.
    """

    def __init__(self, window: int, dimensions: int, hidden: int, stages: int) -> None:
        """Start from a cosine basis.

        Args:
            window: Side of the kernels, odd.
            dimensions: Numbers in a code.
            hidden: Channels of the nets; 0 for none, only clipping.
            stages: How often to alternate.
        """
        super().__init__()
        self.window = window
        self.stages = stages
        mean, basis = _cosines(window, dimensions)
        # fitted by eigenvalues, not by gradients: these would take hours to come as far
        self.register_buffer("mean", mean * window**2)
        self.register_buffer("basis", basis * window**2)
        self.register_buffer("measurement", basis / basis.square().sum(1, keepdim=True) / window**2)
        self.mean: Tensor
        self.basis: Tensor
        self.measurement: Tensor
        self.nets = nn.ModuleList([Refinement(hidden) for _ in range(stages)] if hidden else [])

    @torch.no_grad()
    def fit_basis(self, kernels: Tensor) -> None:
        """Take over the principal components of kernels (N, 1, window, window)."""
        mean, basis, measurement = principal_kernels(kernels, len(self.basis))
        self.mean.copy_(mean * self.window**2)
        self.basis.copy_(basis * self.window**2)
        self.measurement.copy_(measurement / self.window**2)

    def measure(self, kernel: Tensor) -> Tensor:
        """The code (B, K) of kernels (B, 1, window, window)."""
        return self._measure(kernel.flatten(1) * self.window**2)

    def spoil(self, code: Tensor, noise: Tensor) -> Tensor:
        """What is left of codes (B, K) after the best measurement in a picture with noise.

        Args:
            code: The true ones.
            noise: (B, 1), the noise's variance divided by the number of pixels.

        Returns:
            The most probable codes of noisy measurements, (B, K).
        """
        basis = self.linear()[1].view(-1, 1, self.window, self.window)
        spread = noise / visible_error(basis).clamp_min(1e-20)
        return (code + spread.sqrt() * torch.randn_like(code)) / (1 + spread)

    def linear(self) -> tuple[Tensor, Tensor]:
        """Mean kernel (window**2,) and basis (K, window**2): what the decoder would be without its nets."""
        return self.mean / self.window**2, self.basis / self.window**2

    def forward(self, code: Tensor) -> Tensor:
        """The kernels (B, 1, window, window) of codes (B, K)."""
        estimate = self.mean + code @ self.basis
        for stage in range(self.stages):
            clipped = self._better(estimate, stage)
            estimate = clipped + (code - self._measure(clipped)) @ self.basis
        above = estimate - simplex_threshold(estimate / self.window**2) * self.window**2
        root = (above.square() + 4 * SOFTNESS**2).sqrt()
        positive = torch.where(above > 0, 0.5 * (above + root), 2 * SOFTNESS**2 / (root + above.abs()))
        kernel = positive / positive.sum(1, keepdim=True)
        return kernel.view(-1, 1, self.window, self.window)

    def _better(self, estimate: Tensor, stage: int) -> Tensor:
        if self.nets:
            picture = estimate.view(-1, 1, self.window, self.window)
            better = cast(Tensor, self.nets[stage](picture)).flatten(1)
        else:
            better = functional.relu(estimate - simplex_threshold(estimate / self.window**2) * self.window**2)
        return better / better.mean(1, keepdim=True).clamp_min(0.1)

    def _measure(self, flat: Tensor) -> Tensor:
        return (flat - self.mean) @ self.measurement.mT


def _cosines(window: int, dimensions: int) -> tuple[Tensor, Tensor]:
    """A broad mean kernel (w * w,) and the lowest products of cosines (dimensions, w * w) within its envelope."""
    places = torch.arange(window, dtype=torch.float32) - window // 2
    bell = torch.exp(-0.5 * (places / (window / 6)).square())
    mean = (bell[:, None] * bell).flatten()
    steps = (torch.arange(window, dtype=torch.float32) + 0.5) * torch.pi / window
    orders = torch.arange(window)
    waves = torch.cos(orders[:, None] * steps)
    powers = (orders[:, None].square() + orders.square()).flatten()
    chosen = powers.argsort(stable=True)[1 : dimensions + 1]
    basis = (waves[chosen // window].unsqueeze(2) * waves[chosen % window].unsqueeze(1)).flatten(1)
    basis = basis / basis.norm(dim=1, keepdim=True)
    return mean / mean.sum(), 0.2 * basis / (1 + powers[chosen, None].float().sqrt())
