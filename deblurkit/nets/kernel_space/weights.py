"""Kernel spaces in files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deblurkit.errors import UsageError
from deblurkit.nets import weights
from deblurkit.nets.header import Header
from deblurkit.nets.kernel_space.header import KERNEL_SPACE, space_path
from deblurkit.nets.kernel_space.space import KernelSpace, Statistics

PRESETS = {
    "compact": "deblurkit.nets.kernel_space.compact:CompactSpace",
    "paper": "deblurkit.nets.kernel_space.paper:PaperSpace",
}
STATISTICS = "statistics."


def build_space(preset: str, config: Mapping[str, Any]) -> KernelSpace:
    """A space of the given structure, its weights freshly drawn from torch's global generator.

    Raises:
        UsageError: If there is no such preset.
        TypeError: If the config does not fit the structure.
    """
    space: KernelSpace = weights.build(PRESETS, preset, config, KERNEL_SPACE.noun)
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
    header = Header(space.preset, space.config(), dict(card))
    weights.save_weights(path, KERNEL_SPACE, header, tensors, half=half, overwrite=overwrite)


def load_space(path: Path) -> KernelSpace:
    """Read a space on the CPU, in float32, in evaluation mode, its weights frozen.

    Args:
        path: A file that :func:`save_space` wrote; the empty path for the space that comes with deblurkit.

    Raises:
        UsageError: If the file is missing, damaged, or not a kernel space.
    """
    own, path = path == Path(), space_path(path)
    header, tensors = weights.read_weights(path, KERNEL_SPACE)
    mean, factor = (tensors.pop(STATISTICS + name, None) for name in ("mean", "factor"))
    space = weights.assemble(path, KERNEL_SPACE, PRESETS, header, tensors, own=own)
    assert isinstance(space, KernelSpace)
    if mean is not None and factor is not None:
        space.statistics = _statistics(path, space, mean, factor)
    return space


def _statistics(path: Path, space: KernelSpace, mean: Tensor, factor: Tensor) -> Statistics:
    """The Gaussian over codes in a file, which must fit them."""
    dimensions = space.code_shape((1, 1))[0]
    found = {f"{STATISTICS}mean": mean, f"{STATISTICS}factor": factor}
    shapes = {"mean": (dimensions,), "factor": (dimensions, dimensions)}
    expected = {STATISTICS + name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    if misfit := weights.differences(expected, found):
        raise UsageError(f"{path}: its statistics of codes are damaged ({misfit}); get the file anew")
    weights.check_finite(path, found)
    return Statistics(mean.clone(), factor.clone())
