"""What a training tells its caller, and where it writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True)
class Step:
    """A sign of life.

    Attributes:
        stage: ``kernels`` or ``pictures``.
        done: Steps done in this stage.
        total: How many there will be.
        loss: Of this process's batch, detached; reading it makes an accelerator wait.
    """

    stage: str
    done: int
    total: int
    loss: Tensor


@dataclass(frozen=True)
class Outputs:
    """Where a training writes.

    Attributes:
        space: The best space.
    """

    space: Path

    @property
    def state(self) -> Path:
        """The checkpoint, for an exact continuation."""
        return self.space.with_name(f"{self.space.stem}.last.pt")

    @property
    def log(self) -> Path:
        """One line an event."""
        return self.space.with_name(f"{self.space.stem}.log")

    def samples(self, step: int) -> Path:
        """The figure of one validation."""
        return self.space.with_name(f"{self.space.stem}.samples") / f"step-{step:06d}.png"


@dataclass(frozen=True)
class Hooks:
    """Whom a training talks to.

    Attributes:
        step: Called after every step.
        log: Called with every line of the log.
        warn: Called with what deserves a look.
        stop: Asked after every step whether to stop with what there is.
    """

    step: Callable[[Step], object]
    log: Callable[[str], object]
    warn: Callable[[str], object]
    stop: Callable[[], bool]


def duration(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(min(seconds, 3.6e7)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
