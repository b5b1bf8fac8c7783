"""The device that a command's own ``--device`` names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deblurkit.errors import UsageError
from deblurkit.params import at

if TYPE_CHECKING:
    import torch


def named_device(name: str, file: Path | None = None) -> torch.device:
    """Choose the device; a mistake is told under the name by which the user gave it.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        file: The config file that has the name under ``device``; ``None`` where it was typed.

    Raises:
        UsageError: If the name is none of these, or the device is absent.
    """
    from deblurkit.devices import choose_device

    try:
        return choose_device(name)
    except UsageError as error:
        cause = str(error).removeprefix("run.device: ")
        raise UsageError(f"--device: {cause}" if file is None else f"device: {cause}{at(str(file))}") from None
