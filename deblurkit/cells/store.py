"""The run folder: what every cell came to, so that nothing is done twice."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deblurkit.cells.carry_out import Outcome
from deblurkit.cells.cell import FORMAT, Cell
from deblurkit.errors import UsageError
from deblurkit.files import atomic_write, check_writable
from deblurkit.images import viewable
from deblurkit.record import write_text

CELL = "cell.json"


@dataclass
class Store:
    """Outcomes by key, in a folder: ``cells/KEY/cell.json`` with ``image.png`` and ``kernel.npy`` beside it.

    The document is written last, so a cell is finished exactly when it is there. Writing replaces what was there.

    Attributes:
        folder: The run folder.
        damaged: What could not be read, one sentence a cell; it is done anew.
    """

    folder: Path
    damaged: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Find out, before hours of computing, whether the folder can be written to.

        Raises:
            UsageError: If not.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{self.folder}: is a file, not a run folder; name another place by -o")
        check_writable(self.folder / "table.json", overwrite=True)

    def read(self, cell: Cell) -> dict[str, Any] | None:
        """The document of a finished cell, or ``None`` where there is none, or none that can be believed."""
        path = self._place(cell) / CELL
        if not path.exists():
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(document, dict) or document.get("key") != cell.key or document.get("format") != FORMAT:
                raise ValueError("it is of another cell")
            _require_sense(document)
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            cause = " ".join(str(error).split()) or type(error).__name__
            self.damaged.append(f"{path}: is damaged ({cause}); the cell is carried out anew")
            return None
        return document

    def write(self, cell: Cell, outcome: Outcome) -> dict[str, Any]:
        """Keep an outcome; its document.

        Raises:
            RunError: If the system refuses.
        """
        place = self._place(cell)
        document = {
            "format": FORMAT,
            "key": cell.key,
            "layout": cell.case.layout,
            "case": cell.case.name,
            "group": cell.case.group,
            "role": cell.role,
            "seed": cell.seed,
            "config": dict(cell.config),
            "identity": dict(cell.identity),
            **outcome.document,
        }
        if outcome.image is not None:
            atomic_write(place / "image.png", partial(_save_picture, outcome.image), True)
        if outcome.kernel is not None:
            atomic_write(place / "kernel.npy", partial(_save_array, outcome.kernel), True)
        write_text(place / CELL, json.dumps(document, indent=1) + "\n", True)
        return document

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from working in the folder meanwhile; a process that dies lets it go.

        Raises:
            UsageError: If another one is at work there.
        """
        try:
            import fcntl
        except ImportError:  # Windows has no such locks
            yield
            return
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{self.folder}: another process is at work in it; wait for it, or name another folder by -o"
                ) from None
            except OSError:  # a file system without locks
                pass
            yield

    def image(self, cell: Cell) -> NDArray[np.uint8] | None:
        """The resulting picture of a finished cell, (H, W) or (H, W, 3), if it is there."""
        try:
            with Image.open(self._place(cell) / "image.png") as picture:
                return np.asarray(picture, dtype=np.uint8)
        except (OSError, ValueError, SyntaxError):
            return None

    def kernel(self, cell: Cell) -> NDArray[np.float32] | None:
        """The kernel (h, w) that a finished cell found, if it is there."""
        try:
            values: NDArray[np.float32] = np.load(self._place(cell) / "kernel.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return values if values.ndim == 2 else None

    def _place(self, cell: Cell) -> Path:
        return self.folder / "cells" / cell.key


def _save_picture(values: NDArray[np.float32], file: BinaryIO) -> None:
    """Write a picture to look at; its scores were taken from the unrounded one."""
    Image.fromarray(viewable(values)).save(file, format="PNG")


def _save_array(values: NDArray[np.float32], file: BinaryIO) -> None:
    np.save(file, values)


def _require_sense(document: dict[str, Any]) -> None:
    """Check what tables and pages will read.

    Raises:
        ValueError: If something is of another kind than what is written; likewise ``KeyError`` and ``TypeError``.
    """
    if document["status"] not in ("ok", "failed"):
        raise ValueError(f"its status is {document['status']!r}")
    if document["status"] == "failed":
        if not isinstance(document["error"], str):
            raise ValueError("its error is no text")
        return
    numbers = [*document["scores"].values(), document.get("seconds", 0.0), document.get("memory_bytes", 0.0)]
    rows = [*document.get("history", []), *document.get("curve", [])]
    if not all(map(_is_number, [*numbers, *(row["step"] for row in rows)])):
        raise ValueError("a score, a time or a step is no number")
    if not all(value is None or _is_number(value) for row in rows for value in row.values()):
        raise ValueError("a point of a curve is no number")
    quality = document.get("quality", {"flag": "", "reasons": []})
    texts = [quality["flag"], *quality["reasons"], *document.get("notes", []), document.get("stopped", "")]
    if not all(isinstance(text, str) for text in texts) or not _is_number(document.get("kernel_size") or 0):
        raise ValueError("what it says about its quality makes no sense")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
