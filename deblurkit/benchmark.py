"""The benchmark of one configuration on a data set: kernel size found and given, the oracle, the blurry pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from deblurkit.cells.cell import run_cell
from deblurkit.cells.references import has_kernel, oracle_name, reference_rows
from deblurkit.cells.row import Row
from deblurkit.config import AUTO, Config
from deblurkit.datasets.case import Case
from deblurkit.errors import UsageError
from deblurkit.registry import Registry
from deblurkit.specs import Offer

Sizes = Literal["auto", "given", "both"]
SIZES = ("auto", "given", "both")
COLUMN = "row"
SEEDS = (0, 1, 2)
"""Seeds that are taken where chance plays a part and the user names none."""


def usual_seeds(config: Config, registry: Registry) -> tuple[int, ...]:
    """The seeds where the user names none: three, or one where a configuration draws nothing at random.

    Parts that are moved by a gradient start from random numbers; closed forms do not.
    """
    kernel = config.kernel_prior
    fit = registry.check_fit(config.optimizer.name, config.image_prior.name, kernel.name, kernel_params=kernel.params)
    return SEEDS if Offer.PARAMETERS in {*fit.image, *fit.kernel} else SEEDS[:1]


def benchmark_rows(
    cases: Sequence[Case],
    config: Config,
    registry: Registry,
    *,
    name: str,
    seeds: Sequence[int],
    sizes: Sizes = "both",
    extras: Sequence[str] = (),
) -> list[Row]:
    """The rows of the table.

    Args:
        cases: The pictures.
        config: What to do with them.
        registry: The components there are.
        name: How the configuration is called in the table.
        seeds: Seeds of all random numbers.
        sizes: Whether the kernel size is to be found, given by the true kernel, or both; without true kernels, or where
            the configuration names a size, there is only one row.
        extras: Names of further scores.

    Raises:
        UsageError: If only the row with the size given is wanted, and there is none to give.
    """
    seeded = [replace(config, run=replace(config.run, seed=seed)) for seed in seeds]
    oracle = oracle_name(config, registry)

    def row(words: str, *, given: bool) -> Row:
        cells = (run_cell(case, one, registry, given_size=given, extras=extras) for case in cases for one in seeded)
        return Row({COLUMN: f"{name}{words}"}, tuple(cells), oracle=oracle)

    rows = []
    sized = config.run.kernel_size != AUTO or not any(map(has_kernel, cases))
    if sizes == "given" and sized:
        why = "no true kernel is known" if config.run.kernel_size == AUTO else "the configuration names one"
        raise UsageError(f"--sizes given: there is no size to give, since {why}; leave it out")
    if config.run.kernel_size != AUTO:
        rows.append(row(f", size {config.run.kernel_size}", given=False))
    elif not any(map(has_kernel, cases)):
        rows.append(row("", given=False))
    else:
        rows += [row(", size found", given=False)] if sizes != "given" else []
        rows += [row(", size given", given=True)] if sizes != "auto" else []
    return [*rows, *reference_rows({name: config}, cases, registry, COLUMN, extras=extras)]
