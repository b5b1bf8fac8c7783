"""What this room offers to the registry. Imported at every start, so it never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deblurkit.hookspecs import hookimpl
from deblurkit.params import Params, param
from deblurkit.specs import KernelPriorSpec


@dataclass(frozen=True, kw_only=True)
class KnownParams(Params):
    """Parameters of `known`."""

    file: Path = param(Path(), "Kernel to use: .npy, .png, .tif or .mat.")
    flip: bool = param(False, "Rotate by 180 degrees: the file was written by a tool that correlates.")


@dataclass(frozen=True, kw_only=True)
class FCNParams(Params):
    """Parameters of `fcn`; the defaults are those of SelfDeblur's published code."""

    hidden_layers: int = param(1, "Hidden layers; 0 and 2 are the paper's ablation.", min=0, max=2)
    hidden_units: int = param(1000, "Units of every hidden layer.", min=1)
    inputs: int = param(200, "Length of the fixed input noise.", min=1)
    input_scale: float = param(0.1, "The input noise is uniform on [0, this].", above=0.0)
    fit_steps: int = param(300, "Adam steps of a warm start from a given kernel.", min=0)
    fit_lr: float = param(1e-3, "Learning rate of that warm start.", above=0.0)


@dataclass(frozen=True, kw_only=True)
class KernelDIPParams(Params):
    """Parameters of `dip`."""

    channels: int = param(64, "Features of every convolution of the hourglass.", min=1)
    skip_channels: int = param(16, "Features of every skip branch.", min=1)
    scales: int = param(4, "Number of halvings.", min=1, max=6)
    input_channels: int = param(8, "Channels of the fixed input noise.", min=1)
    input_scale: float = param(0.1, "The input noise is uniform on [0, this].", above=0.0)
    fit_steps: int = param(300, "Adam steps of a warm start from a given kernel.", min=0)
    fit_lr: float = param(1e-3, "Learning rate of that warm start.", above=0.0)


@dataclass(frozen=True, kw_only=True)
class ConvolutionParams(Params):
    """Parameters of `convolution`."""

    ridge: float = param(1e-4, "Weight of the kernel's energy in the closed form, relative to the image's.", min=0.0)
    smooth: float = param(2000.0, "Weight of the kernel's squared differences, times the noise variance.", min=0.0)
    steps: int = param(50, "Projected gradient steps of the closed form.", min=1)
    strong: float = param(0.10, "A connected part of the kernel reaches this share of its maximum.", min=0.0, max=1.0)
    weak: float = param(0.03, "Values below this share of the maximum are cut.", min=0.0, max=1.0)
    # a power of two, by which nothing is rounded: closed forms set the kernel exactly
    pace: float = param(64.0, "The logits move so many times as fast as the learning rate says.", above=0.0)
    component: float = param(0.05, "A connected part of the kernel holds this share of its mass.", min=0.0, max=1.0)


@dataclass(frozen=True, kw_only=True)
class EncodedParams(ConvolutionParams):
    """Parameters of `encoded`; the inherited ones are those of its closed form."""

    space: Path = param(Path(), "File of the kernel space; empty for the one that comes with deblurkit.")
    code: Literal["free", "network"] = param("free", "The code is free, or what an untrained network makes of noise.")
    tiles: int = param(1, "Codes a side; more than 1 for a blur that differs from place to place.", min=1, max=16)
    response: bool = param(False, "Let the code bend the tone curve too, as a camera does; no closed forms then.")
    project: bool = param(False, "Closed form: bring every estimate into the space; without it that is a second try.")
    tolerance: float = param(0.02, "It is brought into the space if the misfit of gradients grows by less.", min=0.0)
    penalty: float = param(0.0, "Weight of the code's Euclidean norm.", min=0.0)
    pace: float = param(50.0, "The free code moves so many times as fast as the learning rate says.", above=0.0)
    input_scale: float = param(0.1, "Network: its input noise is uniform on [0, this].", above=0.0)
    perturbation: float = param(1e-3, "Network: standard deviation of fresh noise on its input.", min=0.0)
    fit_steps: int = param(100, "Network: Adam steps of a warm start from a given code.", min=0)
    fit_lr: float = param(5e-4, "Network: learning rate of that warm start.", above=0.0)


@dataclass(frozen=True, kw_only=True)
class BicubicParams(Params):
    """Parameters of `bicubic`."""

    factor: int = param(4, "Factor of the down-sampling whose low-pass it is; 1 is no blur.", min=1, max=64)


@hookimpl
def deblurkit_kernel_priors() -> Iterator[KernelPriorSpec]:
    """Yield the kernel priors that come with deblurkit."""
    yield KernelPriorSpec(
        name="fcn",
        summary="Softmax over the output of a small fully connected network.",
        params=FCNParams,
        target="deblurkit.kernel_priors.fcn:FCN",
        offers={"parameters", "kernel", "fit"},
        reference="Ren et al. 2020",
    )
    yield KernelPriorSpec(
        name="dip",
        summary="An hourglass makes the kernel from fixed noise (Double-DIP).",
        params=KernelDIPParams,
        target="deblurkit.kernel_priors.dip:KernelDIP",
        offers={"parameters", "kernel", "fit"},
        reference="Gandelsman et al. 2019; Ren et al. 2020, table 2",
    )
    yield KernelPriorSpec(
        name="known",
        summary="A kernel that the user gives; nothing is estimated.",
        params=KnownParams,
        target="deblurkit.kernel_priors.known:Known",
        offers={"kernel"},
    )
    yield KernelPriorSpec(
        name="convolution",
        summary="An explicit kernel, >= 0 with sum 1, estimated in closed form or by gradients.",
        params=ConvolutionParams,
        target="deblurkit.kernel_priors.convolution:Convolution",
        offers={"parameters", "estimate", "kernel", "fit"},
        reference="Cho and Lee 2009",
    )
    yield KernelPriorSpec(
        name="encoded",
        summary="A learned space of blurs: the kernel is a code that a trained network decodes.",
        params=EncodedParams,
        target="deblurkit.kernel_priors.encoded:Encoded",
        offers={"parameters", "energy", "estimate", "kernel", "fit"},
        offers_for="deblurkit.kernel_priors.space_offers:offers",
        reference="Tran et al. 2021",
    )
    yield KernelPriorSpec(
        name="bicubic",
        summary="The low-pass of bicubic down-sampling; nothing is estimated.",
        params=BicubicParams,
        target="deblurkit.kernel_priors.bicubic:Bicubic",
        reference="Menon et al. 2020",
    )
