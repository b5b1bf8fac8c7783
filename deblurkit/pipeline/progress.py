"""What a run tells its caller while it works. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """A sign of life.

    Attributes:
        stage: ``size``, ``estimate``, ``refine``, ``polish``, ``restore``, ``judge`` or ``compare`` (another recipe
            seeks a kernel, so that what was synthesised can be compared with a plain restoration).
        attempt: Number of the attempt, from 1.
        scale: Number of the scale, from 1, coarse to fine.
        scales: How many scales there are.
        done: Steps done at this scale (tiles, when restoring).
        total: How many there will be.
        loss: The objective, a detached scalar; reading it makes an accelerator wait. ``None`` where there is none.
        latent: The latent image (1, C, H + 2 my, W + 2 mx) that the loss is of, detached; ``None`` where there is none.
    """

    stage: str
    attempt: int = 1
    scale: int = 1
    scales: int = 1
    done: int = 0
    total: int = 1
    loss: Tensor | None = None
    latent: Tensor | None = None


Listener: TypeAlias = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """A listener that does not care."""
    del progress
