"""``deblurkit import-weights``: kernel spaces and generators that others trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deblurkit.cli import console
from deblurkit.errors import UsageError
from deblurkit.files import check_writable

if TYPE_CHECKING:
    from deblurkit.checkpoints.layouts import Imported
    from deblurkit.nets.kernel_space.space import KernelSpace
    from deblurkit.nets.stylegan.generator import Generator

SUFFIX = ".safetensors"
SAMPLES = 100_000


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help=f"File to write, {SUFFIX}.")
@click.option(
    "--mapping",
    type=click.Path(path_type=Path),
    help="Second file of a StyleGAN1 pair; by default it is looked for beside FILE.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=2),
    default=SAMPLES,
    show_default=True,
    help="Random styles on which the distribution of a generator's styles is measured.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def import_weights(file: Path, out: Path, mapping: Path | None, samples: int, overwrite: bool) -> None:
    """Convert the weights of a kernel space or of a StyleGAN that others trained.

    FILE may be any of these, and which one is found out from what it holds, as are all sizes:

    \b
      encoded kernel space  Tran et al. 2021: GOPRO_woVAE.pth, REDS_woVAE.pth, GOPRO_wVAE.pth
      StyleGAN2             rosinality's .pt, trained or converted
      StyleGAN2             pSp, e4e, ReStyle: the decoder of their .pt
      StyleGAN2             NVIDIA's .pkl of PyTorch (StyleGAN2-ADA) and TensorFlow (StyleGAN2)
      StyleGAN2             BasicSR's .pth
      StyleGAN1             the pair of PULSE: synthesis.pt with --mapping mapping.pt, or their folder

    Nothing in FILE is run, whatever it is: not the source code in NVIDIA's pickles either. Weights keep the licence of
    their source, and NVIDIA's are for non-commercial use: look at it before you use them.

    \b
    Examples:
      deblurkit import-weights GOPRO_woVAE.pth -o gopro.safetensors
      deblurkit import-weights ffhq.pkl -o faces.safetensors
      deblurkit import-weights synthesis.pt --mapping mapping.pt -o faces.safetensors
    """  # noqa: D301  click wants a real backspace before text that it must not wrap
    if out.suffix.lower() != SUFFIX:
        raise UsageError(f"{out}: weights are written as safetensors; name a file that ends in {SUFFIX} with -o")
    if any(
        source is not None and source.exists() and out.exists() and out.samefile(source) for source in (file, mapping)
    ):
        raise UsageError(f"{out}: is the file to read, and so cannot be written; name another one with -o")
    check_writable(out, overwrite)
    from deblurkit.checkpoints.layouts import import_network
    from deblurkit.nets.stylegan.generator import Generator

    imported = import_network(file, mapping)
    if isinstance(imported.network, Generator):
        _write_generator(file, imported, imported.network, out, samples, overwrite)
    else:
        _write_space(file, imported, imported.network, out, overwrite)
    console.result(str(out))


def _write_space(file: Path, imported: Imported, space: KernelSpace, out: Path, overwrite: bool) -> None:
    from deblurkit.nets.kernel_space.weights import save_space

    channels = f"{space.channels} channel{'s' if space.channels > 1 else ''}"
    _say(file, imported, f"{channels}, {'with' if space.config().get('vae') else 'without'} VAE")
    save_space(out, space, card=imported.card, overwrite=overwrite)


def _write_generator(
    file: Path, imported: Imported, generator: Generator, out: Path, samples: int, overwrite: bool
) -> None:
    import torch

    from deblurkit.nets.stylegan.weights import save_generator

    side = generator.resolution
    _say(file, imported, f"{side}x{side} pixels, {generator.latents} style vectors of {generator.style}")
    console.note(f"Measuring the distribution of styles on {samples:,} random ones; this takes a while.")
    generator.gaussian = generator.measure(samples, torch.Generator().manual_seed(0))
    save_generator(out, generator, card=imported.card, overwrite=overwrite)


def _say(file: Path, imported: Imported, shape: str) -> None:
    """Tell what was found, and what the file lacked."""
    parameters = sum(parameter.numel() for parameter in imported.network.parameters())
    console.note(f"{file}: {imported.layout}; preset {imported.network.preset}, {shape}, {parameters:,} parameters")
    for note in imported.notes:
        console.note(f"{file}: {note}")
