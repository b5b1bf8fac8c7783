"""Writers of the layouts that others gave their StyleGAN2, from one of ours; the names are spelled out here anew."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deblurkit.nets.seeding import seeded
from deblurkit.nets.stylegan.stylegan2 import StyleGAN2

FIR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
SMALL = {"channels": (6, 5, 4, 3), "style": 8, "inputs": 7, "depth": 3}
"""Of a generator of 32 x 32 pixels; every number is another one, so that no transposed matrix passes."""


def random_generator(seed: int = 0, **config: Any) -> StyleGAN2:
    """A generator in which every tensor is random and none is small: strengths, biases and the average style too."""
    with seeded(torch.Generator().manual_seed(seed)):
        generator = StyleGAN2(**(config or SMALL))
        with torch.no_grad():
            for name, parameter in generator.named_parameters():
                scale = 30.0 if name.startswith("mapping.") else 0.5
                parameter.add_(scale * torch.randn(parameter.shape))
            generator.mean_style.copy_(torch.randn(generator.style))
    return generator.eval().requires_grad_(False)


def sides(generator: StyleGAN2) -> list[int]:
    """Pixels a side, from coarse to fine: 4, 8, ..."""
    return [2**level for level in range(2, 1 + int(math.log2(generator.resolution)))]


def rosinality(generator: StyleGAN2, fir: bool = True, noises: bool = True) -> dict[str, Tensor]:
    """What ``g_ema`` holds in rosinality's files."""
    own, out = generator.state_dict(), {}

    def conv(theirs: str, ours: str) -> None:
        out[f"{theirs}.conv.weight"] = own[f"{ours}.weight"][None]
        out[f"{theirs}.conv.modulation.weight"] = own[f"{ours}.affine.weight"]
        out[f"{theirs}.conv.modulation.bias"] = own[f"{ours}.affine.bias"]

    def styled(theirs: str, ours: str) -> None:
        conv(theirs, ours)
        out[f"{theirs}.noise.weight"] = own[f"{ours}.noise_strength"].reshape(1)
        out[f"{theirs}.activate.bias"] = own[f"{ours}.bias"]

    def to_rgb(theirs: str, ours: str) -> None:
        conv(theirs, ours)
        out[f"{theirs}.bias"] = own[f"{ours}.bias"].reshape(1, 3, 1, 1)

    for layer in range(generator.depth):
        out[f"style.{layer + 1}.weight"] = own[f"mapping.{layer}.weight"]
        out[f"style.{layer + 1}.bias"] = own[f"mapping.{layer}.bias"]
    out["input.input"] = own["constant"]
    styled("conv1", "layers.0")
    to_rgb("to_rgb1", "to_rgb.0")
    for step in range(len(sides(generator)) - 1):
        styled(f"convs.{2 * step}", f"layers.{2 * step + 1}")
        styled(f"convs.{2 * step + 1}", f"layers.{2 * step + 2}")
        to_rgb(f"to_rgbs.{step}", f"to_rgb.{step + 1}")
        if fir:
            out[f"convs.{2 * step}.conv.blur.kernel"] = 4 * FIR
            out[f"to_rgbs.{step}.upsample.kernel"] = 4 * FIR
    for index in range(len(generator.noise_sizes) if noises else 0):
        out[f"noises.noise_{index}"] = own[f"noise_{index}"]
    return out


def psp(generator: StyleGAN2) -> dict[str, Any]:
    """A whole file of pSp, e4e or ReStyle, with a stub of its encoder."""
    state = {f"decoder.{name}": tensor for name, tensor in rosinality(generator).items()}
    state |= {
        "encoder.input_layer.0.weight": torch.ones(4, 3, 3, 3),
        "encoder.input_layer.1.num_batches": torch.ones(1),
    }
    rows = generator.mean_style.repeat(generator.latents, 1)
    return {"state_dict": state, "latent_avg": rows, "opts": {"output_size": generator.resolution}}


def basicsr(generator: StyleGAN2) -> dict[str, Tensor]:
    """What ``params_ema`` holds in BasicSR's files; its filters are no buffers."""
    own, out = generator.state_dict(), {}

    def conv(theirs: str, ours: str) -> None:
        out[f"{theirs}.modulated_conv.weight"] = own[f"{ours}.weight"][None]
        out[f"{theirs}.modulated_conv.modulation.weight"] = own[f"{ours}.affine.weight"]
        out[f"{theirs}.modulated_conv.modulation.bias"] = own[f"{ours}.affine.bias"]

    def styled(theirs: str, ours: str) -> None:
        conv(theirs, ours)
        out[f"{theirs}.weight"] = own[f"{ours}.noise_strength"].reshape(1)
        out[f"{theirs}.activate.bias"] = own[f"{ours}.bias"]

    def to_rgb(theirs: str, ours: str) -> None:
        conv(theirs, ours)
        out[f"{theirs}.bias"] = own[f"{ours}.bias"].reshape(1, 3, 1, 1)

    for layer in range(generator.depth):
        out[f"style_mlp.{layer + 1}.weight"] = own[f"mapping.{layer}.weight"]
        out[f"style_mlp.{layer + 1}.bias"] = own[f"mapping.{layer}.bias"]
    out["constant_input.weight"] = own["constant"]
    styled("style_conv1", "layers.0")
    to_rgb("to_rgb1", "to_rgb.0")
    for step in range(len(sides(generator)) - 1):
        styled(f"style_convs.{2 * step}", f"layers.{2 * step + 1}")
        styled(f"style_convs.{2 * step + 1}", f"layers.{2 * step + 2}")
        to_rgb(f"to_rgbs.{step}", f"to_rgb.{step + 1}")
    for index in range(len(generator.noise_sizes)):
        out[f"noises.noise{index}"] = own[f"noise_{index}"]
    return out


