"""Where a run happens: device, precision, and the number of CPU threads."""

from __future__ import annotations

import os

import torch

from deblurkit.errors import UsageError


def choose_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` into a device that is there.

    Raises:
        UsageError: If the name is none of these, or the device is absent.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"run.device: '{name}' is no device; use auto, cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "run.device: cuda was asked for, but PyTorch sees no CUDA device here; use --device cpu or auto"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"run.device: '{name}' is absent; there are {torch.cuda.device_count()} CUDA devices, from cuda:0 on"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("run.device: mps was asked for, but PyTorch sees no Apple GPU here; use --device cpu or auto")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"run.device: '{name}' is not supported; use auto, cpu, cuda, cuda:N or mps")
    return device


def set_threads(count: int) -> int:
    """Set the number of CPU threads and return it.

    Args:
        count: As asked for; 0 chooses. The choice is at most four and never more than the cores this process may use: on small
            tensors the gain ends early, and more threads than free cores wait for each other.
    """
    if count == 0:
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = min(4, allowed)
    torch.set_num_threads(count)
    return count


def reset_memory_peak(device: torch.device) -> None:
    """Start a new measurement of :func:`memory_peak`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def memory_peak(device: torch.device) -> int | None:
    """Peak bytes allocated on an accelerator since the last reset; ``None`` where it is not counted."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
