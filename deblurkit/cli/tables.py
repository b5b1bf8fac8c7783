"""What `benchmark` and `ablate` have in common: options, progress, the table, the report."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from deblurkit.cli import console
from deblurkit.errors import ExitCode, UsageError
from deblurkit.registry import registry

if TYPE_CHECKING:
    from deblurkit.cells.cell import Cell
    from deblurkit.cells.engine import Results, Tally
    from deblurkit.cells.row import Row
    from deblurkit.cells.store import Store
    from deblurkit.cells.table import Shape
    from deblurkit.config import Config
    from deblurkit.core.executor import Executor
    from deblurkit.datasets.case import Case
    from deblurkit.scores import Protocol

LONGEST_SILENCE = 300.0
"""Seconds after which a line says that it is still at work."""
FORMATS = ("table", "markdown", "csv", "json")


@dataclass(frozen=True)
class TableOptions:
    """What the user wants to happen around the cells.

    Attributes:
        out: The run folder; ``None`` for the usual one.
        layout: Layout of the data set, or ``auto``; empty where the study says it.
        only: Patterns of names of pictures; empty takes all.
        seeds: Seeds; empty for the usual ones.
        extras: Further scores.
        fresh: Whether finished cells are carried out anew.
        format: How the table is printed.
        report: HTML page to write, or ``None``.
        dry_run: Whether to print what would be done, and stop.
        quiet: Whether progress is left out.
    """

    out: Path | None
    layout: str
    only: tuple[str, ...]
    seeds: tuple[int, ...]
    extras: tuple[str, ...]
    fresh: bool
    format: str
    report: Path | None
    dry_run: bool
    quiet: bool


class Seeds(click.ParamType):
    """Reads seeds such as ``0,1,2``."""

    name = "integers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the seeds, each once."""
        if isinstance(value, tuple):
            return value
        try:
            seeds = tuple(dict.fromkeys(int(one) for one in str(value).split(",")))
        except ValueError:
            seeds = (-1,)
        if not all(0 <= one < 2**32 for one in seeds):
            self.fail(f"{value!r} is no list of seeds; write integers from 0 on, such as 0,1,2", param, ctx)
        return seeds


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command; they arrive as one ``options`` argument."""

    @click.option("-o", "--out", type=click.Path(path_type=Path), help="Run folder.  [default: below runs/]")
    @click.option("--layout", default="", help="Layout of the data set.  [default: found by looking]")
    @click.option(
        "--only", multiple=True, metavar="PATTERN", help="Pictures by name, such as 'im1_*'; may be repeated."
    )
    @click.option(
        "--seeds",
        type=Seeds(),
        default=(),
        help="Seeds, such as 0,1,2.  [default: those of the study; three, or one where nothing is drawn at random]",
    )
    @click.option("--score", "extras", multiple=True, metavar="NAME", help="A further score; may be repeated.")
    @click.option("--fresh", is_flag=True, help="Carry finished cells out anew.")
    @click.option(
        "--format", "format_", type=click.Choice(FORMATS), default=FORMATS[0], help="How the table is printed."
    )
    @click.option(
        "--report",
        type=click.Path(path_type=Path),
        help="Write an HTML page with pictures and curves, in the place of an earlier one.",
    )
    @click.option("--dry-run", is_flag=True, help="Print what would be done, and stop.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress.")
    @wraps(command)
    def wrapper(
        *args: Any,
        out: Path | None,
        layout: str,
        only: tuple[str, ...],
        seeds: tuple[int, ...],
        extras: tuple[str, ...],
        fresh: bool,
        format_: str,
        report: Path | None,
        dry_run: bool,
        quiet: bool,
        **others: Any,
    ) -> Any:
        options = TableOptions(out, layout, only, seeds, extras, fresh, format_, report, dry_run, quiet)
        return command(*args, options=options, **others)

    return wrapper


@dataclass(frozen=True)
class Task:
    """A table that is to be made.

    Attributes:
        rows: Its rows.
        protocol: How its data set is scored.
        shape: Its columns.
        folder: The run folder.
        lead: What stands above the table on the page.
        document: What is carried out, as plain values for the page and the record.
    """

    rows: Sequence[Row]
    protocol: Protocol
    shape: Shape
    folder: Path
    lead: tuple[str, ...]
    document: Mapping[str, Any]


def cases_of(sources: Sequence[Path], layout: str, only: Sequence[str]) -> list[Case]:
    """The pictures of a data set that are meant.

    Raises:
        UsageError: If there is none.
    """
    from deblurkit.datasets import find_cases

    return called(find_cases(list(sources), layout or "auto"), only)


def called(cases: list[Case], only: Sequence[str], asked: str = "--only") -> list[Case]:
    """The cases whose names fit a pattern; all of them where there are no patterns.

    Args:
        cases: All cases.
        only: The patterns.
        asked: Where they stand, for the message.

    Raises:
        UsageError: If a pattern fits none.
    """
    from fnmatch import fnmatchcase

    for pattern in only:
        if not any(fnmatchcase(case.name, pattern) for case in cases):
            names = ", ".join(case.name for case in cases[:3]) + (", ..." if len(cases) > 3 else "")
            raise UsageError(f"{asked}: no picture is called {pattern!r}; they are called {names}")
    return [case for case in cases if any(fnmatchcase(case.name, pattern) for pattern in only)] if only else cases


def make_table(task: Task, options: TableOptions, executor: Callable[[], Executor[Any]]) -> int:
    """Carry out what is not finished, print the table, write the page.

    Returns:
        The exit code: 1 if a cell or a row failed.
    """
    from deblurkit.cells.engine import carry_out_all
    from deblurkit.cells.store import Store
    from deblurkit.scores import extra_scores

    asked = tuple(scorer.score for scorer in extra_scores(options.extras))
    task = replace(task, protocol=replace(task.protocol, scores=(*task.protocol.scores, *asked)))
    store = Store(task.folder)
    if options.dry_run:
        from deblurkit.cli.matrix import show_matrix

        return show_matrix(task, store, options.format)
    if options.report is not None:
        from deblurkit.report import check_report

        check_report(options.report, overwrite=True)
    workers = executor()  # before anything is touched
    store.check()
    for row in task.rows:
        if row.error:
            console.error(f"{row.error}; the other rows are carried out")
    cells = [cell for row in task.rows for cell in row.cells]
    with store.claimed(), Teller(task, options.quiet) as teller:
        try:
            results = carry_out_all(cells, store, workers, teller, fresh=options.fresh)
        except KeyboardInterrupt:
            again = "the same command without --fresh goes on" if options.fresh else "the same command goes on"
            done, total = teller.tally.done, teller.tally.total or len(cells)
            console.note(f"Interrupted: {done} of {total} cells are finished and kept in {task.folder}; {again}.")
            return ExitCode.INTERRUPTED
        for text in store.damaged:
            console.warn(text)
        return publish(task, options, store, results)


class Teller:
    """Says on stderr what became of every cell that was carried out, and that it is alive where that takes long.

    Use it as a context manager.
    """

    def __init__(self, task: Task, quiet: bool) -> None:
        from deblurkit.cells.engine import Tally
        from deblurkit.cells.row import name_of

        self.quiet = quiet
        self.protocol = task.protocol
        self.names = {id(cell): name_of(row) for row in task.rows for cell in row.cells}
        self.tally = Tally()
        self.started = self.spoken = time.monotonic()
        self.over = threading.Event()

    def __enter__(self) -> Self:
        if not self.quiet:
            threading.Thread(target=self._live, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()

    def __call__(self, cell: Cell, document: Mapping[str, Any], tally: Tally) -> None:
        """Say it in one line; what was finished before is counted once."""
        self.tally = tally
        fresh = tally.done - tally.found
        where = f"{cell.case.name}, {self.names.get(id(cell), cell.role)}" + (
            f", seed {cell.seed}" if cell.seed else ""
        )
        if document["status"] != "ok":
            error = str(document["error"])
            console.error(error if cell.case.name in error else f"{where}: {error}")
        elif fresh and not self.quiet:
            if fresh == 1 and tally.found:
                console.note(f"{tally.found} of {tally.total} cells are finished already")
            value = document["scores"].get(self.protocol.primary)
            unit = next(one.unit for one in self.protocol.scores if one.name == self.protocol.primary)
            score = "" if value is None else f"  {value:.2f} {unit}".rstrip()
            took = f"  {document['seconds']:.1f} s" if "seconds" in document else ""
            left = (time.monotonic() - self.started) / fresh * (tally.total - tally.done)
            console.note(f"{where}{score}{took}  ({tally.done}/{tally.total}, {_duration(left)} left)")
        self.spoken = time.monotonic()

    def _live(self) -> None:
        """Give a sign of life whenever nothing was said for long: after 10 s at first, then ever more rarely."""
        patience = console.PLAIN_INTERVAL
        while not self.over.wait(1.0):
            if time.monotonic() - self.spoken > patience:
                at_work = f"at work: {self.tally.done} of {self.tally.total} cells" if self.tally.total else "at work"
                console.note(f"{at_work}, {_duration(time.monotonic() - self.started)} so far")
                self.spoken = time.monotonic()
                patience = min(2 * patience, LONGEST_SILENCE)


def publish(task: Task, options: TableOptions, store: Store, results: Results) -> int:
    """Print the table, keep it in the run folder, write the page; the exit code."""
    from deblurkit.cells.formats import FORMATS as WRITERS
    from deblurkit.cells.page import page_of
    from deblurkit.cells.row import conclude
    from deblurkit.cells.table import cell_table, document_of, group_table, summary_table
    from deblurkit.record import environment, write_text

    protocol = task.protocol
    rows = conclude(task.rows, results, protocol)
    summary = summary_table(rows, protocol, task.shape)
    groups = group_table(rows, protocol, task.shape.labels)
    every = cell_table(rows, protocol, task.shape.labels)
    tables = [summary, *([groups] if groups else [])]
    machine = environment(registry(), "see cells")
    document = {
        "tables": [document_of(table) for table in tables],
        "cells": document_of(every)["rows"],
        **task.document,
        "environment": machine,
    }
    write_text(store.folder / "table.json", json.dumps(document, indent=2, allow_nan=False) + "\n", True)
    write_text(store.folder / "cells.csv", WRITERS["csv"](every) + "\n", True)
    if options.format == "json":
        console.document(document)
    else:
        parts = tables if options.format != "csv" else tables[:1]
        console.result("\n\n".join(WRITERS[options.format](table) for table in parts))
    if options.report is not None:
        from deblurkit.report import write_report

        # what stands at the top of the page is not said again below its first table
        notes = tuple(note for note in summary.notes if note not in task.lead)
        page = page_of(
            task.shape.title,
            task.lead,
            rows,
            [replace(summary, title="Summary", notes=notes), *tables[1:], every],
            protocol,
            store,
            config=task.document,
            environment=machine,
        )
        write_report(options.report, page, overwrite=True)
        console.note(f"{options.report}: the report")
    scored = [one for row in rows for one in row.scored]
    wrong = any(row.error for row in task.rows) or any(protocol.primary not in one.values for one in scored)
    return ExitCode.RUN_FAILED if wrong else ExitCode.DONE


def computed_alike(config: Config) -> dict[str, Any]:
    """Values of ``run`` that make cells the same wherever they are computed: one thread, unless it was chosen."""
    return {} if config.run.threads else {"threads": 1}


def _duration(seconds: float) -> str:
    from deblurkit.cli.batch import duration

    return duration(seconds)
