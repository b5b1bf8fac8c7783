"""Workers of a Ray cluster, an existing one or one that lives as long as it is needed (Moritz et al. 2018, OSDI)."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import re
import socket
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from deblurkit.core.executor import Executor, Finished, Work, death, sentence
from deblurkit.errors import RunError, UsageError
from deblurkit.executors.attempt import Attempt
from deblurkit.executors.parcels import Parcel, carry_out, pack, unpack
from deblurkit.executors.plugin import RayParams

PATIENCE = 5.0
"""Seconds within which the machine of an address must answer."""
AUTO = "auto"
_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""An empty frame of settings in HTTP/2; its fourth byte is its type."""
_ADDRESS = re.compile(r"(?:ray://)?(?P<host>\[[0-9a-fA-F:]+\]|[^\s:/]+):(?P<port>\d{1,5})")


class Ray(Executor[RayParams]):
    """Compute the tasks on a Ray cluster.

    Files that the tasks name by their paths must be visible under the same paths on all its machines, where deblurkit
    and the plugins in use must be installed in the same versions. A cluster that asks for a token finds it as Ray does,
    in ``RAY_AUTH_TOKEN`` with ``RAY_AUTH_MODE=token``. Where the cluster has GPUs, each task takes an equal share of
    them, and Ray shows it only that: its slot is then 0.

    Raises:
        UsageError: If Ray is not installed, or the address is none.
    """

    def __init__(self, params: RayParams, *, jobs: int = 1) -> None:
        super().__init__(params, jobs=jobs)
        if params.address not in ("", AUTO) and not _ADDRESS.fullmatch(params.address):
            raise UsageError(
                f"executor.address: must be {AUTO}, HOST:PORT, ray://HOST:PORT or empty, not {params.address!r}"
            )
        if importlib.util.find_spec("ray") is None:
            raise UsageError("executor 'ray': Ray is not installed; pip install 'deblurkit[ray]'")

    def run(self, work: Work, tasks: Sequence[Any]) -> Iterator[Finished]:
        """Compute the tasks; see `Executor.run`."""
        if not tasks:
            return
        with _cluster(self.params.address, min(self.jobs, len(tasks))) as cluster:
            dumps = cluster.ray.cloudpickle.dumps
            packed = pack(work, "the work", dumps)
            waiting = deque(Attempt(index) for index in range(len(tasks)))
            free = list(range(self.jobs))
            running: dict[Any, tuple[Attempt, int]] = {}
            try:
                while waiting or running:
                    while waiting and free:
                        attempt = waiting.popleft()
                        try:
                            task = pack(tasks[attempt.index], "the task", dumps)
                        except RunError as error:
                            yield Finished(attempt.index, error=sentence(error))
                            continue
                        slot = free.pop(0)
                        running[cluster.submit(packed, task, slot)] = attempt, slot
                    for reference in cluster.finished(list(running)):
                        attempt, slot = running.pop(reference)
                        free.append(slot)
                        parcel, cause = cluster.take(reference)
                        if parcel is not None:
                            yield unpack(attempt.index, parcel)
                            continue
                        attempt.deaths += 1
                        if attempt.deaths <= self.params.retries:
                            waiting.appendleft(attempt)
                        else:
                            yield Finished(attempt.index, error=death(attempt.deaths, cause))
            finally:
                cluster.cancel(list(running))


