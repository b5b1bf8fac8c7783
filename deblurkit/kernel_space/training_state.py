"""The state of an unfinished training, for an exact continuation."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deblurkit.errors import UsageError
from deblurkit.files import atomic_write
from deblurkit.kernel_space.settings import WITHOUT_INFLUENCE, TrainParams
from deblurkit.params import plain

FORMAT = "deblurkit-kernel-space-training"
DATA = "data"
"""Among the settings: the fingerprint of the data."""


@dataclass
class Checkpoint:
    """Everything that the next step depends on, beside the settings and the data.

    Random numbers need no state: they follow from seed and step.

    Attributes:
        step: Steps done, both stages together.
        space: The weights.
        optimizer: State of the optimizer.
        settings: What was set, to refuse a continuation under other settings.
        best: The best validation PSNR so far, ``-inf`` before the first.
        running: Sum of the losses since the last line of the log, and how many they are.
        history: (step, mean loss) of every line of the log.
        seconds: Time spent.
        content: How much data there is, in words; empty in old files.
    """

    step: int
    space: dict[str, Tensor]
    optimizer: dict[str, Any]
    settings: dict[str, Any]
    best: float = -float("inf")
    running: tuple[float, int] = (0.0, 0)
    history: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    content: str = ""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the former checkpoint, whole or not at all.

    Raises:
        RunError: The system refuses: disk full, no permission. The former checkpoint is untouched.
    """
    # into memory first: torch's own writer hides the system's reason
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **vars(checkpoint)}, buffer)
    atomic_write(path, lambda file: file.write(buffer.getbuffer()), overwrite=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`write_checkpoint` wrote; no code in the file is run.

    Raises:
        UsageError: The file is missing, damaged, or something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: does not exist, so there is nothing to resume; train without --resume.") from error
    except Exception as error:  # the unpickler raises anything for rubbish: index, key, value errors
        raise UsageError(f"{path}: cannot be read as a checkpoint; train anew with --overwrite.") from error
    if not isinstance(content, dict) or content.pop("format", "") != FORMAT:
        raise UsageError(f"{path}: is no checkpoint of a training; train anew with --overwrite.")
    try:
        return Checkpoint(**content)
    except TypeError as error:
        raise UsageError(f"{path}: is a checkpoint of another version; train anew with --overwrite.") from error


def lasting_settings(params: TrainParams, processes: int, fingerprint: str) -> dict[str, Any]:
    """What a continuation must have in common with its beginning.

    Args:
        params: The settings.
        processes: How many train together.
        fingerprint: Of the data.
    """
    kept = {name: value for name, value in plain(params).items() if name not in WITHOUT_INFLUENCE}
    batches = {
        "batch x processes": params.batch * processes,
        "kernel_batch x processes": params.kernel_batch * processes,
    }
    return {**kept, **batches, DATA: fingerprint}


def check_same_settings(
    former: Mapping[str, Any], present: Mapping[str, Any], path: Path, *, contents: tuple[str, str] = ("", "")
) -> None:
    """Refuse to continue a training under other settings or on other data: its result would be that of neither.

    Args:
        former: Settings of the checkpoint.
        present: Settings now.
        path: The checkpoint, for the message.
        contents: How much data there was and is, in words.

    Raises:
        UsageError: Naming what differs.
    """
    differing = [name for name in sorted({*former, *present}) if former.get(name) != present.get(name)]
    causes = []
    if settings := [name for name in differing if name != DATA]:
        shown = "; ".join(f"{name}: {former.get(name)}, now {present.get(name)}" for name in settings[:4])
        causes.append(f"under other settings ({shown})")
    if DATA in differing:
        causes.append(f"with other pictures, pairs or kernels ({_change(*contents)})")
    if causes:
        raise UsageError(
            f"{path}: was trained {' and '.join(causes)}; resume with the former ones, or train anew with --overwrite."
        )


def _change(former: str, present: str) -> str:
    """How data changed, in words."""
    if former == present:
        return "as many as now, of other names or in another order"
    return f"{former}; now {present}" if former else f"now {present}"
