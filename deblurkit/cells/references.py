"""What results are measured against: the true kernel with the same last step, and the blurry pictures."""

from __future__ import annotations

from collections.abc import Sequence

from deblurkit.cells.cell import blurry_cell, oracle_cell
from deblurkit.cells.row import Row
from deblurkit.config import Config
from deblurkit.datasets.case import Case
from deblurkit.errors import DeblurkitError
from deblurkit.registry import Registry


def reference_rows(
    config: Config, cases: Sequence[Case], registry: Registry, column: str, *, extras: Sequence[str] = ()
) -> list[Row]:
    """The oracle, where a true kernel is known, and the blurry pictures."""
    oracle = tuple(oracle_cell(case, config, registry, extras=extras) for case in cases if has_kernel(case))
    blurry = tuple(blurry_cell(case, extras=extras) for case in cases)
    rows = [Row({column: "oracle (true kernel)"}, oracle, reference=True)] if oracle else []
    return [*rows, Row({column: "blurry"}, blurry, reference=True)]


def has_kernel(case: Case) -> bool:
    """Whether an oracle is possible; a damaged kernel counts, for its cell to say what is wrong."""
    try:
        return case.kernel_size() is not None
    except DeblurkitError:
        return True
