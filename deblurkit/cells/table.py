"""From rows to a table: the columns that tell rows apart, then every score by its name, then cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deblurkit.cells.row import BAD_RATIO, RowResult, name_of
from deblurkit.cells.statistics import CONFIDENCE
from deblurkit.report import Column, Table
from deblurkit.scores import Protocol, Score

Value = str | float | None
MOST_LINES = 16
"""A longer table of pictures is folded on a page."""


@dataclass(frozen=True)
class Shape:
    """Which columns a table has.

    Attributes:
        labels: Columns that name a row: title by key.
        differences: Whether rows are compared with the first one.
        title: Title of the table.
        notes: Further lines below it.
    """

    labels: Mapping[str, str]
    differences: bool
    title: str
    notes: tuple[str, ...] = ()


def summary_table(rows: Sequence[RowResult], protocol: Protocol, shape: Shape) -> Table:
    """One line a row; what no row has is no column."""
    primary = next(score for score in protocol.scores if score.name == protocol.primary)
    others = [score for score in protocol.scores if score.name != protocol.primary]
    columns = [
        *(Column(key, title, numeric=False) for key, title in shape.labels.items()),
        Column("count", "n", "Cells with this score, of all.", numeric=False),
        *_primary_columns(primary),
        *([_difference(primary), _interval()] if shape.differences else []),
        *(_published(score) for score in protocol.scores),
        Column("failures", "failures %", FAILURES, digits=1, better="lower"),
        *map(column_of, others),
        Column("seconds", "s", "Mean seconds a picture.", digits=2, better="lower"),
        Column("memory", "MB", "Most memory of a cell, the program included.", digits=0, better="lower"),
    ]
    lines = [_line(row, protocol, shape.differences) for row in rows]
    used = tuple(column for column in columns if any(line.get(column.key) not in (None, "") for line in lines))
    wrong = [
        f"{name_of(row.row)}: {line['failure']}" for row, line in zip(rows, lines, strict=True) if "failure" in line
    ]
    return Table(shape.title, used, tuple(lines), (*shape.notes, *wrong, *remarks(rows)))


def remarks(rows: Sequence[RowResult]) -> list[str]:
    """What a reader of the table has to know about how its cells came to be."""
    documents = [one.document for row in rows for one in row.scored]
    notes = []
    for row in rows:
        stopped = Counter(one.document.get("stopped", "") for one in row.scored)
        notes += [f"{name_of(row.row)}: {n} ended early ({why})" for why, n in stopped.items() if why]
    for key, word in (("torch", "versions of PyTorch"), ("device", "devices"), ("threads", "numbers of threads")):
        found = sorted({str(document[key]) for document in documents if key in document})
        if len(found) > 1:
            notes.append(
                f"Cells were computed with several {word}: {', '.join(found)}; carry them out anew by --fresh."
            )
    return notes + list(dict.fromkeys(note for document in documents for note in document.get("notes", [])))


SPREAD = {"sd": "standard deviation", "median": "median", "worst": "least favourable value"}
FAILURES = (
    "Share of the cells without a result, or with one that is no better than the blurry picture (once aligned), or "
    f"whose squared error is more than {BAD_RATIO:g} times that of the oracle."
)


def column_of(score: Score) -> Column:
    """The column of a score, with its definition and whether published tables have it."""
    return Column(score.name, score.title, definition(score), digits=score.digits, better=score.better)


def definition(score: Score) -> str:
    """What a score is, and whether published tables have it."""
    return f"{score.text.removesuffix('.')} ({'as published' if score.published else 'corrected'})."


def cell_table(rows: Sequence[RowResult], protocol: Protocol, labels: Mapping[str, str]) -> Table:
    """One line a cell."""
    columns = (
        *(Column(key, title, numeric=False) for key, title in labels.items()),
        Column("case", "picture", numeric=False),
        Column("seed", "seed", digits=0),
        *map(column_of, protocol.scores),
        Column("kernel_size", "kernel px", digits=0),
        Column("seconds", "s", digits=2),
        Column("quality", "quality", "What the run itself thought of its result.", numeric=False),
        Column("stopped", "stopped", "Why the estimation ended early.", numeric=False),
        Column("failure", "failure", numeric=False),
    )
    lines = tuple(
        {
            **row.row.label,
            "case": one.cell.case.name,
            "seed": float(one.cell.seed),
            **one.values,
            "kernel_size": one.document.get("kernel_size"),
            "seconds": one.document.get("seconds"),
            "quality": one.document.get("quality", {}).get("flag", ""),
            "stopped": one.document.get("stopped", ""),
            "failure": one.failure,
            **({"reference": 1.0} if row.row.reference else {}),
        }
        for row in rows
        for one in row.scored
    )
    same = len({line["seed"] for line in lines}) < 2
    shown = tuple(column for column in columns if not (same and column.key == "seed"))
    return Table("Every picture", shown, lines, folded=len(lines) > MOST_LINES)


def group_table(rows: Sequence[RowResult], protocol: Protocol, labels: Mapping[str, str]) -> Table | None:
    """Means of the primary score by category, where the data set has categories."""
    groups = list(dict.fromkeys(one.cell.case.group for row in rows for one in row.scored))
    if len(groups) < 2:
        return None
    primary = next(score for score in protocol.scores if score.name == protocol.primary)
    columns = (
        *(Column(key, title, numeric=False) for key, title in labels.items()),
        *(Column(f"group:{group}", group or "-", digits=primary.digits, better=primary.better) for group in groups),
        Column("average", "average", "Mean of the categories.", digits=primary.digits, better=primary.better),
    )
    lines = []
    for row in rows:
        means = {}
        for group in groups:
            values = [
                one.values[primary.name]
                for one in row.scored
                if one.cell.case.group == group and primary.name in one.values
            ]
            means[f"group:{group}"] = sum(values) / len(values) if values else None
        there = [value for value in means.values() if value is not None]
        average = sum(there) / len(there) if len(there) == len(groups) else None
        lines.append({**row.row.label, **means, "average": average})
    return Table(f"{primary.title} by category", columns, tuple(lines))


def _primary_columns(score: Score) -> list[Column]:
    """The mean under the score's own title, then how it is spread."""

    def column(key: str, title: str, text: str) -> Column:
        better = "" if key == "sd" else score.better
        return Column(f"{score.name}:{key}", title, text, digits=score.digits, better=better)

    spread = [column(word, word, f"The same, {text}.") for word, text in SPREAD.items()]
    return [column("mean", score.title, definition(score)), *spread]