def ada(generator: StyleGAN2) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and arguments of a generator of StyleGAN2-ADA's PyTorch program."""
    own, out = generator.state_dict(), {}

    def conv(theirs: str, ours: str) -> None:
        out[f"{theirs}.weight"] = own[f"{ours}.weight"]
        out[f"{theirs}.bias"] = own[f"{ours}.bias"]
        out[f"{theirs}.affine.weight"] = own[f"{ours}.affine.weight"]
        out[f"{theirs}.affine.bias"] = own[f"{ours}.affine.bias"]

    def layer(theirs: str, index: int) -> None:
        conv(theirs, f"layers.{index}")
        out[f"{theirs}.noise_const"] = own[f"noise_{index}"][0, 0]
        out[f"{theirs}.noise_strength"] = own[f"layers.{index}.noise_strength"].reshape(())
        out[f"{theirs}.resample_filter"] = FIR.clone()

    out["synthesis.b4.const"] = own["constant"][0]
    index = 0
    for level, side in enumerate(sides(generator)):
        block = f"synthesis.b{side}"
        out[f"{block}.resample_filter"] = FIR.clone()
        for name in ("conv1",) if level == 0 else ("conv0", "conv1"):
            layer(f"{block}.{name}", index)
            index += 1
        conv(f"{block}.torgb", f"to_rgb.{level}")
    for step in range(generator.depth):
        out[f"mapping.fc{step}.weight"] = own[f"mapping.{step}.weight"]
        out[f"mapping.fc{step}.bias"] = own[f"mapping.{step}.bias"]
    out["mapping.w_avg"] = own["mean_style"]
    arguments = {
        "z_dim": generator.inputs,
        "c_dim": 0,
        "w_dim": generator.style,
        "img_resolution": generator.resolution,
        "img_channels": 3,
        "mapping_kwargs": {"num_layers": generator.depth},
        "synthesis_kwargs": {"channel_max": 512, "num_fp16_res": 4, "conv_clamp": generator.clamp or None},
    }
    return out, arguments


def tensorflow(generator: StyleGAN2) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Variables and arguments of ``Gs`` in a TensorFlow pickle."""
    own = {name: tensor.numpy() for name, tensor in generator.state_dict().items()}
    out: dict[str, np.ndarray] = {"lod": np.float32(0), "dlatent_avg": own["mean_style"]}

    def conv(theirs: str, ours: str, turned: bool = False) -> None:
        kernel = own[f"{ours}.weight"].transpose(2, 3, 1, 0)
        out[f"{theirs}/weight"] = (kernel[::-1, ::-1] if turned else kernel).copy()
        out[f"{theirs}/mod_weight"] = own[f"{ours}.affine.weight"].T.copy()
        out[f"{theirs}/mod_bias"] = own[f"{ours}.affine.bias"] - 1
        out[f"{theirs}/bias"] = own[f"{ours}.bias"]

    def layer(theirs: str, index: int) -> None:
        conv(theirs, f"layers.{index}", turned=theirs.endswith("_up"))
        out[f"{theirs}/noise_strength"] = np.float32(
            own[f"layers.{index}.noise_strength"].item()
        )  # as a session gives it

    out["synthesis/4x4/Const/const"] = own["constant"]
    index = 0
    for level, side in enumerate(sides(generator)):
        block = f"synthesis/{side}x{side}"
        for name in ("Conv",) if level == 0 else ("Conv0_up", "Conv1"):
            layer(f"{block}/{name}", index)
            out[f"synthesis/noise{index}"] = own[f"noise_{index}"]
            index += 1
        conv(f"{block}/ToRGB", f"to_rgb.{level}")
    for step in range(generator.depth):
        out[f"mapping/Dense{step}/weight"] = own[f"mapping.{step}.weight"].T.copy()
        out[f"mapping/Dense{step}/bias"] = own[f"mapping.{step}.bias"]
    arguments = {"num_channels": 3, "resolution": generator.resolution, "label_size": 0, "fmap_base": 8192}
    return out, arguments
