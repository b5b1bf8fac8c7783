"""What every layout of a StyleGAN2 generator shares: names, structure from shapes, and the checks.

Rosinality's and BasicSR's names stand here, NVIDIA's in ``nvidia`` and ``tensorflow``. All keep the same numbers for
the same network, except that TensorFlow's have to be turned around first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deblurkit.checkpoints.found import Checkpoint
from deblurkit.nets.stylegan.generator import AVERAGED, Generator
from deblurkit.nets.stylegan.stylegan2 import MAPPING_RATE, StyleGAN2
from deblurkit.nets.weights import differences
from deblurkit.ops.upfirdn import filter_taps

MOST_LEVELS = 10
"""Of resolution: 4, 8, ..., 2048 pixels."""
MOST_LAYERS = 64
"""Of a mapping network."""
FIR = re.compile(r"(.*\.)?(kernel|resample_filter)|.*\bblur.*")
"""The low-pass filter, which is fixed, and kept in files all the same."""


class Refusal(ValueError):
    """The weights are whole, but of a network that is not built here; the text goes on after the file's name."""


@dataclass(frozen=True)
class Names:
    """How somebody calls the tensors of a StyleGAN2.

    Attributes:
        mapping: Of layer i of the mapping network.
        layer: Of convolution i, from coarse to fine.
        rgb: Of the conversion to RGB at level i.
        noise: Of noise map i.
        constant: Of what every picture begins with.
        parts: What is appended for the parts of a convolution, by ours.
        rgb_parts: Likewise for a conversion to RGB.
        mean: Of the average style, where it is among the weights.
        separator: Between a part's name and what it belongs to.
        ignored: Names that mean nothing here.
    """

    mapping: Callable[[int], str]
    layer: Callable[[int], str]
    rgb: Callable[[int], str]
    noise: Callable[[int], str]
    constant: str
    parts: Mapping[str, str]
    rgb_parts: Mapping[str, str]
    mean: str = "latent_avg"
    separator: str = "."
    ignored: tuple[str, ...] = ()

    def theirs(self, ours: str) -> str:
        """Their name of the tensor that is called ``ours`` in :class:`StyleGAN2`."""
        if ours == "constant":
            return self.constant
        if ours.startswith("noise_"):
            return self.noise(int(ours.removeprefix("noise_")))
        kind, index, part = ours.split(".", 2)
        if kind == "mapping":
            return self.mapping(int(index)) + self.separator + part
        block, parts = (self.layer, self.parts) if kind == "layers" else (self.rgb, self.rgb_parts)
        return block(int(index)) + self.separator + parts[part]


def _first(start: str, later: str) -> Callable[[int], str]:
    """Names of a list whose first member stands apart."""
    return lambda index: later.format(index - 1) if index else start


ROSINALITY = Names(
    mapping=lambda index: f"style.{index + 1}",
    layer=_first("conv1", "convs.{}"),
    rgb=_first("to_rgb1", "to_rgbs.{}"),
    noise=lambda index: f"noises.noise_{index}",
    constant="input.input",
    parts={
        "weight": "conv.weight",
        "bias": "activate.bias",
        "noise_strength": "noise.weight",
        "affine.weight": "conv.modulation.weight",
        "affine.bias": "conv.modulation.bias",
    },
    rgb_parts={
        "weight": "conv.weight",
        "bias": "bias",
        "affine.weight": "conv.modulation.weight",
        "affine.bias": "conv.modulation.bias",
    },
)
BASICSR = Names(
    mapping=lambda index: f"style_mlp.{index + 1}",
    layer=_first("style_conv1", "style_convs.{}"),
    rgb=_first("to_rgb1", "to_rgbs.{}"),
    noise=lambda index: f"noises.noise{index}",
    constant="constant_input.weight",
    parts={
        "weight": "modulated_conv.weight",
        "bias": "activate.bias",
        "noise_strength": "weight",
        "affine.weight": "modulated_conv.modulation.weight",
        "affine.bias": "modulated_conv.modulation.bias",
    },
    rgb_parts={
        "weight": "modulated_conv.weight",
        "bias": "bias",
        "affine.weight": "modulated_conv.modulation.weight",
        "affine.bias": "modulated_conv.modulation.bias",
    },
)


def convert_rosinality(found: Checkpoint) -> tuple[Generator, list[str]]:
    """Rosinality's StyleGAN2, trained there or converted from TensorFlow, and what pSp and its kin decode with."""
    return build_stylegan2(found, ROSINALITY)


def convert_basicsr(found: Checkpoint) -> tuple[Generator, list[str]]:
    """BasicSR's StyleGAN2."""
    network, notes = build_stylegan2(found, BASICSR)
    return network, [
        *notes,
        "BasicSR's variant with bilinear resampling bears the same names and would give wrong pictures",
    ]


