"""Where many independent tasks are computed. An executor yields what has finished; whoever asked keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from deblurkit.errors import DeblurkitError, UsageError
from deblurkit.params import Params

P = TypeVar("P", bound=Params)

Work: TypeAlias = Callable[[Any, int], Any]
"""``work(task, slot)``: a function of a module, or a `functools.partial` of one, so that it can be pickled. ``slot`` is
the number of the worker, from 0 to jobs - 1, by which workers share accelerators."""


@dataclass(frozen=True)
class Finished:
    """A task that is over.

    Attributes:
        index: Its place in the sequence of tasks.
        value: What the work returned; ``None`` if it failed.
        error: One sentence if it failed: the work raised, or its worker died; else empty.
    """

    index: int
    value: Any = None
    error: str = ""


class Executor(Generic[P]):
    """A way to compute many independent tasks. It prints nothing and saves nothing.

    Args:
        params: Its parameters.
        jobs: Number of workers, at least 1.

    Raises:
        UsageError: If it cannot have so many workers, or something that it needs is not installed.
    """

    def __init__(self, params: P, *, jobs: int = 1) -> None:
        if jobs < 1:
            raise UsageError(f"jobs: must be at least 1, not {jobs}")
        self.params = params
        self.jobs = jobs

    def run(self, work: Work, tasks: Sequence[Any]) -> Iterator[Finished]:
        """Compute every task, and yield each exactly once, as they finish.

        What the work raises is an error of that task only. A task whose worker died is given to a fresh worker. Not
        more than ``jobs`` tasks are under way at any time. Closing the iterator, or an exception such as
        ``KeyboardInterrupt`` while it waits, stops the workers; what was yielded before is the caller's.

        Args:
            work: What to do with a task.
            tasks: The tasks, each picklable.

        Raises:
            RunError: If no worker can be had, or the work itself cannot be sent to one.
        """
        raise NotImplementedError


def sentence(error: BaseException) -> str:
    """Say in one line what the work raised: the text of a `DeblurkitError`, the type and text of anything else."""
    text = " ".join(str(error).split())
    if isinstance(error, DeblurkitError):
        return text
    if isinstance(error, MemoryError):
        return "out of memory"
    return f"unexpected {type(error).__name__}: {text}".removesuffix(": ")


def death(times: int, cause: str = "") -> str:
    """Say in one line that a task's worker died so many times, and of what the last time."""
    return f"its worker died{f' {times} times' if times > 1 else ''}{f' ({cause})' if cause else ''}"
