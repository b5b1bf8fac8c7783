"""Worker processes on this machine, one for every slot, so that the death of one disturbs no other."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import pickle
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from deblurkit.core.executor import Executor, Finished, Work, death, sentence
from deblurkit.errors import RunError
from deblurkit.executors.attempt import Attempt
from deblurkit.executors.parcels import Parcel, pack, unpack
from deblurkit.executors.plugin import LocalParams
from deblurkit.executors.worker import serve

GRACE = 5.0
"""Seconds that a worker has to end after it was told to."""
GLANCE = 1.0
"""Seconds after which a worker is looked at even if nothing was heard of it: a process that its work left behind may
hold the pipes open beyond its death."""


class Local(Executor[LocalParams]):
    """Compute the tasks in fresh Python processes (``spawn``, so that accelerators can be used in them).

    A script that uses it needs ``if __name__ == "__main__":`` around what it does, as always with processes.
    """

    def run(self, work: Work, tasks: Sequence[Any]) -> Iterator[Finished]:
        """Compute the tasks; see `Executor.run`."""
        packed = pack(work, "the work")
        waiting = deque(Attempt(index) for index in range(len(tasks)))
        crew = _Crew(min(self.jobs, len(tasks)), packed)
        # processes that are not daemons are waited for at the end of the program, before what hangs on it is collected
        atexit.register(crew.stop)
        try:
            while waiting or crew.busy():
                for worker in crew.idle()[: len(waiting)]:
                    attempt = waiting.popleft()
                    try:
                        content = pack(tasks[attempt.index], "the task")
                    except RunError as error:
                        yield Finished(attempt.index, error=sentence(error))
                    else:
                        worker.give(attempt, content)
                for worker in crew.heard_of():
                    attempt, parcel = worker.take()
                    if parcel is not None:
                        yield unpack(attempt.index, parcel)
                    elif attempt.deaths <= self.params.retries:
                        waiting.appendleft(attempt)
                    else:
                        yield Finished(attempt.index, error=death(attempt.deaths, worker.cause))
        finally:
            crew.stop()
            atexit.unregister(crew.stop)


class _Worker:
    """A process that is started when there is something to do, and anew where it died.

    Attributes:
        attempt: What it is busy with.
        cause: What the last process died of.
    """

    def __init__(self, slot: int, work: bytes) -> None:
        self.slot = slot
        self.work = work
        self.attempt: Attempt | None = None
        self.cause = ""
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    @property
    def waitables(self) -> list[Any]:
        """What stirs when it has finished or died."""
        assert self._process is not None
        return [self._pipe, self._process.sentinel]

    def give(self, attempt: Attempt, task: bytes) -> None:
        """Send it a task; if it dies of that, `take` will tell.

        Raises:
            RunError: If no process can be started.
        """
        if self._process is None or not self._process.is_alive():
            self.close()
            self._start()
        self.attempt = attempt
        assert self._pipe is not None
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(task)

    def heard_of(self, stirring: Sequence[Any]) -> bool:
        """Say whether it has finished or died."""
        assert self._process is not None
        return any(one in stirring for one in self.waitables) or not self._process.is_alive()

    def take(self) -> tuple[Attempt, Parcel | None]:
        """Return its task and what came of it, ``None`` if it died; then it is idle."""
        assert self._process is not None
        assert self._pipe is not None
        assert self.attempt is not None
        attempt, self.attempt = self.attempt, None
        with contextlib.suppress(EOFError, OSError):
            if self._pipe.poll():
                parcel: Parcel = pickle.loads(self._pipe.recv_bytes())
                return attempt, parcel
        self._process.join(GRACE)
        code = self._process.exitcode
        self.cause = "its pipe broke" if code is None else f"killed by signal {-code}" if code < 0 else f"exit {code}"
        attempt.deaths += 1
        self.close()
        return attempt, None

    def dismiss(self) -> None:
        """Tell it to end: at once if it is busy."""
        if self.attempt is not None and self._process is not None:
            self._process.terminate()
        if self._pipe is not None:
            self._pipe.close()

    def close(self) -> None:
        """Wait until it is gone, for a while."""
        if self._process is not None:
            self._process.join(GRACE)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, self.slot, self.work), name=f"worker {self.slot}")
        try:
            with _uninterrupted():
                process.start()
        except OSError as error:
            here.close()
            raise RunError(f"no worker process can be started: {error.strerror or error}; take fewer --jobs") from error
        finally:
            there.close()
        self._process, self._pipe = process, here


class _Crew:
    """All workers."""

    def __init__(self, size: int, work: bytes) -> None:
        self.workers = [_Worker(slot, work) for slot in range(size)]

    def idle(self) -> list[_Worker]:
        """Return those that have nothing to do."""
        return [worker for worker in self.workers if worker.attempt is None]

    def busy(self) -> list[_Worker]:
        """Return those that have something to do."""
        return [worker for worker in self.workers if worker.attempt is not None]

    def heard_of(self) -> list[_Worker]:
        """Wait until some have finished or died, or for a while, and return them."""
        if not self.busy():
            return []
        stirring = wait([one for worker in self.busy() for one in worker.waitables], GLANCE)
        return [worker for worker in self.busy() if worker.heard_of(stirring)]

    def stop(self) -> None:
        """End all of them."""
        for worker in self.workers:
            worker.dismiss()
        for worker in self.workers:
            worker.close()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let a process that starts here never hear Ctrl-C; this one hears it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # starting the tracker, which the first process does otherwise, would undo the mask
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
