"""``deblurkit benchmark``: score a configuration on a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deblurkit.cli.arguments import ComponentCommand, config_of, recipe_of
from deblurkit.cli.executors import executor_of, executor_options
from deblurkit.cli.tables import TableOptions, Task, cases_of, computed_alike, make_table, table_options
from deblurkit.config import COMPONENTS, DEFAULT, FLAG, Config
from deblurkit.registry import registry

if TYPE_CHECKING:
    from deblurkit.benchmark import Sizes


@executor_options
@click.command(cls=ComponentCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("dataset", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DATASET...")
@click.option(
    "--sizes",
    type=click.Choice(("auto", "given", "both")),
    default="both",
    help="Kernel size: found, given by the true kernel, or a row of each.",
)
@table_options
@click.pass_context
def benchmark(ctx: click.Context, dataset: tuple[Path, ...], sizes: Sizes, options: TableOptions) -> int:
    """Score a configuration on a data set.

    DATASET is a folder or a pattern; its layout is found by looking: Levin's PNG set or its exact one, Lai's,
    Koehler's, or pairs of blurry and sharp pictures. The table has the result with the kernel size found and given, the
    oracle (the true kernel, the same last step) and the blurry pictures; scores as published and corrected ones, each
    by its name.

    Every picture is kept as soon as it is finished: after an interruption the same command goes on. Three seeds are
    taken, or one where nothing is drawn at random. Cells compute on one thread unless --threads says otherwise.

    \b
    Examples:
      deblurkit benchmark data/levin
      deblurkit benchmark data/levin --recipe selfdeblur --only 'im1_*' --jobs 2
      deblurkit benchmark data/gopro/test --format markdown --report gopro.html
    """  # noqa: D301  click wants a real backspace before text that it must not wrap
    config = config_of(ctx)
    from deblurkit.benchmark import COLUMN, benchmark_rows, usual_seeds
    from deblurkit.cells.references import last_steps
    from deblurkit.cells.table import Shape
    from deblurkit.datasets import layout_of
    from deblurkit.scores import protocol_of

    config = replace(config, run=replace(config.run, **computed_alike(config)))
    cases = cases_of(dataset, options.layout, options.only)
    layout = layout_of(cases)
    name = recipe_of(ctx) or called(config)
    own = config.origins.get("run.seed", "")
    chosen = () if own == DEFAULT or own.startswith("recipe ") else (config.run.seed,)
    seeds = options.seeds or chosen or usual_seeds(config, registry())
    rows = benchmark_rows(cases, config, registry(), name=name, seeds=seeds, sizes=sizes, extras=options.extras)
    facts = f"{len(cases)} pictures; seeds {', '.join(map(str, seeds))}"
    if not options.seeds and not chosen and len(seeds) == 1:
        facts += " (nothing is drawn at random)"
    notes = (f"{facts}.", *changed(config))
    if any(row.reference and row.oracle for row in rows):
        notes = (*notes, last_steps({name: config}, registry()))
    task = Task(
        rows=rows,
        protocol=protocol_of(layout),
        shape=Shape({COLUMN: "result"}, differences=False, title=f"{layout}: {name}", notes=notes),
        folder=options.out or Path("runs") / f"benchmark-{layout}",
        lead=notes,
        document={"dataset": [str(one) for one in dataset], "layout": layout, "config": config.to_json()},
    )
    return make_table(task, options, lambda: executor_of(ctx))


def changed(config: Config) -> list[str]:
    """What flags say that changes results, in a sentence; nothing where they say nothing."""
    quiet = {"run.seed", "run.device", "run.threads", *(f"{section}.name" for section in COMPONENTS)}
    values = config.values()
    said = [f"{key} = {values[key]}" for key, origin in config.origins.items() if origin == FLAG and key not in quiet]
    return [f"Changed by flags: {', '.join(said)}."] if said else []


def called(config: Config) -> str:
    """A short name: that of the recipe or file that all components come from, else those of the two priors."""
    origins = {config.origins.get(f"{section}.name", "") for section in COMPONENTS}
    words = {Path(one.removeprefix("recipe ")).stem for one in origins}
    if len(words) == 1 and words.isdisjoint({"flag", "default"}):
        return words.pop()
    return f"{config.image_prior.name} x {config.kernel_prior.name}"
