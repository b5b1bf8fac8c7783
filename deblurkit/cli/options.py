"""Options of the commands that write pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True)
class Options:
    """What the user wants to happen around the run itself.

    Attributes:
        out: Where the results go; ``None`` for beside the inputs.
        overwrite: Whether existing files may be replaced.
        resume: Whether pictures whose results are all there are skipped.
        record: Folder for a record of every run, or ``None``.
        report: HTML page to write, or ``None``.
        json: Whether stdout carries one JSON document instead of paths.
        dry_run: Whether to show the plan and stop.
        quiet: Whether progress is left out.
    """

    out: Path | None
    overwrite: bool
    resume: bool
    record: Path | None
    report: Path | None
    json: bool
    dry_run: bool
    quiet: bool


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command; they arrive as one ``options`` argument."""

    @click.option(
        "-o",
        "--out",
        type=click.Path(path_type=Path),
        help="Result file (one input, image suffix) or folder.  [default: beside each input]",
    )
    @click.option("--overwrite", is_flag=True, help="Replace existing files.")
    @click.option("--resume", is_flag=True, help="Skip pictures whose results are there already.")
    @click.option(
        "--record",
        type=click.Path(path_type=Path),
        help="Folder for config.json, history.jsonl and environment.json of every picture.",
    )
    @click.option("--report", type=click.Path(path_type=Path), help="Write an HTML page with pictures and kernels.")
    @click.option("--json", "json_", is_flag=True, help="Print one JSON document on stdout.")
    @click.option("--dry-run", is_flag=True, help="Print the plan and where every value comes from, and stop.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress.")
    @wraps(command)
    def wrapper(
        *args: Any,
        out: Path | None,
        overwrite: bool,
        resume: bool,
        record: Path | None,
        report: Path | None,
        json_: bool,
        dry_run: bool,
        quiet: bool,
        **others: Any,
    ) -> Any:
        options = Options(out, overwrite, resume, record, report, json_, dry_run, quiet)
        return command(*args, options=options, **others)

    return wrapper
