"""Proximal maps of gradient penalties, as factors on the gradient.

A *shrink* maps a magnitude ``m >= 0`` and an amount ``a > 0`` (broadcastable) to the factor ``r`` in [0, 1] for which
``r m`` minimises ``a phi(w) + (w - m)^2 / 2`` over ``w``. Multiplying a gradient, or a group of gradients with
magnitude ``m``, by ``r`` is the proximal step of splitting methods.
"""

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Shrink = Callable[[Tensor, Tensor], Tensor]

_DEGREE = 4
_TINY = 1e-15


def soft_shrink(magnitude: Tensor, amount: Tensor) -> Tensor:
    """Factor of the penalty ``|w|`` (total variation): ``max(0, 1 - a / m)``.

    Args:
        magnitude: Non-negative.
        amount: Positive, broadcastable.

    Returns:
        Factor in [0, 1].
    """
    return (1.0 - amount / magnitude.clamp_min(torch.finfo(magnitude.dtype).tiny)).clamp_min(0.0)


def power_shrink(exponent: float) -> Shrink:
    """Shrink of the hyper-Laplacian penalty ``|w|^exponent`` (Krishnan and Fergus 2009), for exponents in (0, 1].

    With ``t = exponent a m^(exponent - 2)`` the stationary point solves ``r + t r^(exponent - 1) = 1``, which depends
    on ``t`` alone. Its two roots meet like a square root at the largest ``t`` that has any, so in the root of the
    distance from there ``r`` is almost a parabola: a quartic, fitted once per exponent. Where ``w = 0`` costs less the
    factor is 0.

    Args:
        exponent: In (0, 1]; 1 is :func:`soft_shrink`.

    Returns:
        The shrink; its factor is exact to 1e-5 for exponents up to 0.9, to 1e-4 up to 1.

    Raises:
        ValueError: The exponent is out of range.
    """
    if not 0.0 < exponent <= 1.0:
        raise ValueError(f"exponent: must lie in (0, 1], got {exponent}")
    return soft_shrink if exponent == 1.0 else partial(_power, exponent)


@lru_cache(maxsize=32)
def _root(exponent: float) -> tuple[float, float, tuple[float, ...]]:
    """Least nonzero factor, ``t`` beyond which there is no root, coefficients with the highest first."""
    least, meeting = 2.0 * (1.0 - exponent) / (2.0 - exponent), (1.0 - exponent) / (2.0 - exponent)
    fold = (1.0 - meeting) * meeting ** (1.0 - exponent)
    roots = least + (1.0 - least) * (0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, 2000)))
    distance = np.sqrt(fold - (1.0 - roots) * roots ** (1.0 - exponent))
    fitted = np.polynomial.Chebyshev.fit(distance, roots, _DEGREE).convert(kind=np.polynomial.Polynomial)
    return least, fold, tuple(float(one) for one in fitted.coef[::-1])


def _power(exponent: float, magnitude: Tensor, amount: Tensor) -> Tensor:
    # Written for the memory: pow, where and masked_fill take ten times as long as any other operation here.
    least, fold, coefficients = _root(exponent)
    nearest = fold - (1.0 - 0.9 * least) * (0.9 * least) ** (1.0 - exponent)
    logarithm = magnitude.clamp_min(_TINY).log_().mul_(exponent - 2.0) + (exponent * amount).log()
    distance = logarithm.exp_().neg_().add_(fold).clamp_min_(nearest).sqrt_()
    factor = distance * coefficients[0]
    for coefficient in coefficients[1:-1]:
        factor.add_(coefficient).mul_(distance)
    return F.threshold(factor.add_(coefficients[-1]), least, 0.0, inplace=True)
