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
    # TF32 has ten bits of mantissa: the variances of SSIM are differences that it cannot resolve
    torch.backends.cudnn.allow_tf32 = False
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


SMALL = 1 << 20
"""Below this many values a tensor operation is not worth a second thread."""


def set_threads(count: int, values: int) -> int:
    """Set the number of CPU threads and return it.

    Args:
        count: As asked for; 0 chooses.
        values: Size of the tensors that most of the time is spent on. Small ones get one thread; otherwise as many as
            there are cores that nobody else keeps busy now, and at most four: threads that wait for a core of their own
            make every operation wait with them.
    """
    if count == 0:
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        count = 1 if values < SMALL else max(1, min(4, allowed, round(allowed - load)))
    torch.set_num_threads(count)
    return count
