"""``deblurkit run``: deblur pictures."""

from __future__ import annotations

from pathlib import Path

import click

from deblurkit.cli.arguments import ComponentCommand, config_of
from deblurkit.cli.options import Options, output_options


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
    # heavy imports wait until there is something to do
    from deblurkit.cli.batch import process

    return process(images, config_of(ctx), options)
