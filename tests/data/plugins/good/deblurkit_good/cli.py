"""A command with components of its own choosing."""

import json
import sys

import click

from deblurkit.cli.arguments import ComponentCommand, config_of, flags_of
from deblurkit.errors import ExitCode, RunError


@click.command("probe", cls=ComponentCommand)
@click.argument("words", nargs=-1)
@click.option("--fail", type=click.Choice(["run", "bug", "interrupt", "disk", "code"]))
@click.pass_context
def probe(ctx, words, fail):
    """Show what was asked for."""
    if fail == "run":
        raise RunError("probe: it failed on purpose")
    if fail == "bug":
        raise ZeroDivisionError("a bug")
    if fail == "interrupt":
        raise KeyboardInterrupt
    if fail == "disk":
        raise OSError(28, "No space left on device", "out.png")
    if fail == "code":
        return ExitCode.RUN_FAILED
    flags = {key: str(value) for key, value in flags_of(ctx).items()}
    json.dump({"words": words, "flags": flags, "config": config_of(ctx).to_json()}, sys.stdout)
    return ExitCode.DONE
