"""How well a kernel space re-blurs what is no single convolution; beside it, one kernel that is not learned.

    python benchmarks/kernel_space.py SPACE --rotation 1.5 [--data ../shared/data]
    python benchmarks/kernel_space.py SPACE --pairs [--pair-side 320] [--tile-steps 0]

All numbers are PSNR in dB of the re-blurred against the blurry picture where both are valid. ``one kernel`` is the
spectral ratio of tapered gradients with its residual fed back three times, projected onto the simplex: nothing is
learned there. SPACE may be '' for the space that comes with deblurkit. Transfer, and re-blurring by known kernels, are
studies under configs/kernel-space for ``deblurkit ablate``, and so are whole pairs in colour.

* ``--rotation A``: the camera turns from -A to A degrees about the picture's centre.
* ``--pairs``: the grey middle of nyu_rotation_synth, of GoPro pairs, and of averages of frames at 240 per second.
"""

import argparse
import math
import os
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from deblurkit.images import read_image
from deblurkit.nets.kernel_space.compact import CompactSpace
from deblurkit.nets.kernel_space.refine import refine
from deblurkit.nets.kernel_space.space import KernelSpace
from deblurkit.nets.kernel_space.weights import load_space
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.spectral_ratio import nearest_kernel, spectral_ratio

WINDOW = 31
FRAMES = "frames_gopr0477_240fps"


def psnr(one: Tensor, other: Tensor) -> float:
    """Of pictures in [0, 1]."""
    return -10 * math.log10(max(float((one - other).square().mean()), 1e-13))


