"""How well a kernel space re-blurs, on pictures that it was not trained on; beside every number, one without learning.

    python benchmarks/kernel_space.py SPACE --table 1 [--gamma 2.2 --gain 1.2] [--noise 0.01] [--data ../shared/data]
    python benchmarks/kernel_space.py SPACE --table 3
    python benchmarks/kernel_space.py SPACE --rotation 1.5
    python benchmarks/kernel_space.py SPACE --pairs

All numbers are PSNR in dB of the re-blurred against the blurry picture without its noise, where both are valid.
``ratio`` is the plain spectral ratio of tapered gradients, ``corrected`` the same with its residual fed back three
times; either is projected onto the simplex, and neither is learned. SPACE may be '' for the space that comes with
deblurkit.

* ``--table 1``: the code is extracted from one picture and applied to another, y' = F(x', G(x, y)), kernel by kernel.
* ``--table 3``: the picture itself is re-blurred, by G alone, and after 100 steps of Adam on the code.
* ``--rotation A``: the camera turns from -A to A degrees about the picture's centre.
* ``--pairs``: nyu_rotation_synth, GoPro pairs, and averages of frames at 240 per second.
"""

import argparse
import math
import os
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deblurkit.images import read_image
from deblurkit.kernel_space.exposure import expose
from deblurkit.nets.kernel_space.compact import CompactSpace
from deblurkit.nets.kernel_space.refine import refine
from deblurkit.nets.kernel_space.space import KernelSpace
from deblurkit.nets.kernel_space.weights import load_space
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.spectral_ratio import REGULARISATION, nearest_kernel, spectral_ratio

WINDOW = 31
NOISY_REGULARISATION = 0.3
CONTROLS = {"ratio": 0, "corrected": 3}


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


def levin_kernels(data: Path) -> list[Tensor]:
    """The 8 kernels (1, 1, WINDOW, WINDOW) of Levin et al. 2009."""
    kernels = []
    for number in range(1, 9):
        kernel = torch.from_numpy(np.load(data / f"levin/kernels_conv/k{number}.npy")).float()[None, None]
        pad = (WINDOW - kernel.shape[-1]) // 2
        kernels.append(functional.pad(kernel, [pad] * 4))
    return kernels


def control(sharp: Tensor, blurry: Tensor, corrections: int, noise: float = 0.0) -> Tensor:
    """A kernel without learning; with noise the regularisation is the best of six for 1 % of it."""
    strength = REGULARISATION if noise == 0 else NOISY_REGULARISATION
    return nearest_kernel(spectral_ratio(sharp, blurry, WINDOW, regularisation=strength, corrections=corrections))


def controls(sharp: Tensor, blurry: Tensor, options: argparse.Namespace) -> Iterator[tuple[str, Tensor]]:
    """The kernels without learning between two pictures, in the light that the camera saw."""
    light, seen = sharp**options.gamma, blurry.clamp(0, 1) ** options.gamma
    for name, corrections in CONTROLS.items():
        yield name, control(light, seen, corrections, options.noise)


