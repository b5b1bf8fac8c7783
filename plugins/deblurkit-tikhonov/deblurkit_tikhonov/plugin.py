"""What this distribution offers. deblurkit imports it at every start, so it never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deblurkit.hookspecs import hookimpl
from deblurkit.params import Params, param
from deblurkit.specs import ImagePriorSpec


@dataclass(frozen=True, kw_only=True)
class TikhonovParams(Params):
    """Parameters of `tikhonov`: each is a TOML key, a flag, and a line of ``deblurkit list tikhonov``."""

    strength: float = param(1.0, "Factor on the weight that follows from the noise level, when restoring.", above=0.0)
    rounds: int = param(20, "Rounds of conjugate gradients, when restoring.", min=1)
    energy_weight: float = param(1e-2, "Weight of the energy, for gradient optimizers.", min=0.0)


TIKHONOV = ImagePriorSpec(
    name="tikhonov",
    summary="Squared gradients: linear and fast, with softer edges than a sparse prior.",
    params=TikhonovParams,
    target="deblurkit_tikhonov.prior:Tikhonov",
    offers={"parameters", "energy", "restore", "fit"},
    reference="Tikhonov 1963; Reeves 2005",
)


@hookimpl
def deblurkit_image_priors() -> Iterator[ImagePriorSpec]:
    """Yield the one image prior of this distribution."""
    yield TIKHONOV