class _Cluster:
    """A cluster that this process is connected to.

    Args:
        ray: The package.
        jobs: How many tasks run at once.
        paths: Where workers must look for modules besides their own places; they have no other way to know it.
    """

    def __init__(self, ray: ModuleType, jobs: int, paths: Sequence[str] = ()) -> None:
        self.ray = ray
        gpus = int(ray.cluster_resources().get("GPU", 0))
        self.share = 1.0 / math.ceil(jobs / gpus) if gpus else 0.0
        self.paths = tuple(paths)
        # whether a task is tried again is decided here: Ray would try without end what ran out of memory
        remote = ray.remote(num_cpus=1, num_gpus=self.share, max_retries=0)
        self._remote: Any = remote(_carry_out)

    def submit(self, work: bytes, task: bytes, slot: int) -> Any:
        """Send a task, and return the reference of its result."""
        return self._remote.remote(self.paths, work, task, 0 if self.share else slot)

    def finished(self, references: Sequence[Any]) -> Sequence[Any]:
        """Wait until one has finished or its worker died."""
        if not references:
            return ()
        try:
            ready: Sequence[Any] = self.ray.wait(references, num_returns=1)[0]
        except (self.ray.exceptions.RayError, ConnectionError) as error:
            raise RunError(f"the Ray cluster was lost: {_first_line(error)}") from error
        return ready

    def take(self, reference: Any) -> tuple[Parcel | None, str]:
        """Return what came of a task, or ``None`` and what its worker died of, as far as Ray knows."""
        errors = self.ray.exceptions
        try:
            parcel: Parcel = self.ray.get(reference)
        except errors.OutOfMemoryError:
            return None, "out of memory"
        # what runs the tasks of a machine may die without it; that of this machine would take the connection along
        except (errors.NodeDiedError, errors.LocalRayletDiedError, errors.ObjectLostError):
            return None, "its machine was lost"
        except errors.WorkerCrashedError:
            return None, ""
        except errors.RayTaskError as error:
            return (b"", f"a worker of the Ray cluster cannot do it: {_last_line(error)}"), ""
        except (errors.RayError, ConnectionError) as error:
            raise RunError(f"the Ray cluster was lost: {_first_line(error)}") from error
        return parcel, ""

    def cancel(self, references: Sequence[Any]) -> None:
        """Stop tasks that nobody waits for any more."""
        for reference in references:
            with contextlib.suppress(Exception):
                self.ray.cancel(reference, force=True)


def _carry_out(paths: Sequence[str], work: bytes, task: bytes, slot: int) -> Parcel:
    """What a worker does."""
    sys.path.extend(path for path in paths if path not in sys.path)
    return carry_out(work, task, slot)


@contextlib.contextmanager
def _cluster(address: str, jobs: int) -> Iterator[_Cluster]:
    """Connect to a cluster, or start one, and afterwards end what was begun."""
    _require_answer(os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address)
    # nothing is sent to Ray's makers unless somebody wishes it
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with _quiet():
        import ray

        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if not address:
            settings |= {"address": "local", "num_cpus": jobs, "include_dashboard": False}
        else:
            settings |= {"address": address}
        ours = not ray.is_initialized()
        if ours:
            _connect(ray.init, settings)
    # Ray prints on stdout that a worker died, which is ours to say
    machinery = importlib.import_module("ray._private.worker")
    talkative = getattr(machinery, "_worker_logs_enabled", True)
    machinery._worker_logs_enabled = False  # type: ignore[attr-defined]
    try:
        yield _Cluster(ray, jobs, () if address else [path for path in sys.path if os.path.isdir(path)])
    finally:
        if ours:
            ray.shutdown()
        machinery._worker_logs_enabled = talkative  # type: ignore[attr-defined]


def _connect(init: Callable[..., Any], settings: dict[str, Any]) -> None:
    """Start or connect.

    Raises:
        RunError: If that fails.
    """
    try:
        init(**settings)
    except Exception as error:
        if settings["address"] == "local":
            raise RunError(f"executor 'ray': no cluster can be started: {_first_line(error)}") from error
        address, cause = settings["address"], _first_line(error).rstrip(".")
        if address == AUTO:
            raise RunError(_absence(address, cause)) from error
        raise RunError(
            f"executor.address: the Ray cluster at {address} takes no connection ({cause}); it must have this version "
            "of Ray, and a token if it asks for one (RAY_AUTH_MODE=token and RAY_AUTH_TOKEN)"
        ) from error


def _require_answer(address: str) -> None:
    """Find within seconds that no cluster is there; Ray itself would try for minutes.

    Ray speaks gRPC, that is HTTP/2, whose server answers the first words of a client with its settings (RFC 9113, 3.4).

    Raises:
        RunError: If nobody answers, or not so.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return
    cause = "what answers there is no Ray"
    try:
        with socket.create_connection((found["host"].strip("[]"), int(found["port"])), PATIENCE) as connection:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS)
            if connection.recv(len(_SETTINGS))[3:4] == _SETTINGS[3:4]:
                return
    except (OSError, OverflowError) as error:
        silent = isinstance(error, TimeoutError)
        cause = f"no answer within {PATIENCE:.0f} seconds" if silent else getattr(error, "strerror", "") or str(error)
    raise RunError(_absence(address, cause))


def _absence(address: str, cause: str) -> str:
    cure = "start one by 'ray start --head', or leave the address out"
    return f"executor.address: no Ray cluster at {address} ({cause}); {cure}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Ray says about its own future from the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", "Ray Client connection timed out", UserWarning)
        yield


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
