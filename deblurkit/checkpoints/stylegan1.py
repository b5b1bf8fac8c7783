"""StyleGAN1 as the pair of files that PULSE and Tran et al. use: the names of Bialecki and Viehmann's port."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from deblurkit.nets.stylegan.generator import AVERAGED, Generator
from deblurkit.nets.stylegan.stylegan1 import BLUR, SMALLEST, StyleGAN1
from deblurkit.nets.weights import differences
from deblurkit.ops.upfirdn import filter_taps

FIR = ".intermediate.kernel"


def convert_stylegan1(synthesis: Mapping[str, Tensor], mapping: Mapping[str, Tensor]) -> tuple[Generator, list[str]]:
    """Build the generator that the pair describes, of any resolution and width.

    Both may be one table that holds the two networks under ``g_synthesis.`` and ``g_mapping.``, as the port's own
    file does.

    Args:
        synthesis: ``blocks.4x4.const``, ``blocks.8x8.conv0_up.weight``, ..., ``torgb.bias``.
        mapping: ``dense0.weight``, ``dense0.bias``, ...

    Returns:
        The generator, in float32, frozen, on the CPU; and remarks on what the pair does not hold.

    Raises:
        ValueError: With a few words, if a tensor is missing, unknown, or of another shape.
    """
    drawn, mapped = _synthesis(_part(synthesis, "g_synthesis.")), _part(mapping, "g_mapping.")
    with torch.device("meta"):  # nothing is drawn that would be overwritten
        generator = StyleGAN1(**_config(drawn, mapped))
    state = generator.state_dict()
    names = theirs(generator)
    expected = {name: state[own] for own, name in names.items()}
    if misfit := differences(expected, {**drawn, **mapped}):
        raise ValueError(misfit)
    source = torch.Generator().manual_seed(0)
    ready = {own: {**drawn, **mapped}[name].detach().float() for own, name in names.items()}
    for index, side in enumerate(generator.noise_sizes):
        ready[f"noise_{index}"] = torch.randn(1, 1, side, side, generator=source)
    ready["mean_style"] = torch.zeros(generator.style)
    generator.load_state_dict(ready, assign=True)
    generator.eval().requires_grad_(False)
    generator.mean_style.copy_(generator.measure_mean(source))
    return generator, [
        f"the files hold no average style: it was taken from {AVERAGED} random ones",
        "the files hold no noise maps: they were drawn from seed 0",
    ]


def theirs(generator: StyleGAN1) -> dict[str, str]:
    """The port's name of every parameter, by ours."""
    names = {"constant": "blocks.4x4.const", "to_rgb.weight": "torgb.weight", "rgb_bias": "torgb.bias"}
    for layer in range(generator.depth):
        for kind in ("weight", "bias"):
            names[f"mapping.{layer}.{kind}"] = f"dense{layer}.{kind}"
    for index, side in enumerate(generator.noise_sizes):
        block, epilogue = f"blocks.{side}x{side}.", f"epilogues.{index}."
        second = index % 2 == 1
        conv = ("conv." if second else "") if index < 2 else ("conv1." if second else "conv0_up.")
        if index:
            names[f"convolutions.{index - 1}.weight"] = f"{block}{conv}weight"
        names[f"{epilogue}bias"] = f"{block}{conv}bias"
        foreign = f"{block}epi{2 if second else 1}."
        names[f"{epilogue}noise_strength"] = f"{foreign}noise.weight"
        for kind in ("weight", "bias"):
            names[f"{epilogue}affine.{kind}"] = f"{foreign}style_mod.lin.{kind}"
    return names


def _part(table: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, or all of them where none has it."""
    part = {name.removeprefix(prefix): tensor for name, tensor in table.items() if name.startswith(prefix)}
    return part or dict(table)


def _synthesis(table: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the blur's taps, which must be the known ones; noise weights under PULSE's name, not under the port's."""
    taps = filter_taps(BLUR)
    for name in (name for name in table if name.endswith(FIR)):
        kernel = table[name].detach().float()
        if kernel.shape != (1, 1, 3, 3) or not torch.allclose(kernel[0, 0], torch.outer(taps, taps), atol=1e-3):
            raise ValueError(f"{name} is another blur than that of StyleGAN1")
    return {
        name.replace(".top_epi.noise.", ".noise."): tensor for name, tensor in table.items() if not name.endswith(FIR)
    }


def _config(synthesis: Mapping[str, Tensor], mapping: Mapping[str, Tensor]) -> dict[str, Any]:
    """The structure, from shapes."""
    sides = {int(found[1]) for name in synthesis if (found := re.match(r"blocks\.(\d+)x\1\.", name))}
    depth = sum(re.fullmatch(r"dense\d+\.weight", name) is not None for name in mapping)
    widths = [_shape(synthesis, "blocks.4x4.const", 4)[1]]
    for level in range(1, len(sides)):
        side = SMALLEST * 2**level
        widths.append(_shape(synthesis, f"blocks.{side}x{side}.conv1.weight", 4)[0])
    style = _shape(synthesis, "blocks.4x4.epi1.style_mod.lin.weight", 2)[1]
    return {"channels": widths, "style": style, "inputs": _shape(mapping, "dense0.weight", 2)[1], "depth": depth}


def _shape(table: Mapping[str, Tensor], name: str, dimensions: int) -> torch.Size:
    if name not in table:
        raise ValueError(f"1 missing: {name}")
    if table[name].ndim != dimensions:
        raise ValueError(f"{name} has {table[name].ndim} dimensions instead of {dimensions}")
    return table[name].shape
