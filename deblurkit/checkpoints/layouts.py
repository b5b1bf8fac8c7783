"""Weights that others trained, turned into kernel spaces: a table of the layouts that are known.

Whoever adds a layout adds a line to :data:`LAYOUTS`. Some are known only to be told apart from damaged files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from deblurkit.checkpoints.foreign import read_foreign
from deblurkit.errors import UsageError
from deblurkit.nets.kernel_space.paper import PaperSpace
from deblurkit.nets.kernel_space.space import KernelSpace, Statistics
from deblurkit.nets.kernel_space.unet import HALVINGS
from deblurkit.nets.weights import differences

Weights: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Layout:
    """One way in which somebody names the weights of a network.

    Attributes:
        name: Whose network it is.
        marks: Names of which any one gives the layout away.
        convert: Builds the space, with its weights; raises ``ValueError`` with a few words if they don't fit. ``None``
            where the network is no kernel space.
    """

    name: str
    marks: tuple[str, ...]
    convert: Callable[[Weights], KernelSpace] | None = None


@dataclass(frozen=True)
class Imported:
    """A converted space.

    Attributes:
        space: With its weights, on the CPU.
        layout: Name of the layout that was recognised.
        card: Where the weights come from, for the file's header.
    """

    space: KernelSpace
    layout: str
    card: dict[str, str]


def import_space(path: Path) -> Imported:
    """Read the weights of a kernel space that somebody else's program wrote.

    Args:
        path: The file, of PyTorch or safetensors; nothing in it is run.

    Raises:
        UsageError: If the file cannot be read, is of no known layout, or its weights don't fit.
    """
    document = read_foreign(path)
    layout, weights = _recognise(path, document)
    if layout.convert is None:
        raise UsageError(
            f"{path}: holds {layout.name}: weights of an image prior, not of a kernel space, which cannot be imported "
            "yet"
        )
    try:
        _check(weights, path.stat().st_size)
        space = layout.convert(weights)
    except ValueError as error:
        raise UsageError(f"{path}: is no whole {layout.name} ({error}); get the file anew") from error
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    card = {"source": path.name, "sha256": digest, "layout": layout.name, "licence": "not stated in the source"}
    return Imported(space, layout.name, card)


def _recognise(path: Path, document: Any) -> tuple[Layout, Weights]:
    """Find the weights in what a file holds, and the layout that they have."""
    if not isinstance(document, Mapping):
        raise UsageError(f"{path}: holds a {type(document).__name__} instead of named weights; name another file")
    for layout in LAYOUTS:
        for weights in _candidates(document):
            if any(mark in weights for mark in layout.marks):
                return layout, weights
    names = ", ".join(map(str, list(document)[:3])) or "nothing"
    raise UsageError(
        f"{path}: its weights have no known layout (it holds {names}{', ...' if len(document) > 3 else ''}); "
        "the published kernel spaces are GOPRO_woVAE.pth, REDS_woVAE.pth and GOPRO_wVAE.pth"
    )


def _candidates(document: Mapping[Any, Any]) -> Iterator[Weights]:
    """The document itself and the tables in it, without the prefix that training on several devices adds."""
    for table in (document, *(value for value in document.values() if isinstance(value, Mapping))):
        weights = {str(name): value for name, value in table.items()}
        if weights and all(name.startswith("module.") for name in weights):
            weights = {name.removeprefix("module."): value for name, value in weights.items()}
        yield weights


def _check(weights: Weights, size: int) -> None:
    """Refuse what is no table of finite numbers.

    Raises:
        ValueError: With the name of the first offender.
    """
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ValueError(f"{name} is no plain tensor")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} is of {str(tensor.dtype).removeprefix('torch.')} and not of real numbers")
    if sum(tensor.numel() * tensor.element_size() for tensor in weights.values()) > size:
        raise ValueError("its tensors have more numbers than the file")
    for name, tensor in weights.items():
        if not tensor.float().isfinite().all():
            raise ValueError(f"{name} holds numbers that are not finite")


def _paper_space(weights: Weights) -> KernelSpace:
    """Build the published kernel space, of any width, from weights that bear its authors' names."""
    with torch.device("meta"):  # nothing is drawn that would be overwritten
        space = PaperSpace(**_paper_config(weights))
    misfit = differences(space.state_dict(), weights)
    if misfit:
        raise ValueError(misfit)
    space.load_state_dict({name: tensor.detach().float() for name, tensor in weights.items()}, assign=True)
    if space.vae:  # its training drew the codes towards a standard normal, from which its authors draw blurs
        space.statistics = Statistics(torch.zeros(space.code), torch.eye(space.code))
    return space.eval().requires_grad_(False)


def _paper_config(weights: Weights) -> dict[str, Any]:
    features, channels = _widths(weights, "feature_extractor.0.weight")
    joined, _ = _widths(weights, f"adapter.model{'.submodule' * (HALVINGS - 1)}.up.1.weight")
    extracted, _ = _widths(weights, f"kernel_extractor.model.{1 + 3 * HALVINGS}.weight")
    code = joined - 8 * features
    return {
        "channels": channels,
        "features": features,
        "code": code,
        "residual_front": _count(weights, r"feature_extractor\.\d+\.conv1\.weight"),
        "residual_back": _count(weights, r"recon_trunk\.\d+\.conv1\.weight"),
        "extractor_blocks": _count(weights, r"kernel_extractor\.model\.\d+\.conv_block\.1\.weight"),
        "vae": extracted == 2 * code,
    }


def _widths(weights: Weights, name: str) -> tuple[int, int]:
    """The first two sides of the weights of a convolution."""
    if name not in weights:
        raise ValueError(f"missing: {name}")
    if weights[name].ndim != 4:
        raise ValueError(f"{name} is no convolution")
    return weights[name].shape[0], weights[name].shape[1]


def _count(weights: Weights, pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in weights)


LAYOUTS = (
    Layout(
        "kernel space of Tran et al. (CVPR 2021)",
        (
            "feature_extractor.0.weight",
            "kernel_extractor.model.1.weight",
            "adapter.model.down.0.weight",
            "recon_trunk.0.conv1.weight",
        ),
        _paper_space,
    ),
    Layout("a StyleGAN2 network (rosinality)", ("input.input", "to_rgb1.bias")),
    Layout("a StyleGAN2 encoder (pSp, e4e)", ("decoder.input.input", "decoder.to_rgb1.bias")),
    Layout("a StyleGAN2 network (BasicSR)", ("style_mlp.1.weight", "constant_input.weight")),
    Layout("a StyleGAN3 network (NVIDIA)", ("synthesis.input.freqs",)),
    Layout("a StyleGAN2 network (NVIDIA)", ("mapping.fc0.weight", "synthesis.b4.const")),
    Layout("a StyleGAN1 network (lernapparat, PULSE)", ("dense0.weight", "blocks.4x4.const")),
    Layout("a StyleGAN1 network (rosinality)", ("style.1.weight",)),
)
"""Every layout that is told apart; the first one that fits counts."""
