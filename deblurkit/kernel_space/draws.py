"""Random numbers that depend on nothing but the seed, the purpose and the number of an example.

So an example is the same whichever process draws it, in whichever order, and however often training was resumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def everywhere(source: torch.Generator, device: torch.device) -> Iterator[None]:
    """Let what draws from torch's global generators draw from this one inside, and leave them as they were."""
    number = int(torch.randint(0, 2**31 - 1, (), generator=source))
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(number)
        yield


def generator(seed: int, purpose: str, number: int) -> torch.Generator:
    """The generator of one example.

    Args:
        seed: Of the whole training.
        purpose: What is drawn, such as ``pictures`` or ``validation``.
        number: Of the example among all of that purpose.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}/{number}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def whole(source: torch.Generator, high: int) -> int:
    """An integer from 0 to ``high - 1``."""
    return int(torch.randint(0, high, (), generator=source))


def uniform(source: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    """A number between two others."""
    return low + (high - low) * float(torch.rand((), generator=source))


def normal(shape: tuple[int, ...], seed: int, purpose: str, numbers: range) -> Tensor:
    """Standard normal numbers (N, *shape), those of each example from its own generator."""
    return torch.stack([torch.randn(shape, generator=generator(seed, purpose, number)) for number in numbers])
