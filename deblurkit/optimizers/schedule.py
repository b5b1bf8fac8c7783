"""Learning rates that follow from the step number alone."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

Schedule: TypeAlias = Literal["milestones", "one-cycle", "one-cycle-drop"]
LOW = 0.1
"""Share of the learning rate at the ends of a cycle."""
DROP = 0.1
"""Share of the steps, at the end, in which the rate of `one-cycle-drop` falls on."""
LAST = 1e-3
"""Share of the learning rate that it falls to."""


def decayed(rate: float, step: int, milestones: Sequence[int], decay: float) -> float:
    """The learning rate at a step: ``rate * decay ** (number of milestones <= step)``."""
    return rate * decay ** sum(milestone <= step for milestone in milestones)


def cycled(rate: float, step: int, steps: int, *, drop: bool) -> float:
    """The learning rate of PULSE's schedules (Menon et al., CVPR 2020).

    It rises linearly from a tenth of ``rate`` to all of it in the middle, and falls back; with ``drop`` it does so
    within the first nine tenths of the steps, and then falls on to a thousandth.

    Args:
        rate: The highest learning rate.
        step: From 0.
        steps: How many steps there are in all.
        drop: `linear1cycledrop`; without it `linear1cycle`.
    """
    share = step / steps
    cycle = 1 - DROP if drop else 1.0
    if share >= cycle:
        return rate * (LOW + (share - cycle) / (1 - cycle) * (LAST - LOW)) if drop else rate * LOW
    return rate * ((1 - LOW) * (1 - abs(share / cycle - 0.5) * 2) + LOW)


def scheduled(rate: float, step: int, steps: int, schedule: Schedule, milestones: Sequence[int], decay: float) -> float:
    """The learning rate at a step out of ``steps``, by the chosen schedule."""
    if schedule == "milestones":
        return decayed(rate, step, milestones, decay)
    return cycled(rate, step, steps, drop=schedule == "one-cycle-drop")
