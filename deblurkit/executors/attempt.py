"""What executors whose workers may die remember of a task."""

from dataclasses import dataclass


@dataclass
class Attempt:
    """A task, and how many workers died of it.

    Attributes:
        index: Its place in the sequence of tasks.
        deaths: How many workers died of it so far.
    """

    index: int
    deaths: int = 0
