"""Figure 6 of Tran et al. 2021: does the loss fall? The same image prior with three kernel priors.

    python benchmarks/loss_curves.py PICTURE... [--truth SHARP...] [--runs runs/fig-6] [--iterations N] [-o OUT.png]
    python benchmarks/loss_curves.py PICTURE... --configs configs/stylegan --weights GENERATOR ...

Runs the folder's `fig-6-*.toml` on every picture, keeps each record as `deblurkit run --record` does, and reads the
course of the loss from its history.jsonl; a record that is there already is not made again. Prints a table and draws
the curves: the data term, on a logarithmic axis, since the priors' own terms are not comparable; over several pictures
their geometric mean.

With `configs/stylegan` the image prior is a generator, as in the paper's figure: it makes little but sharp pictures, so
that only the right blur explains the picture well. With `configs/kernel-space` it is a deep image prior, which makes
blurry pictures as well: it explains any blur in the end, so look at the result's score (aligned PSNR) too.
"""

import argparse
import json
import math
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deblurkit import deblur, read_image, resolve, write_image
from deblurkit.metrics import align
from deblurkit.record import write_record
from deblurkit.registry import registry

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

CONFIGS = Path(__file__).parents[1] / "configs" / "kernel-space"
PREFIX = "fig-6-"
COLOURS = {"encoded": "#c0392b", "convolution-dip": "#2471a3", "bicubic": "#7d8a2e"}
SIZE = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 44
SHARES = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Where the table looks, as shares of the run."""

IMAGE = "result.png"
FLOOR = 1e-12
"""A data term below this counts as this much."""

Curve = list[tuple[int, float]]


def make_record(picture: Path, name: str, options: argparse.Namespace) -> Path:
    """Deblur the picture by one of the configs, unless that was done; return the record's folder."""
    folder: Path = options.runs / picture.stem / name
    if (folder / "history.jsonl").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    flags = {"optimizer.iterations": options.iterations} if options.iterations else {}
    if options.iterations:
        flags["optimizer.milestones"] = (options.iterations // 2, 3 * options.iterations // 4)
    if options.space and name == "encoded":
        flags["kernel_prior.space"] = options.space
    if options.weights:
        flags["image_prior.weights"] = options.weights
    config = resolve(flags, registry=registry(), file=options.configs / f"{PREFIX}{name}.toml")
    blurry = read_image(picture)
    started = time.perf_counter()
    result = deblur(blurry.pixels, config)
    print(f"{picture.stem:<18}{name:<18}{time.perf_counter() - started:8.1f} s", flush=True)
    write_record(folder, result, config, registry(), overwrite=False)
    write_image(folder / IMAGE, result.image, blurry, True)
    return folder


def read_curve(folder: Path) -> Curve:
    """Step and data term of every line of a record's history."""
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [(int(row["step"]), row["data"]) for row in rows if row["data"] is not None]


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The geometric mean of curves that were read at the same steps."""
    return [
        (points[0][0], math.exp(statistics.fmean(math.log(max(value, FLOOR)) for _, value in points)))
        for points in zip(*curves, strict=True)
    ]


def print_table(curves: dict[str, Curve], scores: dict[str, float]) -> None:
    """The loss at some shares of the way, how far it fell, and the result's score where there is one."""
    last = max(curve[-1][0] for curve in curves.values())
    steps = [round(share * last) for share in SHARES]
    heads = [*map(str, steps), "fell by", *(["result"] if scores else [])]
    print(f"{'data term at step':<18}" + "".join(f"{head:>11}" for head in heads))
    for name, curve in curves.items():
        values = [min(curve, key=lambda point: abs(point[0] - step))[1] for step in steps]
        decibels = [10 * math.log10(values[0] / values[-1]), *([scores[name]] if scores else [])]
        print(f"{name:<18}" + "".join(f"{one:11.3g}" for one in values) + "".join(f"{one:8.1f} dB" for one in decibels))


def mean_psnr(results: Sequence[Path], truths: Sequence[Path], crop: int) -> float:
    """Mean PSNR in dB of pictures against the sharp ones, each after alignment."""
    pairs = zip(results, truths, strict=True)
    return statistics.fmean(
        align(read_image(a).pixels, read_image(b).pixels, crop=crop, max_shift=min(crop, 10)).psnr for a, b in pairs
    )


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Draw the curves, the loss on a logarithmic axis with a line at every power of ten."""
    from PIL import Image, ImageDraw

    values = [value for curve in curves.values() for _, value in curve if value > 0]
    low, high = math.log10(min(values)), math.log10(max(values))
    last = max(curve[-1][0] for curve in curves.values())
    width, height = SIZE[0] - LEFT - RIGHT, SIZE[1] - TOP - BOTTOM

    def place(step: float, value: float) -> tuple[float, float]:
        return LEFT + width * step / last, TOP + height * (high - math.log10(value)) / (high - low)

    sheet = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(sheet)
    for exponent in range(math.ceil(low), math.floor(high) + 1):
        _, row = place(0, 10.0**exponent)
        pen.line([(LEFT, row), (LEFT + width, row)], fill="#dddddd")
        pen.text((LEFT - 8, row), f"1e{exponent}", fill="black", anchor="rm")
    for step in (0, last // 2, last):
        pen.text((place(step, 10**low)[0], TOP + height + 6), str(step), fill="black", anchor="mt")
    pen.rectangle([LEFT, TOP, LEFT + width, TOP + height], outline="#888888")
    for name, curve in curves.items():
        pen.line([place(step, value) for step, value in curve if value > 0], fill=COLOURS[name], width=2)
    draw_legend(pen, list(curves))
    sheet.save(path, optimize=True)


def draw_legend(pen: "ImageDraw", names: Sequence[str]) -> None:
    """Name the curves below the axis."""
    column, row = LEFT, SIZE[1] - 12
    for name in names:
        pen.line([(column, row), (column + 22, row)], fill=COLOURS[name], width=3)
        pen.text((column + 28, row), name, fill="black", anchor="lm")
        column += 44 + round(pen.textlength(name))
    pen.text((SIZE[0] - RIGHT, row), "data term against step", fill="black", anchor="rm")


def main() -> None:
    """Run what is missing, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--truth", nargs="+", type=Path, help="the sharp pictures: prints aligned PSNR too")
    parser.add_argument("--configs", type=Path, default=CONFIGS, help="folder of the three configs")
    parser.add_argument("--weights", default="", help="the generator's file, for configs/stylegan")
    parser.add_argument("--crop", type=int, default=15, help="pixels cut off every side before scoring")
    parser.add_argument("--runs", type=Path, default=Path("runs/fig-6"), help="folder of the records")
    parser.add_argument("--iterations", type=int, default=0, help="instead of those of the configs")
    parser.add_argument("--space", default="", help="file of the kernel space [default: deblurkit's]")
    parser.add_argument("-o", "--out", type=Path, default=Path("loss-curves.png"))
    options = parser.parse_args()
    folders = {name: [make_record(picture, name, options) for picture in options.pictures] for name in COLOURS}
    curves = {name: mean_curve([read_curve(folder) for folder in made]) for name, made in folders.items()}
    scores = {}
    if options.truth:
        print(f"{'blurry':<18}{mean_psnr(options.pictures, options.truth, options.crop):8.2f} dB")
        scores = {
            name: mean_psnr([folder / IMAGE for folder in made], options.truth, options.crop)
            for name, made in folders.items()
        }
    print_table(curves, scores)
    draw(curves, options.out)
    print(options.out)


if __name__ == "__main__":
    main()
