"""Weights of networks in files: safetensors with a header that says how to build the network."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from deblurkit.errors import UsageError
from deblurkit.files import atomic_write
from deblurkit.nets.header import Header, Kind


def save_weights(
    path: Path, kind: Kind, header: Header, tensors: Mapping[str, Tensor], *, half: bool, overwrite: bool
) -> None:
    """Write a file of weights, whole or not at all.

    Args:
        path: The ``.safetensors`` file.
        kind: What it is.
        header: How to build the network.
        tensors: By name.
        half: Store 16 bits a number instead of 32.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UsageError: If the file exists and may not be replaced.
        RunError: If the system refuses to write it.
    """
    dtype = torch.float16 if half else torch.float32
    plain = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
    content = safetensors.torch.save(plain, header.metadata(kind))
    atomic_write(path, lambda file: file.write(content), overwrite)


def read_weights(path: Path, kind: Kind) -> tuple[Header, dict[str, Tensor]]:
    """Header and tensors (CPU, float32) of a file that :func:`save_weights` wrote.

    Raises:
        UsageError: If the file is missing, damaged, or of another kind.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = Header.of(file.metadata() or {}, path, kind)
            return header, {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  no mapping
    except (OSError, safetensors.SafetensorError) as error:
        cause = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
        raise UsageError(f"{path}: cannot be read as a {kind.noun} ({cause}); name a {kind.noun}'s file") from error


def build(presets: Mapping[str, str], preset: str, config: Mapping[str, Any], noun: str) -> Any:
    """A network of one of the presets (name: ``"module:Class"``), its weights drawn from torch's global generator.

    Raises:
        UsageError: If there is no such preset.
        TypeError: If the config does not fit the structure.
    """
    if preset not in presets:
        raise UsageError(f"{preset}: no such {noun} preset; there are {', '.join(sorted(presets))}")
    module, _, name = presets[preset].partition(":")
    return getattr(importlib.import_module(module), name)(**config)


def assemble(
    path: Path, kind: Kind, presets: Mapping[str, str], header: Header, tensors: Mapping[str, Tensor]
) -> nn.Module:
    """The network of a header with its weights, in evaluation mode, frozen.

    Raises:
        UsageError: If they do not fit.
    """
    if header.preset not in presets:
        raise UsageError(f"{path}: is a {kind.noun} of the preset {header.preset!r}, which needs a newer deblurkit")
    try:
        with torch.random.fork_rng(devices=[]):  # the first weights are thrown away
            network: nn.Module = build(presets, header.preset, header.config, kind.noun)
        misfit = differences(network.state_dict(), tensors)
    except (TypeError, ValueError, RuntimeError) as error:
        misfit = " ".join(str(error).split())
    if misfit:
        raise UsageError(f"{path}: its weights do not fit the structure that its header names ({misfit})")
    network.load_state_dict(dict(tensors))
    return network.eval().requires_grad_(False)


def differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Say in a few words how weights differ from those of a structure, in names and shapes; empty if they don't."""
    shapes = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    kinds = {
        "missing": [name for name in expected if name not in found],
        "unexpected": [name for name in found if name not in expected],
        "of another shape": shapes,
    }
    return "; ".join(f"{len(names)} {kind}: {_few(names)}" for kind, names in kinds.items() if names)


def _few(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
