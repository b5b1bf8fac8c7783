"""StyleGAN2 as NVIDIA's TensorFlow programs pickle it (StyleGAN2 and StyleGAN2-ADA), turned around for PyTorch."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor

from deblurkit.checkpoints.found import Checkpoint
from deblurkit.checkpoints.generators import Names, Refusal, build_stylegan2
from deblurkit.checkpoints.nvidia import TAPS, amount, check_settings, check_structure, setting
from deblurkit.nets.stylegan.generator import Generator
from deblurkit.nets.stylegan.stylegan2 import MAPPING_RATE, SMALLEST

FIRST_VERSION = 4
"""Of the pickles that hold a StyleGAN2; earlier ones hold a StyleGAN1 or a progressive GAN."""
PARTS = {"weight": "weight", "bias": "bias", "affine.weight": "mod_weight", "affine.bias": "mod_bias"}


def _block(level: int) -> str:
    side = SMALLEST * 2**level
    return f"synthesis/{side}x{side}"


def _conv(index: int) -> str:
    name = "Conv" if index == 0 else ("Conv0_up" if index % 2 else "Conv1")
    return f"{_block((index + 1) // 2)}/{name}"


TENSORFLOW = Names(
    mapping=lambda index: f"mapping/Dense{index}",
    layer=_conv,
    rgb=lambda level: f"{_block(level)}/ToRGB",
    noise=lambda index: f"synthesis/noise{index}",
    constant=f"{_block(0)}/Const/const",
    parts={**PARTS, "noise_strength": "noise_strength"},
    rgb_parts=PARTS,
    mean="dlatent_avg",
    separator="/",
    ignored=(r"(.*/)?lod",),
)
TURNS: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    # a transposed convolution of PyTorch turns the kernel around, TensorFlow's program did so itself
    (r".*/Conv0_up/weight", lambda weight: weight.permute(3, 2, 0, 1).flip(2, 3)),
    (r".*/(Conv|Conv1|ToRGB)/weight", lambda weight: weight.permute(3, 2, 0, 1)),
    (r".*/mod_weight|mapping/Dense\d+/weight", lambda weight: weight.t()),
    (r".*/mod_bias", lambda bias: bias + 1),
)
"""How variables become what PyTorch's layers take: kernels (h, w, in, out), matrices (in, out), styles less 1."""


def convert_tensorflow(found: Checkpoint) -> tuple[Generator, list[str]]:
    """The averaged generator of a TensorFlow pickle."""
    if 0 < found.version < FIRST_VERSION:
        raise Refusal(
            "holds a StyleGAN1 (or older) network in NVIDIA's TensorFlow format, which cannot be used; the same "
            "weights as the pair of PyTorch files that PULSE takes can be"
        )
    settings = found.settings
    check_structure(
        found.weights,
        separator="/",
        classes=setting(settings, "label_size", 0) or any("/Label" in name for name in found.weights),
        architecture=setting(settings, "architecture", "skip"),
    )
    check_settings(
        channels=setting(settings, "num_channels", 3),
        noise=setting(settings, "use_noise", True),
        taps=setting(settings, "resample_kernel", TAPS),
        activations=[setting(settings, key, "lrelu") for key in ("nonlinearity", "mapping_nonlinearity")],
    )
    if not setting(settings, "normalize_latents", True):
        raise Refusal("holds a StyleGAN2 that does not normalise its input, which is not built here")
    clamp = amount("conv_clamp", setting(settings, "conv_clamp", None) or 0.0)
    rate = amount("mapping_lrmul", setting(settings, "mapping_lrmul", MAPPING_RATE))
    turned = Checkpoint({name: _turned(name, value) for name, value in found.weights.items()}, mean=found.mean)
    return build_stylegan2(turned, TENSORFLOW, clamp=clamp, rate=rate)


def _turned(name: str, value: Tensor) -> Tensor:
    for pattern, turn in TURNS:
        if re.fullmatch(pattern, name):
            try:
                return turn(value)
            except RuntimeError as error:
                raise ValueError(f"{name} has the shape {tuple(value.shape)}") from error
    return value
