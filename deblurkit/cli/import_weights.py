"""``deblurkit import-weights``: kernel spaces that others trained."""

from __future__ import annotations

from pathlib import Path

import click

from deblurkit.cli import console
from deblurkit.errors import UsageError
from deblurkit.files import check_writable

SUFFIX = ".safetensors"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help=f"File to write, {SUFFIX}.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def import_weights(file: Path, out: Path, overwrite: bool) -> None:
    """Convert the published weights of an encoded kernel space.

    FILE is one that the authors of the encoded kernel space gave out (Tran et al., CVPR 2021): GOPRO_woVAE.pth,
    REDS_woVAE.pth or GOPRO_wVAE.pth, or one that their program trained. Channels, widths and VAE are found out from the
    weights. Nothing in FILE is run, whatever it is.

    \b
    Example:
      deblurkit import-weights GOPRO_woVAE.pth -o gopro.safetensors
    """  # noqa: D301  click wants a real backspace before text that it must not wrap
    if out.suffix.lower() != SUFFIX:
        raise UsageError(f"{out}: spaces are written as safetensors; name a file that ends in {SUFFIX} with -o")
    check_writable(out, overwrite)
    from deblurkit.checkpoints.layouts import import_space
    from deblurkit.nets.kernel_space.weights import save_space

    imported = import_space(file)
    space, config = imported.space, imported.space.config()
    parameters = sum(parameter.numel() for parameter in space.parameters())
    console.note(
        f"{file}: {imported.layout}; preset {space.preset}, {space.channels} "
        f"channel{'s' if space.channels > 1 else ''}, {'with' if config.get('vae') else 'without'} VAE, "
        f"{parameters:,} parameters"
    )
    save_space(out, space, card=imported.card, overwrite=overwrite)
    console.result(str(out))
