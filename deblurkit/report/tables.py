"""Tables as they are shown: numbers set, the best one marked, missing ones told apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

from deblurkit.report.data import Column, Table

MISSING = "–"
"""What stands where there is no value."""


@dataclass(frozen=True)
class Cell:
    """A value as it is shown.

    Attributes:
        text: What is read.
        number: What it is sorted by, as Javascript reads it, or empty for texts.
        missing: Whether there is no value.
        best: Whether none in its column is better.
    """

    text: str
    number: str = ""
    missing: bool = False
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A row as it is shown; `failure` is empty where nothing failed."""

    cells: tuple[Cell, ...]
    failure: str = ""


def shown_rows(table: Table) -> list[Row]:
    """The rows of a table, with the best value of every column marked."""
    best = {column.key: _best(column, table.rows) for column in table.columns}
    rows = []
    for row in table.rows:
        candidate = _is_candidate(row)
        cells = tuple(_cell(column, row.get(column.key), best[column.key], candidate) for column in table.columns)
        own_column = any(column.key == "failure" for column in table.columns)
        failure = str(row.get("failure") or "")
        rows.append(Row(cells, "failed" if failure and own_column else failure))
    return rows


def number_text(value: float, digits: int) -> str:
    """A number with so many decimals; with two significant digits where nothing but zeros would be left of it."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}" if abs(value) < 1e15 else f"{value:.{digits}e}"
    if value and not float(text):
        text = f"{value:.1e}"
    return text.replace("-", "−") if value else text.lstrip("-")


def _cell(column: Column, value: object, best: float | None, candidate: bool) -> Cell:
    """One value; truth values are words, not numbers."""
    number = _number(value)
    if number is not None:
        if math.isnan(number):
            return Cell(MISSING, missing=True)
        text = number_text(number, column.digits) if column.numeric else f"{number:.10g}".replace("-", "−")
        sign = "-" if number < 0 else ""
        order = f"{sign}Infinity" if math.isinf(number) else repr(number)
        return Cell(text, order, best=candidate and best is not None and number == best)
    if value is None or value == "":
        return Cell(MISSING, missing=True)
    return Cell(str(value))


def _number(value: object) -> float | None:
    """A value as a number, numpy's included; ``None`` if it is none."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else None


def _best(column: Column, rows: tuple[Mapping[str, str | float | None], ...]) -> float | None:
    """The best number of a column, where there is something to choose from."""
    if not column.better:
        return None
    values = [row.get(column.key) for row in rows if _is_candidate(row)]
    numbers = [number for value in values if (number := _number(value)) is not None and not math.isnan(number)]
    if len(numbers) < 2:
        return None
    return max(numbers) if column.better == "higher" else min(numbers)


def _is_candidate(row: Mapping[str, str | float | None]) -> bool:
    """Whether a row may be the best one."""
    return not row.get("failure") and not row.get("reference")
