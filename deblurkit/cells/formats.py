"""A table as text: for eyes, for Markdown, for spreadsheets."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Callable, Mapping

from deblurkit.report import Column, Table

WIDTH = 120
"""Of the lines below a table; the table itself is as wide as it has to be."""
Value = str | float | None


def plain_text(table: Table) -> str:
    """Columns aligned by blanks, numbers to the right, definitions below."""
    titles, lines = _texts(table)
    widths = [max(len(cells[index]) for cells in (titles, *lines)) for index in range(len(titles))]

    def aligned(cells: list[str]) -> str:
        padded = [
            text.rjust(width) if column.numeric else text.ljust(width)
            for text, width, column in zip(cells, widths, table.columns, strict=True)
        ]
        return "  ".join(padded).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    notes = [line for note in notes_of(table) for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ")]
    return "\n".join([table.title, aligned(titles), rule, *map(aligned, lines), *([""] if notes else []), *notes])


def markdown(table: Table) -> str:
    """A table of GitHub's Markdown, definitions below."""
    titles, lines = _texts(table)
    notes = notes_of(table)
    marks = ["---:" if column.numeric else "---" for column in table.columns]
    cells = ["| " + " | ".join(text.replace("|", r"\|") for text in line) + " |" for line in (titles, marks, *lines)]
    return "\n".join([f"**{table.title}**", "", *cells, *([""] if notes else []), *(f"- {note}" for note in notes)])


def comma_separated(table: Table) -> str:
    """RFC 4180, numbers with all their digits; no definitions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.key for column in table.columns])
    writer.writerows([["" if (v := line.get(c.key)) is None else v for c in table.columns] for line in table.rows])
    return text.getvalue().removesuffix("\n")


FORMATS: Mapping[str, Callable[[Table], str]] = {"table": plain_text, "markdown": markdown, "csv": comma_separated}
"""How a table may be printed, apart from JSON."""


def notes_of(table: Table) -> list[str]:
    """What stands below a table: its own notes, then what the columns say."""
    return [*table.notes, *(f"{column.title}: {column.help}" for column in table.columns if column.help)]


def text_of(column: Column, value: Value) -> str:
    """A value as it stands in a table."""
    if value is None or value == "":
        return "-"
    return value if isinstance(value, str) else f"{value:.{column.digits}f}"


def _texts(table: Table) -> tuple[list[str], list[list[str]]]:
    lines = [
        [" ".join(text_of(column, line.get(column.key)).split()) for column in table.columns] for line in table.rows
    ]
    return [column.title for column in table.columns], lines
