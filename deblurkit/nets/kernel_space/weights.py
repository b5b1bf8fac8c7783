"""Kernel spaces in files: safetensors with a header that says how to build them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from deblurkit.errors import UsageError
from deblurkit.files import atomic_write
from deblurkit.nets.kernel_space.header import Header, space_path
from deblurkit.nets.kernel_space.space import KernelSpace, Statistics

PRESETS = {
    "compact": "deblurkit.nets.kernel_space.compact:CompactSpace",
    "paper": "deblurkit.nets.kernel_space.paper:PaperSpace",
}
STATISTICS = "statistics."


def build_space(preset: str, config: Mapping[str, int | float | bool]) -> KernelSpace:
    """A space of the given structure, its weights freshly drawn from torch's global generator.

    Raises:
        UsageError: If there is no such preset.
        TypeError: If the config does not fit the structure.
    """
    if preset not in PRESETS:
        raise UsageError(f"{preset}: no such kernel space preset; there are {', '.join(sorted(PRESETS))}")
    module, _, name = PRESETS[preset].partition(":")
    space: KernelSpace = getattr(importlib.import_module(module), name)(**config)
    return space


def save_space(
    path: Path, space: KernelSpace, *, card: Mapping[str, str], half: bool = False, overwrite: bool = False
) -> None:
    """Write a space, whole or not at all.

    Args:
        path: The ``.safetensors`` file.
        space: The space, with its statistics if it has them.
        card: Where the weights come from; free text by key.
        half: Store 16 bits a number instead of 32.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UsageError: If the file exists and may not be replaced.
        RunError: If the system refuses to write it.
    """
    tensors = dict(space.state_dict())
    if space.statistics is not None:
        tensors |= {f"{STATISTICS}mean": space.statistics.mean, f"{STATISTICS}factor": space.statistics.factor}
    dtype = torch.float16 if half else torch.float32
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
    header = Header(space.preset, space.config(), dict(card))
    content = safetensors.torch.save(tensors, header.metadata())
    atomic_write(path, lambda file: file.write(content), overwrite)


def load_space(path: Path) -> KernelSpace:
    """Read a space on the CPU, in float32, in evaluation mode, its weights frozen.

    Args:
        path: A file that :func:`save_space` wrote; the empty path for the space that comes with deblurkit.

    Raises:
        UsageError: If the file is missing, damaged, or not a kernel space.
    """
    path = space_path(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = Header.of(file.metadata() or {}, path)
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  no mapping
    except (OSError, safetensors.SafetensorError) as error:
        cause = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
        raise UsageError(f"{path}: cannot be read as a kernel space ({cause}); name a kernel space's file") from error
    statistics = {name: tensors.pop(STATISTICS + name, None) for name in ("mean", "factor")}
    if header.preset not in PRESETS:
        raise UsageError(f"{path}: is a kernel space of the preset {header.preset!r}, which needs a newer deblurkit")
    try:
        with torch.random.fork_rng(devices=[]):  # the first weights are thrown away
            space = build_space(header.preset, header.config)
        misfit = differences(space.state_dict(), tensors)
    except (TypeError, ValueError, RuntimeError) as error:
        misfit = " ".join(str(error).split())
    if misfit:
        raise UsageError(f"{path}: its weights do not fit the structure that its header names ({misfit})")
    space.load_state_dict(tensors)
    if statistics["mean"] is not None and statistics["factor"] is not None:
        space.statistics = Statistics(statistics["mean"], statistics["factor"])
    return space.eval().requires_grad_(False)


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
