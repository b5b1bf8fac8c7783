"""Learning rates that fall at milestones, computed from the step number alone."""

from collections.abc import Sequence


def decayed(rate: float, step: int, milestones: Sequence[int], decay: float) -> float:
    """The learning rate at a step: ``rate * decay ** (number of milestones <= step)``."""
    return rate * decay ** sum(milestone <= step for milestone in milestones)