def build_stylegan2(
    found: Checkpoint, names: Names, *, clamp: float = 0.0, rate: float = MAPPING_RATE
) -> tuple[Generator, list[str]]:
    """The generator of a checkpoint whose tensors are oriented as PyTorch's are.

    Args:
        found: Weights in any floating type; sides of length 1 may be more or fewer than ours.
        names: How they are called.
        clamp: Largest absolute value of any feature; 0 for none.
        rate: By which the mapping network learnt slower.

    Returns:
        The generator on the CPU, in float32, frozen; and remarks on what the file did not hold.

    Raises:
        ValueError: With a few words, if a tensor is missing, unknown, or of another shape.
    """
    given = dict(found.weights)
    mean = given.pop(names.mean, found.mean)
    for name in [name for name in given if FIR.fullmatch(name)]:
        _check_filter(name, given.pop(name))
    for pattern in names.ignored:
        given = {name: tensor for name, tensor in given.items() if not re.fullmatch(pattern, name)}
    with torch.device("meta"):  # nothing is drawn that would be overwritten
        network = StyleGAN2(**structure(given, names), clamp=clamp)
    state = {ours: tensor for ours, tensor in network.state_dict().items() if ours != "mean_style"}
    ready, notes = _noises(network, names, given)
    called = {ours: names.theirs(ours) for ours in state if ours not in ready}
    expected = {theirs: state[ours] for ours, theirs in called.items()}
    given = {name: _oriented(tensor, expected[name]) if name in expected else tensor for name, tensor in given.items()}
    if misfit := differences(expected, given):
        raise ValueError(misfit)
    ready |= {ours: given[theirs].detach().float().contiguous() for ours, theirs in called.items()}
    for ours in ready:
        if ours.startswith("mapping.") and rate != MAPPING_RATE:
            ready[ours] = ready[ours] * (rate / MAPPING_RATE)
    network.load_state_dict({**ready, "mean_style": torch.zeros(network.style)}, assign=True)
    network.eval().requires_grad_(False)
    average, note = _mean_style(network, mean)
    network.mean_style.copy_(average)
    return network, notes + note


def structure(given: Mapping[str, Tensor], names: Names) -> dict[str, Any]:
    """The arguments of :class:`StyleGAN2` from the shapes of its tensors.

    Raises:
        ValueError: If a tensor that decides is missing or has too few sides.
    """
    blocks = {name[:place] for name in given for place, sign in enumerate(name) if sign == names.separator}
    levels = 1 + max(
        (level for level in range(MOST_LEVELS) if {names.rgb(level), names.layer(2 * level)} & blocks), default=0
    )
    depth = 1 + max((layer for layer in range(MOST_LAYERS) if names.mapping(layer) in blocks), default=0)
    widths = [_side(given, names.constant, -3)]
    widths += [_side(given, names.theirs(f"layers.{2 * level - 1}.weight"), -4) for level in range(1, levels)]
    colours = _side(given, names.theirs("to_rgb.0.weight"), -4)
    if colours != 3:
        raise Refusal(f"holds a generator of pictures with {colours} channels, where only those with 3 can be used")
    return {
        "channels": widths,
        "style": _side(given, names.theirs(f"mapping.{depth - 1}.weight"), -2),
        "inputs": _side(given, names.theirs("mapping.0.weight"), -1),
        "depth": depth,
    }


def _side(given: Mapping[str, Tensor], name: str, place: int) -> int:
    if name not in given:
        raise ValueError(f"missing: {name}")
    if given[name].ndim < -place or not given[name].numel():
        raise ValueError(f"{name} has the shape {tuple(given[name].shape)}")
    return given[name].shape[place]


def _oriented(tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor in the shape of another one, where only sides of length 1 differ."""
    same = [side for side in like.shape if side != 1] == [side for side in tensor.shape if side != 1]
    return tensor.reshape(like.shape) if same else tensor


def _check_filter(name: str, kernel: Tensor) -> None:
    taps = filter_taps()
    kernel = kernel.detach().float()
    if kernel.shape != (4, 4) or not torch.allclose(kernel / kernel.sum(), torch.outer(taps, taps), atol=1e-3):
        raise Refusal(f"holds a StyleGAN2 with another low-pass filter than the published one ({name}), not built here")


def _noises(network: StyleGAN2, names: Names, given: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Noise maps in the place of those that the file lacks, by our names."""
    source = torch.Generator().manual_seed(0)
    drawn = {
        f"noise_{index}": torch.randn(1, 1, side, side, generator=source)
        for index, side in enumerate(network.noise_sizes)
    }
    lacking = {ours: noise for ours, noise in drawn.items() if names.theirs(ours) not in given}
    count = "no noise maps" if len(lacking) == len(drawn) else f"not all noise maps ({len(lacking)} are missing)"
    return lacking, [f"the file holds {count}: they were drawn from seed 0"] if lacking else []


def _mean_style(network: StyleGAN2, mean: Any) -> tuple[Tensor, list[str]]:
    """The average style (D,) of the file, or of random z where it has none."""
    if mean is None:
        note = f"the file holds no average style: it was taken from {AVERAGED} random ones"
        return network.measure_mean(torch.Generator().manual_seed(0)), [note]
    plain = isinstance(mean, Tensor) and mean.layout == torch.strided and mean.is_floating_point()
    if not plain or mean.shape[-1:] != (network.style,) or not 0 < mean.numel() <= MOST_LAYERS * network.style:
        raise ValueError(f"its average style is no vector of {network.style} numbers")
    rows = mean.detach().float().reshape(-1, network.style)
    if not rows.isfinite().all():
        raise ValueError("its average style holds numbers that are not finite")
    equal = torch.allclose(rows, rows[:1].expand_as(rows), atol=1e-5)
    return rows.mean(0), [] if equal else [
        "the file's average style differs from layer to layer: its mean over the layers was taken"
    ]
