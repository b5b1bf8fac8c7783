"""What the training of a kernel space minimises (Tran et al., CVPR 2021, equation 3; the spread is their code's)."""

from __future__ import annotations

import math

from torch import Tensor

from deblurkit.kernel_space.settings import TrainParams
from deblurkit.kernel_space.validation import interior
from deblurkit.nets.kernel_space.space import KernelSpace

EPSILON = 1e-6
"""Squared distance below which the Charbonnier loss is quadratic."""
VARIANCE_FLOOR = 1e-8


def picture_loss(
    space: KernelSpace, sharp: Tensor, blurry: Tensor, noise: Tensor | None, params: TrainParams
) -> Tensor:
    """Charbonnier loss of F(sharp, G(sharp, blurry)) against the blurry picture, where F is valid.

    With d the error of one value, it is the sum of sqrt(d^2 + 1e-6) over the values of a picture, averaged over the
    batch; ``reduction`` "mean" divides by the number of values. A space with a spread s about its mean m adds
    ``kl_weight`` times the sum of m^2 + s^2 - log(s^2 + 1e-8) - 1 over the values of a code,
    divided by the same number.

    Args:
        space: The space.
        sharp: (B, C, H, W).
        blurry: (B, C, H, W).
        noise: Standard normal numbers in the code's shape; needed by a space with a spread.
        params: Reduction and weight.
    """
    mean, spread = space.distribution(sharp, blurry)
    code = mean
    if spread is not None:
        assert noise is not None, "a space with a spread draws its codes"
        code = mean + spread * noise
    difference = space.blur(sharp, code).float() - interior(blurry, space.margin)
    loss = (difference.square() + EPSILON).sqrt().sum() / len(sharp)
    if spread is not None and params.kl_weight:
        mean, variance = mean.float(), spread.float().square()
        divergence = mean.square() + variance - (VARIANCE_FLOOR + variance).log() - 1
        loss = loss + params.kl_weight * divergence.sum() / len(sharp)
    return loss / difference[0].numel() if params.reduction == "mean" else loss


def cosine_rate(step: int, total: int, *, high: float, low: float, periods: tuple[int, ...] = ()) -> float:
    """Learning rate of a step, from 0: half a cosine from high to low in every period.

    Args:
        step: The step.
        total: Length of the only period, where none is given.
        high: Rate at the beginning of a period.
        low: Rate at its end.
        periods: Their lengths in steps; the last is repeated.
    """
    lengths = list(periods) or [max(1, total)]
    while step >= lengths[0]:
        step -= lengths[0]
        lengths = lengths[1:] or lengths
    return low + (high - low) * (1 + math.cos(math.pi * step / lengths[0])) / 2