def _difference(score: Score) -> Column:
    text = "Mean over pictures of the difference to the first row; the seeds of a picture are averaged first."
    return Column("difference", "to first row", text, digits=score.digits, better=score.better)


def _interval() -> Column:
    text = "Interval of Student's t for that difference over pictures."
    return Column("interval", f"{CONFIDENCE:.0%} interval", text, numeric=False)


def _published(score: Score) -> Column:
    return Column(f"published:{score.name}", f"published {score.title}", "Value of the paper.", digits=score.digits)


def _line(row: RowResult, protocol: Protocol, differences: bool) -> dict[str, Value]:
    line: dict[str, Value] = dict(row.row.label)
    line |= {f"published:{name}": value for name, value in row.row.published.items()}
    if row.row.error:
        return {**line, "count": "failed", "failure": row.row.error}
    done = row.spreads[protocol.primary].count if protocol.primary in row.spreads else 0
    if row.scored:
        line["count"] = f"{done}/{len(row.scored)}" if done < len(row.scored) else str(done)
    for name, spread in row.spreads.items():
        if name == protocol.primary:
            parts = {"mean": spread.mean, "sd": spread.sd, "median": spread.median, "worst": spread.worst}
            line |= {f"{name}:{key}": _number(value) for key, value in parts.items()}
        else:
            line[name] = spread.mean
    if row.row.reference:
        line["reference"] = 1.0
    else:
        line["failures"] = _number(100.0 * row.failures)
    line["seconds"] = _number(row.seconds)
    line["memory"] = _number(row.memory / 1e6)
    if differences and row.difference is not None:
        score = next(one for one in protocol.scores if one.name == protocol.primary)
        line["difference"] = row.difference.mean
        if math.isfinite(row.difference.low):
            low, high = (f"{value:+.{score.digits}f}" for value in (row.difference.low, row.difference.high))
            pictures = row.difference.pictures
            some = pictures < len({one.cell.case.name for one in row.scored})
            line["interval"] = f"{low} to {high}" + (f" (n {pictures})" if some else "")
    errors = list(dict.fromkeys(str(one.document.get("error", "")) for one in row.scored if not one.ok))
    if errors:
        line["failure"] = errors[0] + (f" (and {len(errors) - 1} others)" if len(errors) > 1 else "")
    return line


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def document_of(table: Table) -> dict[str, Any]:
    """A table as plain values for JSON."""
    keys = [column.key for column in table.columns]
    return {
        "title": table.title,
        "columns": [{"key": column.key, "title": column.title, "help": column.help} for column in table.columns],
        "rows": [{key: line.get(key) for key in (*keys, *({"failure"} & line.keys()))} for line in table.rows],
        "notes": list(table.notes),
    }
