"""What this room offers to the registry. Imported at every start, so it never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deblurkit.hookspecs import hookimpl
from deblurkit.params import Params, param
from deblurkit.specs import DataTermSpec


@dataclass(frozen=True, kw_only=True)
class MSEParams(Params):
    """`mse` has nothing to choose."""


@dataclass(frozen=True, kw_only=True)
class CharbonnierParams(Params):
    """Parameters of `charbonnier`."""

    epsilon: float = param(1e-3, "Half width of the quadratic part, in units of [0, 1].", above=0.0)


@dataclass(frozen=True, kw_only=True)
class SSIMParams(Params):
    """`ssim` has nothing to choose: its window is Wang's, 11 pixels wide with sigma 1.5."""


@dataclass(frozen=True, kw_only=True)
class MSEThenSSIMParams(Params):
    """Parameters of `mse-then-ssim`."""

    switch: int = param(1000, "First step that uses 1 - SSIM; the steps before use the mean squared error.", min=0)


@hookimpl
def deblurkit_data_terms() -> Iterator[DataTermSpec]:
    """Yield the data terms that come with deblurkit."""
    yield DataTermSpec(
        name="mse",
        summary="Mean squared error.",
        params=MSEParams,
        target="deblurkit.data_terms.pixelwise:MSE",
    )
    yield DataTermSpec(
        name="charbonnier",
        summary="Mean of sqrt(d^2 + epsilon^2), a smooth absolute error.",
        params=CharbonnierParams,
        target="deblurkit.data_terms.pixelwise:Charbonnier",
        reference="Charbonnier et al. 1994",
    )
    yield DataTermSpec(
        name="ssim",
        summary="1 - SSIM, the structural dissimilarity.",
        params=SSIMParams,
        target="deblurkit.data_terms.structural:SSIM",
        reference="Wang et al. 2004",
    )
    yield DataTermSpec(
        name="mse-then-ssim",
        summary="Mean squared error for the first steps, then 1 - SSIM.",
        params=MSEThenSSIMParams,
        target="deblurkit.data_terms.structural:MSEThenSSIM",
        reference="Ren et al. 2020, published code",
    )
