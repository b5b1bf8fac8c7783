"""A row of a table: which cells it stands for, and what they came to."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deblurkit.cells.cell import Cell
from deblurkit.cells.engine import Results
from deblurkit.cells.statistics import Difference, Spread
from deblurkit.scores import Protocol, error_ratios

ALIGNED = "psnr-aligned"
RATIO = "error-ratio-ssd"
BAD_RATIO = 3.0
"""Results whose squared error is above this many times the oracle's look wrong (Levin et al. 2009)."""


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        label: What tells it from the others: values by column, such as ``{"variant": "softmax FCN"}``.
        cells: Its cells.
        reference: Whether it is there to compare with (the blurry pictures, the oracle), and not a result.
        published: Published values by name of the score.
        error: Why there are no cells: the configuration makes no sense.
        oracle: Name of the oracle that it is measured against, or that it is; empty where there is none.
    """

    label: Mapping[str, str]
    cells: tuple[Cell, ...]
    reference: bool = False
    published: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    oracle: str = ""


def name_of(row: Row) -> str:
    """What a row is called in a sentence or a legend."""
    return ", ".join(value for value in row.label.values() if value)


@dataclass(frozen=True)
class Scored:
    """A cell and what came of it.

    Attributes:
        cell: The cell.
        document: Its document.
        values: Its scores by name, error ratios among them where there is an oracle.
        failure: Why it counts as a failure, or nothing.
    """

    cell: Cell
    document: Mapping[str, Any]
    values: Mapping[str, float]
    failure: str

    @property
    def ok(self) -> bool:
        """Whether there is a result at all."""
        return bool(self.document["status"] == "ok")


@dataclass(frozen=True)
class RowResult:
    """What the cells of a row came to.

    Attributes:
        row: The row.
        scored: Its cells with their scores.
        spreads: Spread over the finished cells, by name of the score.
        difference: Difference of the primary score to the first row, or ``None``.
    """

    row: Row
    scored: tuple[Scored, ...]
    spreads: Mapping[str, Spread]
    difference: Difference | None

    @property
    def failures(self) -> float:
        """Share of its cells that are failures, in [0, 1]; NaN where there are none at all."""
        return statistics.fmean(bool(one.failure) for one in self.scored) if self.scored else math.nan

    @property
    def seconds(self) -> float:
        """Mean wall time of its finished cells; NaN where nothing was computed."""
        times = [one.document["seconds"] for one in self.scored if "seconds" in one.document]
        return statistics.fmean(times) if times else math.nan

    @property
    def memory(self) -> float:
        """Most memory of a cell, in bytes; NaN where nothing was computed."""
        return max(
            (one.document["memory_bytes"] for one in self.scored if "memory_bytes" in one.document), default=math.nan
        )


@dataclass(frozen=True)
class References:
    """What results are measured against, by name of the case.

    Attributes:
        oracle: Scores with the true kernel, by name of the oracle and of the case.
        blurry: Scores of the blurry picture.
    """

    oracle: Mapping[tuple[str, str], Mapping[str, float]]
    blurry: Mapping[str, Mapping[str, float]]

    @classmethod
    def among(cls, rows: Sequence[Row], results: Results) -> References:
        """Collect them from the rows' cells."""
        oracle: dict[tuple[str, str], Mapping[str, float]] = {}
        blurry: dict[str, Mapping[str, float]] = {}
        for row in rows:
            for cell in row.cells:
                document = results.of(cell)
                if document["status"] == "ok" and cell.role == "oracle":
                    oracle[row.oracle, cell.case.name] = document["scores"]
                elif document["status"] == "ok" and cell.role == "blurry":
                    blurry[cell.case.name] = document["scores"]
        return cls(oracle, blurry)


def conclude(rows: Sequence[Row], results: Results, protocol: Protocol) -> list[RowResult]:
    """Score all rows, compared with the oracle, the blurry pictures, and the first row.

    Args:
        rows: The rows; the first one is what the others are compared with.
        results: What their cells came to.
        protocol: How the data set is scored.
    """
    references = References.among(rows, results)
    higher = {score.name: score.better == "higher" for score in protocol.scores}
    concluded: list[RowResult] = []
    for row in rows:
        scored = tuple(score(row, cell, results.of(cell), references, protocol) for cell in row.cells)
        names = sorted({name for one in scored for name in one.values})
        spreads = {
            name: Spread.of(
                [one.values[name] for one in scored if name in one.values], higher_is_better=higher.get(name, False)
            )
            for name in names
        }
        difference = None
        if concluded and not row.reference:
            difference = Difference.between(
                by_case(scored, protocol.primary), by_case(concluded[0].scored, protocol.primary)
            )
        concluded.append(RowResult(row, scored, spreads, difference))
    return concluded


def score(row: Row, cell: Cell, document: Mapping[str, Any], references: References, protocol: Protocol) -> Scored:
    """Add what follows from the references to the scores of one cell."""
    values: dict[str, float] = dict(document.get("scores", {}))
    name = row.oracle
    if cell.role == "blurry":  # against the first, if there are several
        name = next((one for one, case in references.oracle if case == cell.case.name), "")
    oracle = references.oracle.get((name, cell.case.name))
    if values and oracle:
        values.update(error_ratios(values, oracle))
    return Scored(cell, document, values, failure(cell, document, values, references, protocol))


def failure(
    cell: Cell, document: Mapping[str, Any], values: Mapping[str, float], references: References, protocol: Protocol
) -> str:
    """Why a cell counts as a failure: there is no result, it is no gain, or it is far behind the oracle."""
    if document["status"] != "ok":
        return str(document.get("error", "no result"))
    if cell.role != "run":
        return ""
    if values.get(RATIO, 0.0) > BAD_RATIO:
        return f"its squared error is {values[RATIO]:.1f} times the oracle's"
    if protocol.primary not in values:
        return "it cannot be scored: not finite, too small, or without a truth"
    # a blind result is shifted by what the kernel is not centred, which is no failure
    name = ALIGNED if ALIGNED in values else protocol.primary
    blurry = references.blurry.get(cell.case.name, {}).get(name)
    if blurry is not None and values[name] <= blurry:
        return "it is no better than the blurry picture"
    return ""


def by_case(scored: Sequence[Scored], name: str) -> dict[str, list[float]]:
    """Values of one score by case, over the seeds."""
    found: dict[str, list[float]] = defaultdict(list)
    for one in scored:
        if name in one.values:
            found[one.cell.case.name].append(one.values[name])
    return found
