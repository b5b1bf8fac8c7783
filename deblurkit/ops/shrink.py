"""Proximal maps of gradient penalties, as factors on the gradient.

A *shrink* maps a magnitude ``m >= 0`` and an amount ``a > 0`` (broadcastable) to the factor ``r`` in [0, 1] for which
``r m`` minimises ``a phi(w) + (w - m)^2 / 2`` over ``w``. Multiplying a gradient, or a group of gradients with
magnitude ``m``, by ``r`` is the proximal step of splitting methods.
"""

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

Shrink = Callable[[Tensor, Tensor], Tensor]

_DEGREE = 8


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
    on ``t`` alone, so the root is a polynomial in ``t``, fitted once per exponent. Beyond the largest ``t`` that beats
    ``w = 0`` the factor is 0.

    Args:
        exponent: In (0, 1]; 1 is :func:`soft_shrink`.

    Returns:
        The shrink; its factor is exact to 1e-4.

    Raises:
        ValueError: The exponent is out of range.
    """
    if not 0.0 < exponent <= 1.0:
        raise ValueError(f"exponent: must lie in (0, 1], got {exponent}")
    return soft_shrink if exponent == 1.0 else partial(_power, exponent)


@lru_cache(maxsize=32)
def _root(exponent: float) -> tuple[float, tuple[float, ...]]:
    """Largest ``t`` with a nonzero solution, and the root's polynomial in ``t``, highest power first."""
    smallest = 2.0 * (1.0 - exponent) / (2.0 - exponent)
    largest = (1.0 - smallest) * smallest ** (1.0 - exponent)
    roots = smallest + (1.0 - smallest) * (0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, 2000)))
    values = (1.0 - roots) * roots ** (1.0 - exponent)
    fitted = np.polynomial.Chebyshev.fit(values, roots, _DEGREE, domain=[0.0, largest])
    coefficients = fitted.convert(kind=np.polynomial.Polynomial).coef
    return largest, tuple(float(one) for one in coefficients[::-1])


def _power(exponent: float, magnitude: Tensor, amount: Tensor) -> Tensor:
    largest, coefficients = _root(exponent)
    t = magnitude.pow(exponent - 2.0).mul_(exponent * amount)
    inside = t <= largest
    t.clamp_(max=largest)
    factor = torch.full_like(t, coefficients[0])
    for coefficient in coefficients[1:]:
        factor.mul_(t).add_(coefficient)
    return factor.mul_(inside)
