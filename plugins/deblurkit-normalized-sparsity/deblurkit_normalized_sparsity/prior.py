"""The l1 norm of the gradients over their l2 norm, as an image prior.

Krishnan, Tay and Fergus, Blind deconvolution using a normalized sparsity measure, CVPR 2011. Blur makes gradients
smaller, and lowers their l1 norm; so a penalty on that norm alone prefers the blurry picture. It lowers the l2 norm
even more: their ratio is least for sharp pictures, and does not change with contrast.

Here the l1 norm is a mean of absolute gradients and the l2 norm their root mean square, so that nothing depends on the
number of pixels. With the mask m of pixels that can be believed, the latent image minimises::

    1/2 ||m (k * x - y)||^2 + cost ||grad x||_1 / rms(grad x)

As in the paper's algorithm 1 the denominator is frozen, the l1 problem that is left is solved, and the denominator is
taken anew. The paper takes the gradients themselves for unknowns, gradients of no picture in general, and solves by
iterative shrinkage. Here they are those of a picture, as deblurkit hands pictures from part to part, and the solver is
ADMM with an unknown border.

Three channels are taken as colour, and the l1 norm as that of the gradients of brightness, (r + g + b) / sqrt(3), and
of two orthonormal colour differences, these counted twice. The same picture in three channels has three times the
misfit and sqrt(3) times the l1 norm, so the cost is multiplied by sqrt(3): a grey picture is restored alike in one
channel and in three.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from deblurkit.core import Observation, PixelImagePrior
from deblurkit.core.image_prior import ROUGH
from deblurkit.ops.deconvolve import WHITE, Splitting, noise_weight
from deblurkit.ops.kernel_fit import inner_gradients
from deblurkit.ops.shrink import soft_shrink
from torch import Tensor

from deblurkit_normalized_sparsity.plugin import NormalizedSparsityParams

SMOOTHING = 1e-3
"""Gradients well below this size count as none in the energy, and a picture that has no others as flat."""
USUAL_RMS = 0.06
"""Root mean square of a sharp photograph's gradients; a picture that has it gets just the weight by noise."""
RESTART_FACTORS = (1.0, 2.0, 0.5, 5.0)
"""Costs of the attempts, relative to the first."""


class NormalizedSparsity(PixelImagePrior[NormalizedSparsityParams]):
    """Gradients whose l1 norm is small beside their l2 norm."""

    def energy(self, x: Tensor) -> Tensor:
        """``energy_weight`` times the mean absolute gradient of ``x`` (B, C, H, W) over the root mean square, (B,).

        The ratio lies in (0, 1] and is 1 where all gradients are equally large, or all are far below ``SMOOTHING``.
        """
        squares = inner_gradients(x).square() + SMOOTHING**2
        return self.params.energy_weight * squares.sqrt().mean((1, 2, 3)) / squares.mean((1, 2, 3)).sqrt()

    @torch.no_grad()
    def restore(self, observation: Observation, kernel: Tensor, *, progress: float = 1.0) -> Tensor:
        """The sharp image (B, C, H + h - 1, W + w - 1) for a fixed kernel (B, 1, h, w).

        While the kernel moves (``progress`` below 1) the cost is that of the parameters, much above what noise asks
        for, so that edges alone are left to find a kernel by. For a known kernel it follows from the noise level.
        """
        p = self.params
        if progress < 1.0:
            cost = torch.full_like(observation.noise, p.weight * p.relax ** -min(1.0, progress / ROUGH))
            return solved(observation, kernel, observation.mask, cost, p.outer, p.inner)
        cost = p.strength * USUAL_RMS * noise_weight(observation.noise)
        # a saturated pixel says that it is at least that bright
        return solved(observation, kernel, observation.mask + observation.saturated, cost, p.outer, p.inner)

    @classmethod
    def restarted(cls, params: NormalizedSparsityParams, attempt: int) -> NormalizedSparsityParams:
        """Another cost."""
        return replace(params, weight=params.weight * RESTART_FACTORS[attempt % len(RESTART_FACTORS)])


def solved(observation: Observation, kernel: Tensor, mask: Tensor, cost: Tensor, outer: int, inner: int) -> Tensor:
    """The minimiser, as far as it is found; see the module.

    Args:
        observation: The blurry picture, y (B, C, H, W).
        kernel: (B, 1, h, w), odd sides, non-negative, sum 1, true convolution.
        mask: (B, 1, H, W), 1 where a pixel can be believed, or is saturated and a lower bound.
        cost: (B,), above 0.
        outer: Times that the root mean square is frozen.
        inner: Rounds of ADMM in between; it goes on where it was.

    Returns:
        (B, C, H + h - 1, W + w - 1), not clipped.
    """
    start = observation.start
    # brightness, as the splitting has it, is then that of one channel: the factor on the cost, and the same thresholds
    unit = 3**0.5 if start.shape[1] == 3 else 1.0
    weight = cost / spread(start)
    problem = Splitting(start / unit, kernel, mask=mask, weight=weight, second_order=0.0, white=WHITE / unit)
    for index in range(outer):
        if index:
            problem.reweigh(cost / spread(unit * problem.picture()))
        for _ in range(inner):
            problem.step(soft_shrink, isotropic=False)
    return unit * problem.picture()


def spread(x: Tensor) -> Tensor:
    """Root mean square (B,) of the gradients of (B, C, H, W), at least ``SMOOTHING``."""
    return inner_gradients(x).square().mean((1, 2, 3)).sqrt().clamp_min(SMOOTHING)
