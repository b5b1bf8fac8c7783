"""StyleGAN2 as NVIDIA's PyTorch programs name and pickle it: StyleGAN2-ADA, and StyleGAN3, which trains both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from deblurkit.checkpoints.found import Checkpoint
from deblurkit.checkpoints.generators import Names, Refusal, build_stylegan2
from deblurkit.nets.stylegan.generator import Generator
from deblurkit.nets.stylegan.stylegan2 import MAPPING_RATE, SMALLEST
from deblurkit.ops.upfirdn import BINOMIAL

LATER_CLAMP = 256.0
"""The clamp of StyleGAN3's program where it was told none; StyleGAN2-ADA's then has none."""
TAPS = [round(tap) for tap in BINOMIAL]
"""The only filter that is built, as the programs write it."""


def _block(level: int) -> str:
    return f"synthesis.b{SMALLEST * 2**level}"


def _conv(index: int) -> str:
    """The first convolution of every resolution but 4 doubles the size."""
    return f"{_block((index + 1) // 2)}.conv{1 - index % 2}"


NVIDIA = Names(
    mapping=lambda index: f"mapping.fc{index}",
    layer=_conv,
    rgb=lambda level: f"{_block(level)}.torgb",
    noise=lambda index: f"{_conv(index)}.noise_const",
    constant=f"{_block(0)}.const",
    parts={name: name for name in ("weight", "bias", "noise_strength", "affine.weight", "affine.bias")},
    rgb_parts={name: name for name in ("weight", "bias", "affine.weight", "affine.bias")},
    mean="mapping.w_avg",
)


def convert_nvidia(found: Checkpoint) -> tuple[Generator, list[str]]:
    """The generator of StyleGAN2-ADA's PyTorch program, or StyleGAN2 of StyleGAN3's, pickled or as bare weights."""
    settings = found.settings
    mapping, synthesis = (_table(settings, f"{name}_kwargs") for name in ("mapping", "synthesis"))
    synthesis = synthesis if "synthesis_kwargs" in settings else settings
    check_structure(
        found.weights,
        separator=".",
        classes=setting(settings, "c_dim", 0) or ("mapping.embed.weight" in found.weights),
        architecture=setting(synthesis, "architecture", "skip"),
    )
    check_settings(
        channels=setting(settings, "img_channels", 3),
        noise=setting(synthesis, "use_noise", True),
        taps=setting(synthesis, "resample_filter", TAPS),
        activations=[setting(table, "activation", "lrelu") for table in (mapping, synthesis)],
    )
    clamp = amount("conv_clamp", _clamp(settings, synthesis) or 0.0)
    rate = amount("lr_multiplier", setting(mapping, "lr_multiplier", MAPPING_RATE))
    network, notes = build_stylegan2(found, NVIDIA, clamp=clamp, rate=rate)
    return network, notes if settings else [
        *notes,
        "the file does not say whether features are clamped, as NVIDIA's PyTorch programs often do: they are not",
    ]


def _clamp(settings: Mapping[str, Any], synthesis: Mapping[str, Any]) -> Any:
    """What every layer says of itself; else what the network was told; else what its program does if told nothing."""
    layer = f"{_conv(0)}.conv_clamp"
    if layer in settings:
        return settings[layer]
    # StyleGAN2-ADA's program keeps the arguments of the synthesis network apart, StyleGAN3's does not
    default = LATER_CLAMP if settings and "synthesis_kwargs" not in settings else None
    return setting(synthesis, "conv_clamp", default)


def check_structure(weights: Mapping[str, Any], *, separator: str, classes: Any, architecture: Any) -> None:
    """Refuse the relatives of StyleGAN2's generator that are told by their weights or settings.

    Args:
        weights: By name.
        separator: In names.
        classes: Anything true if the network takes a class.
        architecture: ``skip``, or another one.
    """
    if classes:
        raise Refusal(
            "holds a conditional StyleGAN2, which draws pictures of a given class; only unconditional ones can be used"
        )
    names = [name.lower().replace(separator, "/") for name in weights]
    if architecture == "skip" and any("/skip/" in name for name in names):
        architecture = "resnet"
    rgbs, sizes = (sum(name.endswith(end) for name in names) for end in ("/torgb/weight", "/conv1/weight"))
    if architecture == "skip" and (any("/torgb_lod" in name for name in names) or (rgbs == 1 and sizes > 2)):
        architecture = "orig"
    if architecture != "skip":
        raise Refusal(
            f"holds a StyleGAN2 of the architecture {str(architecture)[:20]!r}, which lacks the RGB output at every "
            "resolution; only the architecture 'skip' can be used"
        )


def check_settings(*, channels: Any, noise: Any, taps: Any, activations: list[Any]) -> None:
    """Refuse what weights alone would not give away.

    Args:
        channels: Of the pictures.
        noise: Whether the network takes noise maps.
        taps: Of the low-pass filter.
        activations: By name.
    """
    if channels != 3:
        raise Refusal(f"holds a generator of pictures with {channels} channels, where only those with 3 can be used")
    if not noise:
        raise Refusal("holds a StyleGAN2 that was trained without noise maps, which is not built here")
    if taps != TAPS:
        raise Refusal(f"holds a StyleGAN2 with the low-pass filter {taps} instead of {TAPS}, not built here")
    if any(activation != "lrelu" for activation in activations):
        raise Refusal(f"holds a StyleGAN2 with the activations {activations} instead of lrelu, not built here")


def setting(settings: Mapping[str, Any], key: str, default: Any) -> Any:
    """A setting, or the program's own value; what is a tuple in one file is a list in another."""
    value = settings.get(key, default)
    return list(value) if isinstance(value, tuple) else value


def amount(key: str, value: Any) -> float:
    """A setting that must be a number, 0 or above.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
        return float(value)
    raise ValueError(f"its setting {key} is {str(value)[:40]} and no number")


def _table(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = settings.get(key)
    return value if isinstance(value, Mapping) else {}
