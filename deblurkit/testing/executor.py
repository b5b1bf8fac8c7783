"""The contract of executors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from deblurkit.core.executor import Executor, Finished, Work
from deblurkit.errors import RunError
from deblurkit.executors import trials
from deblurkit.specs import ExecutorSpec
from deblurkit.testing.contract import Contract

RUN, FINISHED = "core.executor.Executor.run", "core.executor.Finished"
LONG = 600.0
"""Seconds that a task takes which must be stopped."""


class ExecutorContract(Contract):
    """What an executor must do, with two workers if it can have them.

    Attributes:
        patience: Seconds within which workers must have stopped.
    """

    spec: ClassVar[ExecutorSpec]
    base = Executor
    wanted = ExecutorSpec
    patience: ClassVar[float] = 10.0

    @property
    def jobs(self) -> int:
        """How many workers there are."""
        return 2 if self.spec.parallel else 1

    def start(self, work: Work, tasks: Sequence[Any]) -> Iterator[Finished]:
        """Begin with the tasks."""
        executor: Executor[Any] = self.make(self.params, jobs=self.jobs)
        return executor.run(work, tasks)

    def finish(self, work: Work, tasks: Sequence[Any]) -> list[Finished]:
        """All tasks in their order; each must have come once."""
        arrived = list(self.start(work, tasks))
        strange = [one for one in arrived if not isinstance(one, Finished)]
        self.require(not strange, f"run() yielded {strange[:1]}, and must yield Finished", FINISHED)
        found = sorted(one.index for one in arrived)
        wrong = f"of {len(tasks)} tasks it yielded those numbered {found}; each must come exactly once"
        self.require(found == list(range(len(tasks))), wrong, RUN)
        return sorted(arrived, key=lambda one: one.index)

    def need_workers(self) -> None:
        """Skip the test for an executor without processes of its own."""
        if not self.spec.parallel:
            pytest.skip(f"{self.spec.name} has no workers")

    @pytest.mark.parametrize("count", [0, 1, 7])
    def test_every_task_comes_exactly_once(self, count: int) -> None:
        """However many there are, and with the value that the work returned."""
        values = [(one.value, one.error) for one in self.finish(trials.double, range(count))]
        right = [(2 * task, "") for task in range(count)]
        self.require(values == right, f"the values and errors are {values}, and must be {right}", FINISHED)

    def test_an_error_is_one_of_its_task_only(self) -> None:
        """It is told in one sentence, our own errors in their own words."""
        errors = [one.error for one in self.finish(trials.fail_if_odd, range(4))]
        right = ["", "the first odd number is refused; take an even one", "", "unexpected TypeError: 3 is odd"]
        self.require(errors == right, f"the errors are {errors}, and must be {right}", FINISHED)

    def test_results_of_any_size_arrive_whole(self) -> None:
        """From nothing to megabytes."""
        sizes = [0, 5_000_000, 1, 70_000, 3_000_000]
        found = [len(one.value) for one in self.finish(trials.swell, sizes)]
        self.require(found == sizes, f"results of {sizes} bytes arrived with {found}", RUN)

    def test_tasks_are_handed_out_one_by_one(self) -> None:
        """A long list is not swallowed at the start: a task is looked at when there is a worker for it."""
        tasks = _Watched(100)
        with closing(_closable(self.start(trials.double, tasks))) as arriving:
            next(arriving)
        many = len(tasks.asked) > 2 * self.jobs + 1
        self.require(not many, f"{len(tasks.asked)} tasks were taken before the first had finished", RUN)

    def test_slots_are_numbers_of_workers(self) -> None:
        """They lie between 0 and jobs - 1."""
        slots = {one.value[1] for one in self.finish(trials.slot_of, [0.01] * 5)}
        wrong = f"the slots are {sorted(slots)} with {self.jobs} workers"
        self.require(slots <= set(range(self.jobs)), wrong, "core.executor.Work")

    def test_closing_stops_the_workers(self, tmp_path: Path) -> None:
        """Whoever has seen enough waits for nobody, and nothing goes on computing."""
        self.need_workers()
        arriving = _closable(self.start(partial(trials.linger, tmp_path), [0.0, LONG, LONG]))
        next(arriving)
        _wait_until(lambda: not _unchanged(tmp_path), self.patience)
        started = time.monotonic()
        arriving.close()
        seconds = time.monotonic() - started
        self.require(seconds < self.patience, f"closing took {seconds:.0f} seconds", RUN)
        idle = _wait_until(lambda: _unchanged(tmp_path), self.patience)
        self.require(idle, "a worker goes on after the iterator was closed", RUN)

    def test_a_worker_that_is_killed_loses_nothing(self, tmp_path: Path) -> None:
        """Its task is begun again, and no task that has ended is."""
        self.need_workers()
        done = self.finish(partial(trials.die, tmp_path, (2,), 1), range(6))
        found = [(one.value, one.error) for one in done]
        right = [(task, "") for task in range(6)]
        self.require(found == right, f"the values and errors are {found}, and must be {right}", RUN)
        ended = sorted(path.name.partition(".")[0] for path in tmp_path.glob("*.ended"))
        self.require(ended == list("012345"), f"the tasks that ended are {ended}; each must once", RUN)
        begun = len(list(tmp_path.glob("*.begun")))
        self.require(begun in (7, 8), f"6 tasks with one death were begun {begun} times", RUN)

    def test_what_cannot_be_sent_is_told(self) -> None:
        """A result that cannot be pickled is an error of its task."""
        self.need_workers()
        error = self.finish(trials.unsendable, [0])[0].error
        self.require("the result cannot be sent back" in error, f"the error is {error!r}", FINISHED)

    def test_a_task_that_cannot_be_sent_harms_no_other(self) -> None:
        """It is an error of that task."""
        self.need_workers()
        errors = [one.error for one in self.finish(trials.double, [1, _iter_of_nothing(), 3])]
        self.require([bool(error) for error in errors] == [False, True, False], f"the errors are {errors}", FINISHED)
        self.require("the task cannot be sent to a worker" in errors[1], f"the error is {errors[1]!r}", FINISHED)

    def test_work_that_cannot_be_sent_is_refused(self) -> None:
        """Before any task is given to anybody."""
        self.need_workers()
        nothing: Any = _iter_of_nothing()
        with pytest.raises(RunError, match="the work cannot be sent to a worker"):
            list(self.start(partial(trials.linger, nothing), [0]))


def _iter_of_nothing() -> Iterator[None]:
    """A generator: nothing can pickle it."""
    yield from ()


class _Watched(Sequence[int]):
    """Numbers that remember which of them were asked for."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.asked: set[int] = set()

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self.size:
            raise IndexError(index)
        self.asked.add(index)
        return index


def _closable(arriving: Iterator[Finished]) -> Any:
    assert hasattr(arriving, "close"), (
        "run() must return a generator, which can be closed (see deblurkit.core.Executor)"
    )
    return arriving


def _unchanged(folder: Path) -> bool:
    """Whether nothing is written into the files of a folder for a while."""
    before = [path.stat().st_size for path in sorted(folder.iterdir())]
    time.sleep(0.25)
    return before == [path.stat().st_size for path in sorted(folder.iterdir())]


def _wait_until(holds: Any, seconds: float) -> bool:
    """Wait for something for so long, and say whether it came."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(holds())
