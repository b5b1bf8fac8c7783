"""What stands in a file of weights: tables of tensors, wherever its author put them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deblurkit.checkpoints.pickles import PersistentModule, TFNetwork

AVERAGES = ("g_ema", "G_ema", "params_ema")
"""Keys of the weights that were averaged over the training; they go before those of the last step."""
LAST_STEP = ("g", "G", "params")


@dataclass(frozen=True)
class Checkpoint:
    """What was found in a file.

    Attributes:
        weights: Tensors by their author's name.
        mean: The average style, where it is kept beside the weights.
        settings: The arguments that constructed the network, where the file tells.
        version: Of NVIDIA's TensorFlow format; 0 for every other.
        part: Under which key the weights were.
    """

    weights: Mapping[str, Any]
    mean: Any = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0
    part: str = ""


def candidates(document: Any) -> Iterator[Checkpoint]:
    """The document itself and the tables in it, averaged weights first."""
    if isinstance(document, PersistentModule):
        yield Checkpoint(document.tensors, settings=document.settings)
    elif isinstance(document, TFNetwork):
        yield Checkpoint(document.tensors, settings=document.settings, version=document.version)
    elif isinstance(document, tuple) and document and all(isinstance(member, TFNetwork) for member in document):
        yield from candidates(document[-1])  # generator, discriminator, averaged generator
    elif isinstance(document, Mapping):
        yield Checkpoint(_plain(document), document.get("latent_avg"))
        for key in sorted(document, key=_turn):
            value = document[key]
            if isinstance(value, Mapping):
                yield Checkpoint(_plain(value), document.get("latent_avg"), part=str(key))
            elif isinstance(value, PersistentModule | TFNetwork):
                yield from (
                    Checkpoint(inner.weights, settings=inner.settings, version=inner.version, part=str(key))
                    for inner in candidates(value)
                )


def _turn(key: Any) -> int:
    return 0 if key in AVERAGES else 2 if key in LAST_STEP else 1


def _plain(table: Mapping[Any, Any]) -> dict[str, Any]:
    """Without the prefix that training on several devices adds."""
    weights = {str(name): value for name, value in table.items()}
    if weights and all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return weights


def check_numbers(weights: Mapping[str, Any], size: int) -> None:
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
