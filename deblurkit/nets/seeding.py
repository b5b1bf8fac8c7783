"""Reproducible initialisation: torch's layers draw from the global generator, deblurkit's callers own theirs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[None]:
    """Let layers that are built inside on the CPU draw from ``generator``; leave the global generators as they were."""
    seed = int(torch.randint(0, 2**31 - 1, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the accelerators' generators too
        yield
