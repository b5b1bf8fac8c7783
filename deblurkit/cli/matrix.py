"""What ``--dry-run`` of `benchmark` and `ablate` prints: the rows, their cells, and what is left to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deblurkit.cli import console
from deblurkit.errors import DeblurkitError, ExitCode
from deblurkit.registry import registry

if TYPE_CHECKING:
    from deblurkit.cells.cell import Cell
    from deblurkit.cells.row import Row
    from deblurkit.cells.store import Store
    from deblurkit.cli.tables import Task


def show_matrix(task: Task, store: Store, form: str) -> int:
    """Print the rows, how many cells each has and how many are finished, and about how long the rest will take.

    Returns:
        The exit code: 1 if a row makes no sense.
    """
    from deblurkit.cells.formats import FORMATS
    from deblurkit.report import Column, Table

    lines = [line_of(row, store) for row in task.rows]
    columns = (
        *(Column(key, title, numeric=False) for key, title in task.shape.labels.items()),
        Column("cells", "cells", digits=0),
        Column("finished", "finished", digits=0),
        Column("seconds", "s a cell", "Expected, if this machine stays as busy as it is.", digits=1),
        Column("left", "min left", "Expected, on one worker.", digits=1),
        *([Column("error", "error", numeric=False)] if any(row.error for row in task.rows) else []),
    )
    table = Table(task.shape.title, columns, tuple(lines), (*task.shape.notes, f"Run folder: {task.folder}"))
    if form == "json":
        console.document({"rows": lines, "folder": str(task.folder), **task.document})
    else:
        console.result(FORMATS[form](table))
    return ExitCode.RUN_FAILED if any(row.error for row in task.rows) else ExitCode.DONE


def line_of(row: Row, store: Store) -> dict[str, Any]:
    """One line; the time is that of its first unfinished cell."""
    left = [cell for cell in row.cells if not is_finished(store, cell)]
    seconds = expected_seconds(left[0]) if left else None
    return {
        **row.label,
        "cells": float(len(row.cells)),
        "finished": float(len(row.cells) - len(left)),
        "seconds": seconds,
        "left": None if seconds is None else seconds * len(left) / 60,
        "error": row.error,
    }


def is_finished(store: Store, cell: Cell) -> bool:
    """Whether the outcome of a cell is there."""
    if cell.problem:
        return False
    try:
        document = store.read(cell)
    except DeblurkitError:  # it has no key: a file is missing
        return False
    return document is not None and document["status"] == "ok"


def expected_seconds(cell: Cell) -> float | None:
    """Seconds that a cell will take, roughly, if that can be told."""
    from deblurkit.cells.cell import resolved
    from deblurkit.pipeline import Parts, admitted, observe, prepare
    from deblurkit.pipeline.cost import expect

    if cell.role != "run":
        return None
    try:
        parts = Parts.load(resolved(cell.config, registry()), registry())
        frame = observe(*admitted(cell.case.load().y, None, parts))
        return expect(frame, parts, prepare(frame, parts, registry(), scouting=False)).seconds
    except DeblurkitError:  # to be told when it is carried out
        return None
