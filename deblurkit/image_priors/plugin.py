"""What this room offers to the registry. Imported at every start, so it never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deblurkit.hookspecs import hookimpl
from deblurkit.params import Params, param
from deblurkit.specs import ImagePriorSpec


@dataclass(frozen=True, kw_only=True)
class IdentityParams(Params):
    """`identity` has nothing to choose."""


@dataclass(frozen=True, kw_only=True)
class DIPParams(Params):
    """Parameters of `dip`; the defaults are those of SelfDeblur's published code."""

    channels: int = param(128, "Features of every convolution of the hourglass.", min=1)
    skip_channels: int = param(16, "Features of every skip branch.", min=1)
    scales: int = param(5, "Number of halvings.", min=1, max=8)
    non_local: bool = param(True, "Put a non-local block into every scale from the third on.")
    input_channels: int = param(8, "Channels of the fixed input noise.", min=1)
    input_scale: float = param(0.1, "The input noise is uniform on [0, this].", above=0.0)
    perturbation: float = param(1e-3, "Standard deviation of fresh noise added to the input at every step.", min=0.0)
    regulariser: Literal["none", "total-variation", "quadratic-variation", "hyper-laplacian"] = param(
        "none", "Energy of the network's image."
    )
    regulariser_weight: float = param(0.0, "Weight of that energy.", min=0.0)
    exponent: float = param(0.66, "Exponent of the hyper-Laplacian energy.", above=0.0, max=2.0)
    fit_steps: int = param(300, "Adam steps of a warm start from a given image.", min=0)
    fit_lr: float = param(5e-4, "Learning rate of that warm start.", above=0.0)


@dataclass(frozen=True, kw_only=True)
class HyperLaplacianParams(Params):
    """Parameters of `hyper-laplacian`."""

    strength: float = param(1.0, "Factor on the weight that follows from the noise level, when restoring.", above=0.0)
    exponent: float = param(0.8, "Exponent of the gradient magnitude, when restoring.", above=0.0, max=1.0)
    second_order: float = param(0.25, "Weight of second differences relative to first ones, when restoring.", min=0.0)
    iterations: int = param(30, "Rounds of the splitting, when restoring.", min=1)
    rough_iterations: int = param(7, "The same while the kernel still moves; every call goes on from the last.", min=1)
    edges: float = param(
        4e-3, "Cost of a gradient that is not zero while the kernel is rough and wants edges.", above=0.0
    )
    relax: float = param(7.5, "That cost falls by this factor over the rounds at one scale.", min=1.0)
    energy_weight: float = param(2e-2, "Weight of the energy, for gradient optimizers.", min=0.0)
    energy_exponent: float = param(0.66, "Exponent of the energy, for gradient optimizers.", above=0.0, max=2.0)


@dataclass(frozen=True, kw_only=True)
class TotalVariationParams(Params):
    """Parameters of `total-variation`."""

    strength: float = param(1.0, "Factor on the weight that follows from the noise level, when restoring.", above=0.0)
    iterations: int = param(30, "Rounds of the splitting, when restoring.", min=1)
    energy_weight: float = param(1e-2, "Weight of the energy, for gradient optimizers.", min=0.0)


@dataclass(frozen=True, kw_only=True)
class L0GradientParams(Params):
    """Parameters of `l0-gradient`."""

    weight: float = param(4e-3, "Cost of a gradient that is not zero.", above=0.0)
    relax: float = param(7.5, "The weight falls by this factor over the rounds at one scale.", min=1.0)


