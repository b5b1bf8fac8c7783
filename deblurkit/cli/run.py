"""``deblurkit run``: deblur pictures."""

from __future__ import annotations

from pathlib import Path

import click

from deblurkit.cli.arguments import ComponentCommand, config_of, recipe_of
from deblurkit.cli.options import Options, output_options
from deblurkit.config import COMPONENTS, CUSTOM_RECIPE, DEFAULT, DEFAULT_RECIPE, Config


@click.command(cls=ComponentCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@output_options
@click.pass_context
def run(ctx: click.Context, images: tuple[Path, ...], options: Options) -> int:
    """Deblur pictures whose blur is unknown.

    IMAGE is a picture, a folder of pictures, or a pattern. The deblurred picture is written beside it as
    STEM.deblurred.SUFFIX, and its blur kernel as STEM.deblurred.kernel.npy and .kernel.png.

    \b
    Examples:
      deblurkit run photo.jpg
      deblurkit run holiday/ -o sharp/
      deblurkit run photo.jpg --image-prior dip --kernel-prior fcn
    """  # noqa: D301  click wants a real backspace before text that it must not wrap
    config = config_of(ctx)
    # heavy imports wait until there is something to do
    from deblurkit.cli.batch import process
    from deblurkit.cli.console import note

    if text := stand_in(config, recipe_of(ctx)):
        note(text)
    return process(images, config, options)


def stand_in(config: Config, recipe: str) -> str:
    """Say what stands behind parts that were named without a recipe, where that is not the default one; or nothing.

    Args:
        config: The configuration that came of it.
        recipe: The recipe asked for, or empty.
    """
    behind = f"recipe {CUSTOM_RECIPE}"
    if recipe or behind not in config.origins.values():
        return ""
    brought = [
        f"{section.replace('_', ' ')} {getattr(config, section).name!r}"
        for section in COMPONENTS
        if config.origins[f"{section}.name"] in (behind, DEFAULT)
    ]
    return (
        f"The recipe {CUSTOM_RECIPE!r} stands behind the parts that you named, not {DEFAULT_RECIPE!r}; "
        f"it brings {', '.join(brought)}. Name another by --recipe."
    )
