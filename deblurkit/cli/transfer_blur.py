"""``deblurkit transfer-blur``: give the blur of one pair of pictures to other pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deblurkit.errors import UsageError
from deblurkit.files import check_writable

if TYPE_CHECKING:
    import torch

    from deblurkit.cli.batch import Batch, Job
    from deblurkit.kernel_space.transfer import Agreement
    from deblurkit.nets.kernel_space.space import KernelSpace

WORD = "blurred"
MAX_TILES = 16
MAX_STRENGTH = 8.0
VISIBLE = 0.02
"""Share of a kernel that may be cut without a word."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--from",
    "pair",
    nargs=2,
    required=True,
    metavar="SHARP BLURRY",
    type=click.Path(path_type=Path),
    help="The two pictures of one scene to take the blur from, of one size.",
)
@click.option(
    "--to",
    "first",
    metavar="IMAGE...",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Pictures to blur: files, folders or patterns, of any size. More than one may follow.",
)
@click.argument("images", nargs=-1, type=click.Path(path_type=Path), metavar="")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Result file (one picture, image suffix) or folder.  [default: beside each picture, as NAME.blurred.SUFFIX]",
)
@click.option(
    "--space", type=click.Path(path_type=Path), help="File of the kernel space.  [default: the one of deblurkit]"
)
@click.option(
    "--steps",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Adam steps that refine the blur on its pair, such as 40.",
)
@click.option(
    "--tiles",
    type=click.IntRange(1, MAX_TILES),
    default=1,
    show_default=True,
    help="Take N x N blurs, for one that differs from place to place (rotation, depth).",
)
@click.option(
    "--strength",
    type=click.FloatRange(0.0, MAX_STRENGTH),
    default=1.0,
    show_default=True,
    help="0 is no blur, 1 the pair's, 2 twice as long a trace.",
)
@click.option("--kernel", is_flag=True, help="Write the blur kernel beside the first result.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON document on stdout.")
def transfer_blur(
    pair: tuple[Path, Path],
    first: tuple[Path, ...],
    images: tuple[Path, ...],
    out: Path | None,
    space: Path | None,
    steps: int,
    tiles: int,
    strength: float,
    kernel: bool,
    device: str,
    overwrite: bool,
    json_: bool,
) -> int:
    """Give the blur of one pair of pictures to other pictures.

    What blurred SHARP into BLURRY is taken from the pair and given to every IMAGE. How well it explains the pair is
    said on stderr, beside a control that has learned nothing.

    \b
    Examples:
      deblurkit transfer-blur --from sharp.png blurry.png --to photo.jpg
      deblurkit transfer-blur --from sharp.png blurry.png --to frames/ -o blurred/ --strength 0.5
    """  # noqa: D301  click wants a real backspace before text that it must not wrap
    if any(str(path).startswith("--") for path in pair):
        raise UsageError("transfer-blur: --from takes two pictures, the sharp and the blurry one of a scene")
    targets = [*first, *images]
    if not targets:
        raise UsageError("transfer-blur: no picture is named; give those to blur by --to")
    from deblurkit.cli import console
    from deblurkit.cli.batch import Batch, find_jobs
    from deblurkit.cli.device import named_device
    from deblurkit.cli.options import Options
    from deblurkit.devices import set_threads
    from deblurkit.kernel_space.pairs import Pair, read_pair
    from deblurkit.kernel_space.transfer import (
        agreement,
        check_pair,
        cut_share,
        has_kernel,
        shown_kernel,
        take_blur,
        with_strength,
    )
    from deblurkit.nets.kernel_space.weights import load_space

    place = named_device(device)
    batch = Batch()
    options = Options(
        out=out, overwrite=overwrite, resume=False, record=None, report=None, json=json_, dry_run=False, quiet=False
    )
    jobs = find_jobs(targets, options, batch, WORD)
    if not jobs and not json_:
        return batch.code
    net = load_space(space or Path()).to(place)
    sharp, blurry = (one.to(place) for one in read_pair(Pair(*pair, name=pair[1].stem)))
    set_threads(0, sharp.numel())
    check_pair(net, sharp, tiles=tiles)
    showing = kernel and has_kernel(net, (sharp.shape[-2], sharp.shape[-1]), tiles=tiles)
    if kernel and not showing:
        console.warn("--kernel: this blur has no single kernel to show, so none is written")
    jobs = free_jobs(jobs, pair, showing, options.overwrite, batch)
    if not jobs and not json_:
        return batch.code
    taken = take_blur(net, sharp, blurry, tiles=tiles, steps=steps)
    scores = agreement(net, sharp, blurry, taken)
    say_agreement(pair, scores, steps=steps, tiles=tiles)
    code = with_strength(net, taken, strength, sharp)
    if (lost := cut_share(net, taken, strength)) > VISIBLE:
        console.warn(
            f"--strength {strength:g}: {lost:.0%} of the blur is longer than this space can show, and is cut; give less"
        )
    shown = shown_kernel(net, code) if showing else None

    for job in jobs:
        try:
            blur_file(job, net, code, shown, options.overwrite, batch)
        except KeyboardInterrupt:
            batch.abort(job.source)
            break
        except Exception as error:
            batch.fail(job.source, error)
            continue
        shown = None  # beside the first result only
        if not json_:
            console.result(str(job.output.image))
    if json_:
        console.document({**pair_document(pair, scores), "strength": strength, "images": batch.documents})
    return batch.code