@dataclass(frozen=True, kw_only=True)
class StyleGANParams(Params):
    """Parameters of `stylegan`."""

    weights: Path = param(Path(), "Generator: one of import-weights, or a StyleGAN checkpoint as it is.")
    picture: Literal["strict", "resize", "crop", "pad"] = param(
        "strict", "A picture that is not square and of the generator's size: refuse, or bring it there."
    )
    align: Path = param(Path(), "Faces: landmarks of the picture (.pts, .json, .npy), or dlib's landmark model (.dat).")
    latent: Literal["w+", "w"] = param("w+", "A style for every layer, or one for all.")
    candidates: int = param(32, "Random starts, of which the one nearest to the blurry picture is taken.", min=1)
    pace: float = param(20.0, "Styles and noise move so many times as fast as the learning rate says.", above=0.0)
    sphere: bool = param(True, "Keep styles and noise maps on the spheres on which they were drawn.")
    cross: float = param(1e-3, "Weight of GEOCROSS, which keeps the styles of all layers together.", min=0.0)
    noise: Literal["trainable", "fixed", "zero", "own"] = param(
        "trainable", "Noise maps: the coarse ones are searched for; all as drawn; none; as the checkpoint has them."
    )
    trainable_noises: int = param(5, "Noise maps, from the coarsest, that are searched for; at most all.", min=0)
    zero_noises: tuple[int, ...] = param((), "Numbers of noise maps, from 0, that are zero.", min=0)
    truncation: float = param(1.0, "Share of a style's distance from the mean style that is kept.", min=0.0, max=1.0)
    truncated_layers: int = param(0, "Layers, from the coarsest, that this holds for; 0 for all, at most all.", min=0)
    style_samples: int = param(100_000, "Styles on which their distribution is measured, once.", min=1000)
    fit_steps: int = param(200, "Adam steps of a warm start from a given image.", min=0)
    fit_lr: float = param(1e-2, "Learning rate of that warm start.", above=0.0)
    tune_steps: int = param(0, "Last phase: Adam steps that move the generator's own weights (pivotal tuning).", min=0)
    tune_lr: float = param(3e-4, "Learning rate of that phase.", above=0.0)
    tune_stay: float = param(0.1, "Weight of the squared change of the image in that phase.", min=0.0)


@hookimpl
def deblurkit_image_priors() -> Iterator[ImagePriorSpec]:
    """Yield the image priors that come with deblurkit."""
    yield ImagePriorSpec(
        name="dip",
        summary="Deep image prior: an untrained hourglass makes the image from fixed noise.",
        params=DIPParams,
        target="deblurkit.image_priors.dip:DeepImagePrior",
        offers={"parameters", "energy", "fit"},
        reference="Ulyanov et al. 2018; Ren et al. 2020",
    )
    yield ImagePriorSpec(
        name="identity",
        summary="Free pixels without an opinion, the control of every comparison.",
        params=IdentityParams,
        target="deblurkit.image_priors.identity:Identity",
        offers={"parameters", "fit"},
    )
    yield ImagePriorSpec(
        name="hyper-laplacian",
        summary="Sparse gradients of natural pictures; the non-blind deconvolution to use.",
        params=HyperLaplacianParams,
        target="deblurkit.image_priors.sparse_gradients:HyperLaplacian",
        offers={"parameters", "energy", "restore", "fit"},
        reference="Krishnan and Fergus 2009; Tran et al. 2021, eq. 5",
        last=1,
    )
    yield ImagePriorSpec(
        name="total-variation",
        summary="Piecewise smooth pictures: isotropic total variation.",
        params=TotalVariationParams,
        target="deblurkit.image_priors.sparse_gradients:TotalVariation",
        offers={"parameters", "energy", "restore", "fit"},
        reference="Rudin, Osher, Fatemi 1992",
    )
    yield ImagePriorSpec(
        name="l0-gradient",
        summary="Few edges, whatever their size; drives a blind estimation, makes cartoons.",
        params=L0GradientParams,
        target="deblurkit.image_priors.l0_gradient:L0Gradient",
        offers={"restore", "fit"},
        reference="Xu, Zheng, Jia 2013",
    )
    yield ImagePriorSpec(
        name="stylegan",
        summary="The manifold of a StyleGAN generator, for pictures of its domain; what it shows may be invented.",
        params=StyleGANParams,
        target="deblurkit.image_priors.stylegan:StyleGANManifold",
        offers={"parameters", "energy", "fit"},
        reference="Tran et al. 2021, section 3.3; Menon et al. 2020 (PULSE)",
        synthesises=True,
        whole=True,
    )
