"""What travels between an executor and its workers: bytes, so that whatever cannot be sent is told apart early."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, TypeAlias

from deblurkit.core.executor import Finished, sentence
from deblurkit.errors import RunError

Parcel: TypeAlias = tuple[bytes, str]
"""The pickled value of a task, and the sentence that says why there is none."""


def pack(thing: Any, what: str, dumps: Callable[[Any], bytes] = pickle.dumps) -> bytes:
    """Pickle something for a worker.

    Args:
        thing: Anything.
        what: What it is, for the message: ``the work``.
        dumps: Pickles it.

    Raises:
        RunError: If it cannot be pickled.
    """
    try:
        return dumps(thing)
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        cure = "; it must be a function of a module, or a functools.partial of one" if callable(thing) else ""
        raise RunError(f"{what} cannot be sent to a worker{cure} ({cause})") from error


def carry_out(work: bytes, task: bytes, slot: int) -> Parcel:
    """Unpack a work and a task, do it, and pack what came of it; never raises."""
    try:
        try:
            function = pickle.loads(work)
        except Exception as error:
            return b"", f"the work cannot be read by its worker: {sentence(error)}"
        try:
            thing = pickle.loads(task)
        except Exception as error:
            return b"", f"the task cannot be read by its worker: {sentence(error)}"
        return pack(function(thing, slot), "the result"), ""
    except BaseException as error:
        return b"", sentence(error).replace("sent to a worker", "sent back by its worker")


def unpack(index: int, parcel: Parcel) -> Finished:
    """Return the task that a parcel is of."""
    content, error = parcel
    if error:
        return Finished(index, error=error)
    try:
        return Finished(index, pickle.loads(content))
    except Exception as cause:
        return Finished(index, error=f"its result cannot be read: {sentence(cause)}")
