"""What this distribution offers. deblurkit imports it at every start, so it never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from deblurkit.hookspecs import hookimpl
from deblurkit.params import Params, param
from deblurkit.specs import ImagePriorSpec


@dataclass(frozen=True, kw_only=True)
class DarkChannelParams(Params):
    """Parameters of `dark-channel`."""

    dark: float = param(2e-3, "Cost of a darkest pixel of some patch that is not black.", min=0.0)
    edges: float = param(3e-3, "Cost of a gradient that is not zero.", above=0.0)
    relax: float = param(7.5, "Both costs fall by this factor over the rounds at one scale.", min=1.0)
    patch: int | Literal["auto"] = param(
        "auto",
        "Side of a patch in pixels, at every scale; auto: a seventh of the smaller side, 35 at most.",
        min=1,
        odd=True,
    )
    rounds: int = param(3, "Conjugate gradients for every image of the splitting.", min=1)
    energy_weight: float = param(1e-2, "Weight of the energy, for gradient optimizers.", min=0.0)


DARK_CHANNEL = ImagePriorSpec(
    name="dark-channel",
    summary="Few patches without a black pixel, and few gradients; drives a blind estimation, makes cartoons.",
    params=DarkChannelParams,
    target="deblurkit_dark_channel.prior:DarkChannel",
    offers={"parameters", "energy", "restore", "fit"},
    reference="Pan, Sun, Pfister, Yang 2016",
    last=-1,
)


@hookimpl
def deblurkit_image_priors() -> Iterator[ImagePriorSpec]:
    """Yield the one image prior of this distribution."""
    yield DARK_CHANNEL
