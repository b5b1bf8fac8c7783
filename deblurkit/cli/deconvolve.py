"""``deblurkit deconvolve``: deblur pictures whose blur kernel is known."""

from __future__ import annotations

from pathlib import Path

import click

from deblurkit.cli.arguments import ComponentCommand, config_of
from deblurkit.cli.options import Options, output_options
from deblurkit.errors import UsageError

RECIPE = "deconvolve"


@click.command(
    cls=ComponentCommand,
    sections=("image_prior", "data_term", "optimizer", "final"),
    default_recipe=RECIPE,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option(
    "-k",
    "--kernel",
    required=True,
    type=click.Path(path_type=Path),
    help="Blur kernel: .npy, .png, .tif or .mat, true convolution.",
)
@click.option(
    "--flip", is_flag=True, help="Rotate the kernel by 180 degrees: it was written by a tool that correlates."
)
@output_options
@click.pass_context
def deconvolve(ctx: click.Context, images: tuple[Path, ...], kernel: Path, flip: bool, options: Options) -> int:
    """Deblur pictures whose blur kernel is known.

    The kernel is normalised to sum 1; even sides are padded to odd ones, with a note.

    \b
    Examples:
      deblurkit deconvolve photo.jpg --kernel photo.kernel.npy
      deblurkit deconvolve frames/ -k psf.mat -o sharp/
    """  # noqa: D301  click wants a real backspace before text that it must not wrap
    from deblurkit.cli.batch import process
    from deblurkit.cli.console import note
    from deblurkit.kernels import read_kernel

    chosen = config_of(ctx).kernel_prior
    if not hasattr(chosen.params, "file"):
        raise UsageError(
            f"kernel prior '{chosen.name}' estimates the kernel, and here it is given; use deblurkit run, or a recipe "
            f"whose kernel is known, such as {RECIPE}"
        )
    for text in read_kernel(kernel, flip).notes:
        note(text)
    config = config_of(ctx, {"kernel_prior.file": str(kernel.absolute()), "kernel_prior.flip": flip})
    return process(images, config, options)
