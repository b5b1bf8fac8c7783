"""``deblurkit run``: deblur pictures."""

from __future__ import annotations

from pathlib import Path

import click

from deblurkit.cli.arguments import ComponentCommand, config_of, recipe_of
from deblurkit.cli.options import Options, output_options
from deblurkit.config import COMPONENTS, CUSTOM_RECIPE, DEFAULT, DEFAULT_RECIPE, Config, recipes
from deblurkit.registry import registry
from deblurkit.specs import CLOSED_FORMS, Offer


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

    for text in (stand_in(config, recipe_of(ctx)), passed_over(config)):
        if text:
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


def passed_over(config: Config) -> str:
    """Say that a data term which the user named has no influence, where closed forms move all that moves; or nothing.

    The step of least loss, where that is the one to count, is chosen by the data term whatever moves the parts.

    Args:
        config: The configuration.
    """
    origin = config.origins.get("data_term.name", DEFAULT)
    # the record of a run names every part, whether it was asked for or not
    asked = origin not in (DEFAULT, *(f"recipe {name}" for name in recipes())) and Path(origin).suffix != ".json"
    if not asked or config.run.keep == "best":
        return ""
    image, kernel, optimizer = config.image_prior, config.kernel_prior, config.optimizer
    fit = registry().check_fit(optimizer.name, image.name, kernel.name, kernel_params=kernel.params)
    if Offer.PARAMETERS in fit.image | fit.kernel:
        return ""
    ways = ((f"image prior {image.name!r}", fit.image), (f"kernel prior {kernel.name!r}", fit.kernel))
    moved = " and ".join(part for part, way in ways if CLOSED_FORMS & way)
    return (
        f"The data term {config.data_term.name!r} has no influence here: optimizer {optimizer.name!r} moves {moved} "
        "by closed forms, which have squared errors of their own. Name parts that it moves by gradients, or another "
        "optimizer."
    )