def reblur(space: KernelSpace, sharp: Tensor, code: Tensor) -> Tensor:
    """F where WINDOW's border is left out, whatever the space's margin."""
    with torch.no_grad():
        return inner(space.blur(sharp, code), WINDOW // 2 - space.margin).clamp(0, 1)


def through_camera(sharp: Tensor, kernel: Tensor, gamma: float) -> Tensor:
    """Re-blur in the light of a known gamma: the control knows what the space has to find out."""
    return convolve_valid(sharp.clamp_min(0) ** gamma, kernel).clamp(0, 1) ** (1 / gamma)


def exposed(scene: Tensor, kernel: Tensor, options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Sharp and blurry picture of one size, the blur being valid everywhere."""
    one = scene.new_ones(len(scene))
    return expose(scene, kernel, gamma=options.gamma * one, gain=options.gain * one)


def noisy(picture: Tensor, options: argparse.Namespace) -> Tensor:
    """With noise of the wanted strength, the same every time."""
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    return picture + options.noise * noise


def table_1(space: KernelSpace, options: argparse.Namespace) -> None:
    """Transfer to another picture."""
    scenes = pictures(options.data, options.pictures, options.count, options.side + WINDOW - 1)
    columns: dict[str, list[float]] = {}
    for number, kernel in enumerate(levin_kernels(options.data), 1):
        rows: dict[str, list[float]] = {"space": [], **{name: [] for name in CONTROLS}, "untouched": []}
        for index, scene in enumerate(scenes):
            sharp, blurry = exposed(scene, kernel, options)
            blurry = noisy(blurry, options)
            other = scenes[(index + 1) % len(scenes)]
            other_sharp, other_blurry = exposed(other, kernel, options)
            target = inner(other_blurry)
            rows["space"].append(psnr(reblur(space, other_sharp, space.encode(sharp, blurry)), target))
            for name, found in controls(sharp, blurry, options):
                rows[name].append(psnr(through_camera(other_sharp, found, options.gamma), target))
            rows["untouched"].append(psnr(inner(other_sharp), target))
        report(f"kernel {number}", rows, columns)
    summary(columns)


def table_3(space: KernelSpace, options: argparse.Namespace) -> None:
    """G alone, and after refinement."""
    scenes = pictures(options.data, options.pictures, options.count, options.side + WINDOW - 1)
    columns: dict[str, list[float]] = {}
    for number, kernel in enumerate(levin_kernels(options.data), 1):
        rows: dict[str, list[float]] = {"space": [], "refined": [], **{name: [] for name in CONTROLS}, "untouched": []}
        for scene in scenes:
            sharp, clean = exposed(scene, kernel, options)
            blurry = noisy(clean, options)
            target = inner(clean)
            code = space.encode(sharp, blurry)
            rows["space"].append(psnr(reblur(space, sharp, code), target))
            code = refine(space, sharp, blurry, code, steps=options.steps, lr=options.lr)
            rows["refined"].append(psnr(reblur(space, sharp, code), target))
            for name, found in controls(sharp, blurry, options):
                rows[name].append(psnr(through_camera(sharp, found, options.gamma), target))
            rows["untouched"].append(psnr(inner(sharp), target))
        report(f"kernel {number}", rows, columns)
    summary(columns)


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
    numbers["one kernel"] = psnr(convolve_valid(sharp, control(sharp, blurry, 3)), target)
    numbers["untouched"] = psnr(inner(sharp), target)
    return numbers


def rotation(space: KernelSpace, options: argparse.Namespace) -> None:
    """Camera rotation, which no single kernel describes."""
    columns: dict[str, list[float]] = {}
    for index, sharp in enumerate(pictures(options.data, options.pictures, options.count, options.side), 1):
        numbers = non_uniform(space, sharp, rotated(sharp, options.rotation), options)
        report(f"picture {index}", {name: [number] for name, number in numbers.items()}, columns)
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


FRAMES = "frames_gopr0477_240fps"


def pairs(space: KernelSpace, options: argparse.Namespace) -> None:
    """Pairs of which nobody knows the blur."""
    columns: dict[str, list[float]] = {}
    for name, sharp, blurry in real_pairs(options.data):
        border = [max(0, side - options.pair_side) // 2 for side in sharp.shape[-2:]]
        part = (..., *(slice(cut, side - cut) for cut, side in zip(border, sharp.shape[-2:], strict=True)))
        sharp, blurry = sharp[part], blurry[part]
        numbers = non_uniform(space, sharp, blurry, options)
        report(name, {column: [number] for column, number in numbers.items()}, columns)
    summary(columns)


def report(name: str, rows: dict[str, list[float]], columns: dict[str, list[float]]) -> None:
    """Print means over pictures, and keep them."""
    for column, values in rows.items():
        columns.setdefault(column, []).append(statistics.mean(values))
    text = "  ".join(f"{column} {statistics.mean(values):6.2f}" for column, values in rows.items())
    worst = f"  worst picture {min(rows['space']):6.2f}" if len(rows.get("space", [])) > 1 else ""
    print(f"{name:<28} {text}{worst}", flush=True)


def summary(columns: dict[str, list[float]]) -> None:
    """Print mean and worst of every column."""
    for label, of in (("mean", statistics.mean), ("worst", min)):
        print(f"{label:<28} " + "  ".join(f"{column} {of(values):6.2f}" for column, values in columns.items()))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", type=Path, help="a kernel space's file; '' for the one that comes with deblurkit")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DEBLURKIT_DATA", "../shared/data")))
    parser.add_argument("--table", type=int, choices=(1, 3))
    parser.add_argument("--rotation", type=float, metavar="DEGREES")
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("--gamma", type=float, default=1.0, help="of the camera that blurs")
    parser.add_argument("--gain", type=float, default=1.0, help="overexposure; above 1 highlights saturate")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation in the pair that G sees")
    parser.add_argument("--pictures", action="append", metavar="FOLDER", help="folders of data/sharp [default: set14]")
    parser.add_argument("--count", type=int, default=8, help="pictures")
    parser.add_argument("--side", type=int, default=256, help="of the pictures, in pixels")
    parser.add_argument("--steps", type=int, default=100, help="of Adam for --table 3")
    parser.add_argument("--lr", type=float, default=0.02, help="of Adam")
    parser.add_argument("--tiles", type=int, default=5, help="tiles a side for --rotation and --pairs")
    parser.add_argument("--tile-steps", type=int, default=40, help="of Adam on the tiles' codes")
    parser.add_argument("--pair-side", type=int, default=512, help="of the middle of --pairs, in pixels")
    options = parser.parse_args()
    options.pictures = options.pictures or ["set14"]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    space = load_space(options.space)
    if options.table == 1:
        table_1(space, options)
    elif options.table == 3:
        table_3(space, options)
    if options.rotation is not None:
        rotation(space, options)
    if options.pairs:
        pairs(space, options)


if __name__ == "__main__":
    main()
