"""Settings of the cells that judge a kernel space: which blur, and how it is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deblurkit.params import Params, Plain, param, plain


@dataclass(frozen=True, kw_only=True)
class CodeParams(Params):
    """How the blur between two pictures is found."""

    by: Literal["space", "ratio"] = param(
        "space", "The extractor G of the kernel prior's space; or a kernel by the ratio of spectra, nothing learned."
    )
    steps: int = param(0, "Space: Adam steps on the code, after G.", min=0)
    lr: float = param(0.02, "Space: first learning rate of these steps.", above=0.0)
    tiles: int = param(1, "Space: codes a side, for a blur that differs from place to place.", min=1, max=16)
    corrections: int = param(3, "Ratio: how often its residual is fed back; 0 for the plain ratio.", min=0)
    regularisation: float = param(1e-3, "Ratio: added to the power spectrum, as a share of its mean.", above=0.0)
    gamma: float = param(1.0, "Ratio: exponent of the camera's tone curve, which it is told.", above=0.0)

    def used(self) -> dict[str, Plain]:
        """The values that count: those of the other way to find a blur are no part of what is done."""
        others = _RATIO if self.by == "space" else _SPACE
        return {key: value for key, value in plain(self).items() if key not in others}


_SPACE = ("steps", "lr", "tiles")
_RATIO = ("corrections", "regularisation", "gamma")


@dataclass(frozen=True, kw_only=True)
class BlurParams(Params):
    """How pairs are made of sharp pictures."""

    kernels: Path = param(Path(), "Folder of kernel files for true convolution, or one of them.")
    side: int = param(256, "Side of the square from the middle of a picture that is blurred, in pixels.", min=64)
    noise: float = param(0.0, "Standard deviation of the noise in a blurry picture; its truth has none.", min=0.0)
    gamma: float = param(1.0, "Exponent of the camera's tone curve; 1 for none.", above=0.0)
    gain: float = param(1.0, "Exposure; above 1 highlights saturate.", above=0.0)
