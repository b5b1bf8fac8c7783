"""The curve of a training's loss, and its pace."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from deblurkit.errors import RunError
from deblurkit.kernel_space.world import World


class LossCurve:
    """Mean losses of all processes, one for every line of the log.

    Losses are summed up on the device, for reading one makes an accelerator wait.

    Args:
        world: The processes that train together.

    Attributes:
        history: (step, mean loss since the one before).
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.history: list[tuple[int, float]] = []
        wide = torch.float32 if world.device.type == "mps" else torch.float64
        self._sum = torch.zeros((), dtype=wide, device=world.device)
        self._count = 0
        self._since = (0, time.monotonic())

    def add(self, loss: Tensor) -> None:
        """Take the loss of one step in."""
        self._sum += loss.detach().to(self._sum)
        self._count += 1

    def close(self, step: int) -> float:
        """Append the mean loss since the last time and return it; every process takes part.

        Raises:
            RunError: If it is not finite.
        """
        loss = float(self.world.mean(self._sum.clone() / max(1, self._count)))
        self._sum.zero_()
        self._count = 0
        _check_finite(loss, step)
        self.history.append((step, loss))
        return loss

    def open_sum(self, step: int) -> tuple[float, int]:
        """Sum and number of the losses since the last mean; every process takes part.

        Raises:
            RunError: If the sum is not finite.
        """
        total = float(self.world.mean(self._sum))
        _check_finite(total, step)
        return total, self._count

    def restore(self, open_sum: tuple[float, int], history: Sequence[tuple[int, float]]) -> None:
        """Continue a curve."""
        total, self._count = open_sum
        self._sum.fill_(total)
        self.history = [(step, loss) for step, loss in history]

    def start_clock(self, step: int) -> None:
        """Measure the pace from now on: what was done since the last time was no training."""
        self._since = (step, time.monotonic())

    def pace(self, step: int) -> float:
        """Steps a second since the last time."""
        before, since = self._since
        pace = (step - before) / max(time.monotonic() - since, 1e-9)
        self.start_clock(step)
        return pace


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise RunError(
            f"The loss is not finite at step {step}; train anew (--overwrite), with a smaller --lr or --clip."
        )
