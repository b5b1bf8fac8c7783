"""Work that tries an executor out: light, importable by any worker, and able to die; the contract uses it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from deblurkit.errors import RunError


def double(task: int, slot: int) -> int:
    """Return twice the task."""
    del slot
    return 2 * task


def fail_if_odd(task: int, slot: int) -> int:
    """Return an even task, and raise at an odd one: in words of our own at 1, otherwise not."""
    del slot
    if task == 1:
        raise RunError("the first odd number is refused; take an even one")
    if task % 2:
        raise TypeError(f"{task} is odd")
    return task


def swell(task: int, slot: int) -> bytes:
    """Return so many bytes as the task says."""
    del slot
    return b"x" * task


def slot_of(seconds: float, slot: int) -> tuple[int, int]:
    """Take a while, and return the process and its slot."""
    time.sleep(seconds)
    return os.getpid(), slot


def linger(folder: Path, seconds: float, slot: int) -> int:
    """Take a while, and write into a file named after the process as long as it lasts."""
    del slot
    end = time.monotonic() + seconds
    with (folder / str(os.getpid())).open("a") as file:
        while time.monotonic() < end:
            file.write(".")
            file.flush()
            time.sleep(0.02)
    return os.getpid()


def die(folder: Path, deadly: tuple[int, ...], times: int, task: int, slot: int) -> int:
    """Leave a file at the beginning and one at the end; a deadly task kills its worker in between, so many times."""
    del slot
    count = begin(folder, task)
    if task in deadly and count <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"{task}.{count}.ended").touch()
    return task


def begin(folder: Path, task: int) -> int:
    """Leave a file of its own for every beginning of a task, and return how many there are now."""
    count = 1 + len(list(folder.glob(f"{task}.*.begun")))
    (folder / f"{task}.{count}.begun").touch()
    return count


def unsendable(task: int, slot: int) -> Any:
    """Return what cannot be pickled."""
    del task, slot
    return lambda: None


def leave(code: int, task: int, slot: int) -> None:
    """End the worker as a library may do that gives up."""
    del task, slot
    os._exit(code)


def leave_a_child(folder: Path, seconds: float, slot: int) -> None:
    """Kill the worker, and leave a forked process behind that lives for a while and is named by a file."""
    del slot
    child = os.fork()
    if child == 0:
        time.sleep(seconds)
        os._exit(0)
    (folder / str(child)).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def shout(task: str, slot: int) -> None:
    """Print the task."""
    del slot
    print(task, flush=True)


def imported(task: tuple[str, ...], slot: int) -> list[str]:
    """Return which of the modules the worker has imported."""
    del slot
    return [name for name in task if name in sys.modules]