def free_jobs(jobs: Sequence[Job], pair: tuple[Path, Path], showing: bool, overwrite: bool, batch: Batch) -> list[Job]:
    """The jobs whose results can be written; the others are noted, before anybody waits for the blur."""
    free: list[Job] = []
    for job in jobs:
        try:
            for path in job.results(showing and not free):  # the kernel stands beside the first result
                if path.resolve() in {one.resolve() for one in pair}:
                    raise UsageError(f"{path}: is a picture of the pair that the blur comes from; name another by -o.")
                check_writable(path, overwrite)
            free.append(job)
        except UsageError as error:
            batch.fail(job.source, error)
    return free


def blur_file(
    job: Job, space: KernelSpace, code: torch.Tensor, kernel: torch.Tensor | None, overwrite: bool, batch: Batch
) -> None:
    """Read, blur, write and note one picture, and the kernel beside it."""
    from deblurkit.cli import console
    from deblurkit.images import read_image, write_image
    from deblurkit.kernel_space.transfer import give_blur
    from deblurkit.kernels import write_kernel

    picture = read_image(job.source)
    for path in job.results(kernel is not None):
        check_writable(path, overwrite)
    alpha = None if picture.alpha is None else picture.alpha.to(code.device)
    blurred = give_blur(space, picture.pixels.to(code.device), code, alpha=alpha)
    notes = [*picture.notes, *write_image(job.output.image, blurred, picture, overwrite)]
    if kernel is not None:
        write_kernel(job.output.kernel, job.output.kernel_picture, kernel, overwrite)
    for text in notes:
        console.note(text if str(job.source) in text else f"{job.source}: {text}")
    written = None if kernel is None else str(job.output.kernel)
    batch.documents.append({"input": str(job.source), "output": str(job.output.image), "kernel": written})


def say_agreement(pair: tuple[Path, Path], scores: Agreement, *, steps: int, tiles: int) -> None:
    """Say on stderr how well the pair is explained, and what is wrong with it."""
    from deblurkit.cli import console

    sharp, blurry = pair
    console.note(
        f"{blurry}: explained at {scores.psnr:.1f} dB by its code, {scores.control:.1f} dB by one kernel without "
        f"learning, {scores.unblurred:.1f} dB by no blur at all"
    )
    if scores.no_blur:
        console.warn(
            f"{sharp} and {blurry} are equal, so there is no blur to give; name a sharp and a blurry picture of a scene"
        )
    elif scores.order_is_wrong:
        console.warn(
            f"{sharp} and {blurry} seem to be swapped: the other way round they agree by {scores.swapped_gain:.0f} dB "
            "better; the sharp picture comes first"
        )
    elif scores.poor:
        ways = [*([] if steps else ["--steps 100"]), *([] if tiles > 1 else ["--tiles 5 if it differs by place"])]
        cure = f"; try {', '.join(ways)}" if ways else ""
        console.warn(
            f"{sharp} and {blurry}: {scores.psnr:.1f} dB is poor, so what is transferred is hardly their blur{cure}; "
            "the two must show one scene without a shift"
        )


def pair_document(pair: tuple[Path, Path], scores: Agreement) -> dict[str, Any]:
    """The pair and its scores for the JSON document; ``null`` where a score is infinite."""
    from math import isfinite

    named = {
        "psnr": scores.psnr,
        "control_psnr": scores.control,
        "unblurred_psnr": scores.unblurred,
        "swapped_gain": scores.swapped_gain,
    }
    finite = {name: value if isfinite(value) else None for name, value in named.items()}
    return {"sharp": str(pair[0]), "blurry": str(pair[1]), **finite, "swapped": scores.order_is_wrong}
