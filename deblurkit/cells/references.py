"""What results are measured against: the true kernel with the same last step, and the blurry pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from deblurkit.cells.cell import blurry_cell, oracle_cell, oracle_of
from deblurkit.cells.row import Row
from deblurkit.config import Config
from deblurkit.datasets.case import Case
from deblurkit.errors import DeblurkitError
from deblurkit.registry import Registry

ORACLE = "oracle (true kernel)"
BLURRY = "blurry"


def oracle_name(config: Config, registry: Registry) -> str:
    """What tells the oracle of a configuration from those of others: all that it is made of."""
    return json.dumps(oracle_of(config, registry).to_json(), sort_keys=True)


def reference_rows(
    configs: Mapping[str, Config], cases: Sequence[Case], registry: Registry, column: str, *, extras: Sequence[str] = ()
) -> list[Row]:
    """The oracles, where true kernels are known, and the blurry pictures.

    Args:
        configs: The configurations of the rows above, by what the row is called; each has its own last step, and rows
            of one last step share an oracle.
        cases: The pictures.
        registry: The components there are.
        column: Column of the table that names a row.
        extras: Names of further scores.
    """
    known = [case for case in cases if has_kernel(case)]
    by_oracle: dict[str, tuple[str, Config]] = {}
    for name, config in configs.items():
        by_oracle.setdefault(oracle_name(config, registry), (name, config))
    rows = []
    for oracle, (name, config) in by_oracle.items() if known else ():
        cells = tuple(oracle_cell(case, config, registry, extras=extras) for case in known)
        label = ORACLE if len(by_oracle) == 1 else f"{ORACLE}, as {name}"
        rows.append(Row({column: label}, cells, reference=True, oracle=oracle))
    blurry = tuple(blurry_cell(case, extras=extras) for case in cases)
    return [*rows, Row({column: BLURRY}, blurry, reference=True)]


def last_steps(configs: Mapping[str, Config], registry: Registry) -> str:
    """How the oracles restore, in a sentence."""
    names = list(dict.fromkeys(oracle_of(config, registry).image_prior.name for config in configs.values()))
    return f"The oracle restores with the true kernel by {' or '.join(map(repr, names))}."


def has_kernel(case: Case) -> bool:
    """Whether an oracle is possible; a damaged kernel counts, for its cell to say what is wrong."""
    try:
        return case.kernel_size() is not None
    except DeblurkitError:
        return True
