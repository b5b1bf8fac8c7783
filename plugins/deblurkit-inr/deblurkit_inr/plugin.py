"""What this distribution offers. deblurkit imports it at every start, so it never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from deblurkit.hookspecs import hookimpl
from deblurkit.params import Params, param
from deblurkit.specs import DataTermSpec, ImagePriorSpec, KernelPriorSpec

REFERENCE = "Zhang, Quan, Ji 2024 (Deblur-INR)"


@dataclass(frozen=True, kw_only=True)
class INRImageParams(Params):
    """Parameters of the image prior `inr`; the defaults are those of the published code."""

    frequencies: int = param(16, "Fourier frequencies; each gives cosine and sine of both coordinates.", min=1, max=32)
    growth: float = param(2 ** (8 / 7), "Ratio of neighbouring frequencies; the lowest is 1.", above=1.0)
    channels: int = param(128, "Features of every convolution of the U-Net.", min=1)
    skip_channels: int = param(16, "Features of every skip connection.", min=1)
    scales: int = param(5, "Halvings inside the U-Net.", min=1, max=8)
    fit_steps: int = param(200, "Adam steps towards a given image.", min=1)
    fit_lr: float = param(5e-3, "Learning rate of these steps.", above=0.0)


@dataclass(frozen=True, kw_only=True)
class INRKernelParams(Params):
    """Parameters of the kernel prior `inr`; the defaults are those of the published code, but for ``centring``."""

    hidden_units: int = param(64, "Units of every layer of the SIREN.", min=1)
    hidden_layers: int = param(3, "Its sine layers beside the first.", min=0)
    frequency: float = param(30.0, "Factor inside the sines, SIREN's omega 0.", above=0.0)
    centring: Literal["coordinates", "pixels", "none"] = param(
        "coordinates",
        "How the centre of mass is kept in the centre: by moving the coordinates, or whole pixels as published.",
    )
    fit_steps: int = param(300, "Adam steps towards a given kernel.", min=1)
    fit_lr: float = param(3e-4, "Learning rate of these steps.", above=0.0)


@dataclass(frozen=True, kw_only=True)
class CrossScaleParams(Params):
    """Parameters of `cross-scale-ssim`; the defaults are those of the published code."""

    until: int = param(
        500, "Steps of a scale in which it is compared with the coarser one; then plain 1 - SSIM.", min=0
    )
    weight: float = param(1e-3, "Weight of the consistency of both scales beside 1 - SSIM.", min=0.0)


IMAGE = ImagePriorSpec(
    name="inr",
    summary="A U-Net over Fourier features of the pixel coordinates; finer scales go on with its weights.",
    params=INRImageParams,
    target="deblurkit_inr.image:CoordinateImage",
    offers={"parameters", "fit"},
    reference=REFERENCE,
)
KERNEL = KernelPriorSpec(
    name="inr",
    summary="A SIREN over kernel coordinates with softmax, kept centred; finer scales go on with its weights.",
    params=INRKernelParams,
    target="deblurkit_inr.kernel:CoordinateKernel",
    offers={"parameters", "kernel", "fit"},
    reference=f"{REFERENCE}; Sitzmann et al. 2020",
)
CROSS_SCALE = DataTermSpec(
    name="cross-scale-ssim",
    summary="1 - SSIM, at first on every n-th pixel and with the consistency of a coarser scale (a stride).",
    params=CrossScaleParams,
    target="deblurkit_inr.cross_scale:CrossScaleSSIM",
    reference=REFERENCE,
)


@hookimpl
def deblurkit_image_priors() -> Iterator[ImagePriorSpec]:
    """Yield the image prior."""
    yield IMAGE


@hookimpl
def deblurkit_kernel_priors() -> Iterator[KernelPriorSpec]:
    """Yield the kernel prior."""
    yield KERNEL


@hookimpl
def deblurkit_data_terms() -> Iterator[DataTermSpec]:
    """Yield the data term that compares scales."""
    yield CROSS_SCALE
