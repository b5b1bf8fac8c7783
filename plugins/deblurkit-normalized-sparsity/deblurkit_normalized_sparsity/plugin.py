"""What this distribution offers. deblurkit imports it at every start, so it never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deblurkit.hookspecs import hookimpl
from deblurkit.params import Params, param
from deblurkit.specs import ImagePriorSpec


@dataclass(frozen=True, kw_only=True)
class NormalizedSparsityParams(Params):
    """Parameters of `normalized-sparsity`."""

    weight: float = param(2e-3, "Cost of l1 over l2 of the gradients while the kernel still moves.", above=0.0)
    relax: float = param(20.0, "That cost falls by this factor over the rounds at one scale.", min=1.0)
    outer: int = param(3, "Times that the l2 norm is frozen and the l1 problem solved, when restoring.", min=1)
    inner: int = param(20, "Rounds of the splitting that solves it.", min=1)
    strength: float = param(1.0, "Factor on the cost that follows from the noise level, for a known kernel.", above=0.0)
    energy_weight: float = param(1e-2, "Weight of the energy, for gradient optimizers.", min=0.0)


NORMALIZED_SPARSITY = ImagePriorSpec(
    name="normalized-sparsity",
    summary="l1 over l2 of the gradients, which is least for sharp pictures and does not favour dark or blurry ones.",
    params=NormalizedSparsityParams,
    target="deblurkit_normalized_sparsity.prior:NormalizedSparsity",
    offers={"parameters", "energy", "restore", "fit"},
    reference="Krishnan, Tay, Fergus 2011",
    last=-1,
)


@hookimpl
def deblurkit_image_priors() -> Iterator[ImagePriorSpec]:
    """Yield the one image prior of this distribution."""
    yield NORMALIZED_SPARSITY
