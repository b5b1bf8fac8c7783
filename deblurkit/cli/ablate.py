"""``deblurkit ablate``: a table of variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deblurkit.cli.executors import executor_of, executor_options
from deblurkit.cli.tables import TableOptions, Task, called, make_table, table_options
from deblurkit.errors import UsageError
from deblurkit.registry import registry

if TYPE_CHECKING:
    from deblurkit.ablation.study import Study
    from deblurkit.cells.row import Row
    from deblurkit.datasets import Case


@executor_options
@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--images", multiple=True, type=click.Path(path_type=Path), help="Data set, instead of the study's own.")
@click.option("--kernels", type=click.Path(path_type=Path), help="Kernels of [blur], instead of the study's own.")
@click.option("--reduced", is_flag=True, help="The study's reduced size, which a laptop can run.")
@click.option("--device", default="", help="auto, cpu, cuda, cuda:N or mps, for all cells.")
@click.option("--threads", type=click.IntRange(min=1), default=1, help="Processor threads of a cell.  [default: 1]")
@table_options
@click.pass_context
def ablate(
    ctx: click.Context,
    config: Path,
    images: tuple[Path, ...],
    kernels: Path | None,
    reduced: bool,
    device: str,
    threads: int,
    options: TableOptions,
) -> int:
    """Compare variants of a configuration in one table.

    CONFIG is a TOML file: a base, pictures, seeds, one [[variant]] a row, a [grid] that is crossed with them or tried
    one at a time. Only what varies is a column; every row has mean, spread, worst, and its difference to the first row
    with a confidence interval. The oracle and the blurry pictures stand below. All keys of such a file are explained in
    docs/studies.md of the repository.

    Every cell is kept as soon as it is finished, under a key made of its configuration and its picture: after an
    interruption, or a change to the file, only what is missing is carried out. A cell that fails costs only itself.

    \b
    Examples:
      deblurkit ablate study.toml --dry-run
      deblurkit ablate study.toml --reduced --jobs 2 --report study.html
    """  # noqa: D301  click wants a real backspace before text that it must not wrap
    study = asked(config, reduced, kernels, options)
    sources = images or study.images
    if not sources:
        raise UsageError(f'images: the study names none; add images = "...", or give --images ({config})')
    from deblurkit.ablation.rows import ablation_rows, oracle_notes, require_sense, resolve_variants, study_cases
    from deblurkit.datasets import layout_of
    from deblurkit.scores import protocol_of

    flags: dict[str, Any] = {"threads": threads, **({"device": device} if device else {})}
    configs = resolve_variants(study, registry(), flags)
    patterns, place = (options.only, "--only") if options.only else (study.cases, f"cases ({config})")
    cases = called(study_cases(study, sources), patterns, place)
    require_sense(study, cases, protocol_of(layout_of(cases)))
    rows = ablation_rows(study, configs, cases, registry(), extras=options.extras)
    notes = oracle_notes(rows, configs, registry())
    task = task_of(study, rows, cases, reduced, notes, options)
    variants = {
        ", ".join(row.label.values()): one if isinstance(one, str) else one.to_json()
        for row, one in zip(rows, configs, strict=False)
    }
    task = replace(task, document={**task.document, "variants": variants})
    return make_table(task, options, lambda: executor_of(ctx))


def asked(file: Path, reduced: bool, kernels: Path | None, options: TableOptions) -> Study:
    """The study of a file, with what the command line says above it.

    Raises:
        ConfigError: If the file is wrong.
        UsageError: If kernels are given that it has no use for.
    """
    from deblurkit.ablation.study import read_study

    study = read_study(file, reduced=reduced)
    study = replace(study, seeds=options.seeds or study.seeds, layout=options.layout or study.layout)
    if kernels is None:
        return study
    if study.blur is None:
        raise UsageError(f"--kernels: the study makes no pairs of sharp pictures; leave it out ({file})")
    return replace(study, blur=replace(study.blur, kernels=kernels))


def task_of(
    study: Study,
    rows: Sequence[Row],
    cases: Sequence[Case],
    reduced: bool,
    notes: Sequence[str],
    options: TableOptions,
) -> Task:
    """The table of a study: its columns, and what stands above and below it."""
    from deblurkit.ablation.rows import NAME
    from deblurkit.cells.table import Shape
    from deblurkit.datasets import layout_of
    from deblurkit.scores import protocol_of

    layout = layout_of(cases)
    size = "given" if study.size == "given" else "found"
    what = layout if study.task == "deblur" else study.task
    facts = f"{len(cases)} pictures; seeds {', '.join(map(str, study.seeds))}; kernel size {size}."
    if study.task != "deblur":
        facts = f"{len(cases)} times blur was taken from a pair and given to a sharp picture."
    reproduces = f"Reproduces {study.reproduces}." if study.reproduces else ""
    told = tuple(filter(None, (study.summary, reproduces, study.cost and f"Cost: {study.cost}")))
    varied = dict.fromkeys(key for row in rows for key in row.label if key != NAME)
    return Task(
        rows=rows,
        protocol=protocol_of(layout),
        shape=Shape(
            {key: key for key in (NAME, *varied)},
            differences=True,
            title=f"{study.file.stem}{' (reduced size)' if reduced else ''}: {what}",
            notes=(facts, *told, *notes),
        ),
        folder=options.out or Path("runs") / study.file.stem,
        lead=(*told, facts),
        document={"study": str(study.file), "reduced": reduced, "layout": layout},
    )