def inner(picture: Tensor, border: int = WINDOW // 2) -> Tensor:
    """Without its border."""
    return picture[..., border : picture.shape[-2] - border, border : picture.shape[-1] - border]


def pictures(data: Path, names: list[str], count: int, side: int) -> list[Tensor]:
    """Grey squares (1, 1, side, side) from the middle of some pictures."""
    paths = [path for name in names for path in sorted((data / "sharp" / name).iterdir())]
    found = []
    for path in paths:
        pixels = read_image(path).pixels.mean(1, keepdim=True)
        top, left = (pixels.shape[-2] - side) // 2, (pixels.shape[-1] - side) // 2
        if min(top, left) >= 0:
            found.append(pixels[..., top : top + side, left : left + side])
    return found[:: max(1, len(found) // count)][:count]


def control(sharp: Tensor, blurry: Tensor) -> Tensor:
    """A kernel without learning."""
    return nearest_kernel(spectral_ratio(sharp, blurry, WINDOW))


def reblur(space: KernelSpace, sharp: Tensor, code: Tensor) -> Tensor:
    """F where WINDOW's border is left out, whatever the space's margin."""
    with torch.no_grad():
        return inner(space.blur(sharp, code), WINDOW // 2 - space.margin).clamp(0, 1)


def rotated(picture: Tensor, degrees: float, views: int = 61) -> Tensor:
    """The mean of a picture turned by -degrees to degrees about its centre."""
    height, width = picture.shape[-2:]
    total = torch.zeros_like(picture)
    for angle in torch.linspace(-degrees, degrees, views) * math.pi / 180:
        cos, sin = float(angle.cos()), float(angle.sin())
        turn = torch.tensor([[[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]])
        grid = functional.affine_grid(turn, list(picture.shape), align_corners=False)
        total += functional.grid_sample(picture, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return (total / views).clamp(0, 1)


def non_uniform(space: KernelSpace, sharp: Tensor, blurry: Tensor, options: argparse.Namespace) -> dict[str, float]:
    """One pair by one code, by a grid of them, by the grid refined, and by one kernel without learning."""
    target = inner(blurry)
    numbers = {"one code": psnr(reblur(space, sharp, space.encode(sharp, blurry)), target)}
    if isinstance(space, CompactSpace):
        codes = space.encode_tiles(sharp, blurry, (options.tiles, options.tiles))
        numbers["tiles"] = psnr(reblur(space, sharp, codes), target)
        if options.tile_steps:
            codes = refine(space, sharp, blurry, codes, steps=options.tile_steps, lr=options.lr)
            numbers["refined"] = psnr(reblur(space, sharp, codes), target)
    numbers["one kernel"] = psnr(convolve_valid(sharp, control(sharp, blurry)), target)
    numbers["untouched"] = psnr(inner(sharp), target)
    return numbers


def rotation(space: KernelSpace, options: argparse.Namespace) -> None:
    """Camera rotation, which no single kernel describes."""
    columns: dict[str, list[float]] = {}
    for index, sharp in enumerate(pictures(options.data, options.pictures, options.count, options.side), 1):
        report(f"picture {index}", non_uniform(space, sharp, rotated(sharp, options.rotation), options), columns)
    summary(columns)


def real_pairs(data: Path) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, sharp and blurry picture (1, 1, H, W) of every pair that is there."""
    root = data / "pairs"
    found = [(path.with_name(path.name.replace("_gt", "")), path) for path in root.glob("nyu_rotation_synth/*_gt.jpg")]
    found += [(path, path.with_name(path.name.replace("_blur", "_sharp"))) for path in root.glob("gopro_*/*_blur.png")]
    for blurry, sharp in sorted(found):
        one, other = (read_image(path).pixels.mean(1, keepdim=True) for path in (sharp, blurry))
        yield f"{blurry.parent.name[:5]} {blurry.stem[:22]}", one, other
    frames = [read_image(path).pixels.mean(1, keepdim=True) for path in sorted((root / FRAMES).glob("*.png"))]
    for count in (7, 11, 15):
        if len(frames) >= count:
            start = (len(frames) - count) // 2
            light = torch.stack(frames[start : start + count]).pow(2.2).mean(0)
            yield f"{count} frames averaged", frames[start + count // 2], light ** (1 / 2.2)


def pairs(space: KernelSpace, options: argparse.Namespace) -> None:
    """Pairs of which nobody knows the blur."""
    columns: dict[str, list[float]] = {}
    for name, sharp, blurry in real_pairs(options.data):
        top, left = (max(0, side - options.pair_side) // 2 for side in sharp.shape[-2:])
        rows, places = slice(top, sharp.shape[-2] - top), slice(left, sharp.shape[-1] - left)
        report(name, non_uniform(space, sharp[..., rows, places], blurry[..., rows, places], options), columns)
    summary(columns)


def report(name: str, numbers: dict[str, float], columns: dict[str, list[float]]) -> None:
    """Print a row, and keep it."""
    for column, value in numbers.items():
        columns.setdefault(column, []).append(value)
    print(f"{name:<28} " + "  ".join(f"{column} {value:6.2f}" for column, value in numbers.items()), flush=True)


def summary(columns: dict[str, list[float]]) -> None:
    """Print mean and worst of every column."""
    for label, of in (("mean", statistics.mean), ("worst", min)):
        print(f"{label:<28} " + "  ".join(f"{column} {of(values):6.2f}" for column, values in columns.items()))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", type=Path, help="a kernel space's file; '' for the one that comes with deblurkit")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DEBLURKIT_DATA", "../shared/data")))
    parser.add_argument("--rotation", type=float, metavar="DEGREES")
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("--pictures", action="append", metavar="FOLDER", help="folders of data/sharp [default: set14]")
    parser.add_argument("--count", type=int, default=8, help="pictures")
    parser.add_argument("--side", type=int, default=256, help="of the pictures, in pixels")
    parser.add_argument("--lr", type=float, default=0.02, help="of Adam")
    parser.add_argument("--tiles", type=int, default=5, help="tiles a side")
    parser.add_argument("--tile-steps", type=int, default=40, help="of Adam on the tiles' codes")
    parser.add_argument("--pair-side", type=int, default=512, help="of the middle of --pairs, in pixels")
    options = parser.parse_args()
    options.pictures = options.pictures or ["set14"]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    space = load_space(options.space)
    if options.rotation is not None:
        rotation(space, options)
    if options.pairs:
        pairs(space, options)


if __name__ == "__main__":
    main()
