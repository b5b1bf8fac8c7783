"""No workers at all: what a single picture or a debugger wants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from deblurkit.core.executor import Executor, Finished, Work, sentence
from deblurkit.errors import UsageError
from deblurkit.params import Params


class InProcess(Executor[Params]):
    """Compute one task after the other in this process, each when it is asked for."""

    def __init__(self, params: Params, *, jobs: int = 1) -> None:
        super().__init__(params, jobs=jobs)
        if jobs > 1:
            raise UsageError(f"executor: 'in-process' has one worker, not {jobs}; take --executor local, or --jobs 1")

    def run(self, work: Work, tasks: Sequence[Any]) -> Iterator[Finished]:
        """Compute the tasks in their order; see `Executor.run`."""
        for index, task in enumerate(tasks):
            try:
                finished = Finished(index, work(task, 0))
            except (Exception, SystemExit) as error:
                finished = Finished(index, error=sentence(error))
            yield finished
