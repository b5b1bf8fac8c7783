"""Carry cells out: those that are finished are looked up, the others are given to an executor."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, cast

from deblurkit.cells.carry_out import Outcome, carry_out, failed
from deblurkit.cells.cell import Cell
from deblurkit.cells.store import Store
from deblurkit.core.executor import Executor, Finished
from deblurkit.errors import DeblurkitError


@dataclass
class Tally:
    """How far it is.

    Attributes:
        total: Different cells.
        found: Of them those that were finished before.
        done: Those that are finished now.
        failed: Those among them that failed.
    """

    total: int = 0
    found: int = 0
    done: int = 0
    failed: int = 0


@dataclass
class Results:
    """Documents of cells, by key.

    Attributes:
        documents: What every finished cell came to.
        keyless: Why a cell has no key, and so cannot be carried out, by layout and name of its case.
    """

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    keyless: dict[str, str] = field(default_factory=dict)

    def of(self, cell: Cell) -> dict[str, Any]:
        """The document of a cell; a failed one where it has no key, one of status ``missing`` before it is done."""
        problem = cell.problem or self.keyless.get(cell.case.name, "")
        if problem:
            return failed(problem).document
        return self.documents.get(cell.key, {"status": "missing", "error": "not carried out"})


Told = Callable[[Cell, dict[str, Any], Tally], None]


def carry_out_all(
    cells: Iterable[Cell], store: Store, executor: Executor[Any], told: Told, *, fresh: bool = False
) -> Results:
    """Carry out every cell that is not finished; equal cells once.

    An outcome is kept as soon as it is there, so whatever ends this, even a power cut, costs only the cells at work.
    A cell that failed in an earlier run is tried again.

    Args:
        cells: The cells.
        store: Where outcomes are kept.
        executor: Where cells are computed.
        told: Is told of every outcome, those found in the store included.
        fresh: Whether finished cells are carried out anew as well.

    Returns:
        The documents of all cells.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; what was finished is kept.
        RunError: If outcomes cannot be written.
    """
    results = Results()
    unique: dict[str, Cell] = {}
    hopeless = []
    for cell in cells:
        try:
            if not cell.problem:
                unique.setdefault(cell.key, cell)
        except DeblurkitError as error:  # a file of the case is missing
            results.keyless[cell.case.name] = str(error)
        if cell.problem or cell.case.name in results.keyless:
            hopeless.append(cell)
    tally = Tally(total=len(unique) + len(hopeless))
    for cell in hopeless:
        tally.done += 1
        tally.failed += 1
        told(cell, results.of(cell), tally)
    left: list[Cell] = []
    for cell in unique.values():
        document = None if fresh else store.read(cell)
        if document is None or document["status"] != "ok":
            left.append(cell)
            continue
        tally.found += 1
        tally.done += 1
        results.documents[cell.key] = document
        told(cell, document, tally)
    arriving = cast("Generator[Finished, None, None]", executor.run(carry_out, left))
    with closing(arriving):  # whatever ends this must not leave workers behind
        for finished in arriving:
            cell = left[finished.index]
            outcome: Outcome = failed(finished.error) if finished.error else finished.value
            document = store.write(cell, outcome)
            results.documents[cell.key] = document
            tally.done += 1
            tally.failed += document["status"] != "ok"
            told(cell, document, tally)
    return results
