"""What this room offers to the registry. Imported at every start, so it never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, kw_only=True)
class PerceptualParams(Params):
    """Parameters of `perceptual`; the defaults are those of Tran et al.'s published code."""

    weights: Path = param(Path(), "State dict of torchvision's VGG19, .pth or .safetensors; empty for the stand-in.")
    levels: tuple[float, ...] = param((0.2, 0.4, 0.8, 1.0, 3.0), "Weight of each of the five levels.", min=0.0)
    switch: int = param(2500, "First step without SSIM.", min=0)
    perceptual_weight: float = param(0.6, "Factor on the features' distance before that step.", min=0.0)
    ssim_weight: float = param(1.0, "Factor on 1 - SSIM before that step.", min=0.0)
    late_weight: float = param(1.0, "Factor on the features' distance from that step on.", min=0.0)

    def check_together(self) -> None:
        """There are five levels."""
        if len(self.levels) != 5:
            raise ValueError(f"levels: five weights are needed, from fine to coarse, not {len(self.levels)}")


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
    yield DataTermSpec(
        name="perceptual",
        summary="Distance of VGG19 features (of a pyramid, where no weights are given), at first with 1 - SSIM.",
        params=PerceptualParams,
        target="deblurkit.data_terms.perceptual:Perceptual",
        reference="Tran et al. 2021, published code",
    )
