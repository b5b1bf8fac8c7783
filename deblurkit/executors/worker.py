"""The other side of `local`: a process that does what it is sent until there is nothing more."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait

from deblurkit.executors.parcels import carry_out


def serve(pipe: Connection, slot: int, work: bytes) -> None:
    """Do one task after the other until the pipe is closed.

    Args:
        pipe: Brings pickled tasks, and takes a pickled `Parcel` for each.
        slot: Number of this worker.
        work: The pickled work.
    """
    # Ctrl-C reaches every process of a terminal; the executor alone decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()
    # stdout belongs to the result of the command
    os.dup2(2, 1)
    while True:
        try:
            task = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        pipe.send_bytes(pickle.dumps(carry_out(work, task, slot)))


def _follow() -> None:
    """Die with the parent, however it died."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
