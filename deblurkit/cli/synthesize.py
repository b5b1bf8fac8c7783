"""``deblurkit synthesize``: make training pairs of sharp pictures."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deblurkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from deblurkit.cli.batch import Batch
    from deblurkit.kernel_space.samples import Workshop
    from deblurkit.kernel_space.synthesize import Outcome

MAX_TILES = 16
MAX_STRENGTH = 8.0


class Range(click.ParamType):
    """Reads ``S`` or ``LOW:HIGH``."""

    name = "S|LOW:HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Return least and largest, or fail."""
        if isinstance(value, tuple):
            return value
        try:
            low, high = (float(part) for part in (value.split(":") if ":" in value else (value, value)))
        except ValueError:
            self.fail(f"'{value}' is neither a number nor LOW:HIGH", param, ctx)
        if not 0 <= low <= high <= MAX_STRENGTH:
            self.fail(f"'{value}' is out of range; from 0 to {MAX_STRENGTH:g}, the smaller one first", param, ctx)
        return low, high


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("images", nargs=-1, type=click.Path(path_type=Path), metavar="[IMAGE|FOLDER]...")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of the results.")
@click.option(
    "--pairs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Take blurs from these pairs: a folder with sharp/ and blur/, or a list file. May be repeated.",
)
@click.option("--random", "drawn", is_flag=True, help="Draw blurs from the kernel space.")
@click.option(
    "--manifest", type=click.Path(path_type=Path), help="Make the pairs of an earlier manifest.jsonl once more."
)
@click.option(
    "--space", type=click.Path(path_type=Path), help="File of the kernel space.  [default: the one of deblurkit]"
)
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="Blurs of every picture.")
@click.option(
    "--strength",
    type=Range(),
    default="1",
    show_default=True,
    help="0 is no blur, 1 the blur as it is, 2 twice as long a trace; LOW:HIGH draws one for every pair.",
)
@click.option(
    "--noise",
    type=click.FloatRange(0.0, 1.0),
    default=0.0,
    show_default=True,
    help="Standard deviation of white noise on the blurry side; white is 1.",
)
@click.option(
    "--crop",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Cut squares of this side out at random; 0 takes everything.",
)
@click.option(
    "--tiles",
    type=click.IntRange(1, MAX_TILES),
    default=1,
    show_default=True,
    help="Take N x N blurs from every pair, for one that differs from place to place.",
)
@click.option(
    "--steps", type=click.IntRange(0), default=0, show_default=True, help="Adam steps that refine every pair's blur."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all random choices.")
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@click.option("--resume", is_flag=True, help="Keep what an interrupted call has made.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON document on stdout.")
def synthesize(
    images: tuple[Path, ...],
    out: Path,
    pairs: tuple[Path, ...],
    drawn: bool,
    manifest: Path | None,
    space: Path | None,
    count: int,
    strength: tuple[float, float],
    noise: float,
    crop: int,
    tiles: int,
    steps: int,
    seed: int,
    device: str,
    overwrite: bool,
    resume: bool,
    json_: bool,
) -> int:
    """Make training pairs of sharp pictures.

    Every picture is blurred as a random pair of --pairs was, or by a --random blur, and written below OUT/sharp and
    OUT/blur, as train-kernel-space and most training programs read pairs. The two sides fit exactly: what the blur
    would have to invent beyond the border is cut off. OUT/manifest.jsonl says how each was made; --manifest makes them
    again.

    \b
    Examples:
      deblurkit synthesize sharp/ -o train/ --pairs gopro/ --count 4 --crop 256
      deblurkit synthesize sharp/ -o train/ --random --strength 0.5:1.5 --noise 0.01
      deblurkit synthesize --manifest train/manifest.jsonl -o again/
    """  # noqa: D301  click wants a real backspace before text that it must not wrap
    if sum((bool(pairs), drawn, manifest is not None)) != 1:
        raise UsageError(
            "synthesize: say where the blurs come from: --pairs for those of other pairs, --random for new ones, or "
            "--manifest for those of an earlier call; one of the three"
        )
    if manifest is not None and (images or resume):
        raise UsageError("synthesize: --manifest says itself what is blurred; leave pictures and --resume out")
    if manifest is None and not images:
        raise UsageError("synthesize: no picture is named; give sharp pictures, or folders of them")
    from deblurkit.cli.batch import Batch
    from deblurkit.cli.device import named_device
    from deblurkit.devices import set_threads
    from deblurkit.kernel_space.pairs import find_pairs
    from deblurkit.kernel_space.replay import replay
    from deblurkit.kernel_space.samples import Workshop, sha256
    from deblurkit.kernel_space.synthesize import Settings
    from deblurkit.kernel_space.synthesize import synthesize as make
    from deblurkit.nets.kernel_space.header import space_path
    from deblurkit.nets.kernel_space.weights import load_space

    place = named_device(device)
    set_threads(1, 0)  # a sum over several threads may differ in its last bit, and the files are to be the same again
    net = load_space(space or Path()).to(place)
    workshop = Workshop(net, sha256(space_path(space or Path())), out, overwrite or resume)
    settings = Settings(count=count, strength=strength, noise=noise, crop=crop, seed=seed, tiles=tiles, steps=steps)
    batch = Batch()
    if manifest is not None:
        return run(replay(manifest, workshop), workshop, batch, json_)
    found = find_pairs(pairs) if pairs else []
    return run(make(images, workshop, settings, found, resume=resume), workshop, batch, json_)


def run(outcomes: Iterator[Outcome], workshop: Workshop, batch: Batch, json_: bool) -> int:
    """Let everything be made, say what goes wrong, and at the end what there is."""
    from deblurkit.cli import console
    from deblurkit.kernel_space.manifest import MANIFEST
    from deblurkit.kernel_space.transfer import POOR

    counts: Counter[str] = Counter()
    poor: set[tuple[str, ...]] = set()
    shown = time.monotonic()
    try:
        for outcome in outcomes:
            if outcome.error is not None:
                batch.fail(outcome.source, outcome.error)
            if outcome.note:
                console.warn(outcome.note)
            if outcome.sample is not None:
                counts["skipped" if outcome.skipped else "made"] += 1
                if outcome.sample.pair and outcome.sample.reblur_psnr < POOR:
                    poor.add(outcome.sample.pair)
            if time.monotonic() - shown >= console.PLAIN_INTERVAL:
                shown = time.monotonic()
                console.note(f"{counts['made']} pairs made, the last one of {outcome.source}")
    except KeyboardInterrupt:
        console.error("interrupted; what was made is whole, and --resume makes the rest")
        batch.code = ExitCode.INTERRUPTED
    manifest = workshop.out / MANIFEST
    if not counts and manifest.is_file() and not manifest.stat().st_size:
        manifest.unlink()  # or the next call would find one in its way
    if poor:
        console.warn(
            f"{len(poor)} of the pairs that blurs were taken from are explained below {POOR:g} dB, so what was "
            "transferred is hardly their blur; 'reblur_psnr' in the manifest tells which"
        )
    skipped = f", {counts['skipped']} were there already" if counts["skipped"] else ""
    console.note(f"{counts['made']} pairs made{skipped}, {len(batch.documents)} failed")
    if json_:
        document = {"manifest": str(manifest), "made": counts["made"], "skipped": counts["skipped"]}
        console.document({**document, "failed": batch.documents})
    elif counts:
        console.result(str(manifest))
    return batch.code
