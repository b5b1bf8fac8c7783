"""Recover pictures that lie on a generator's manifold, or near it, from motion blur.

    python benchmarks/manifold.py digits.safetensors                    20 pictures of the generator itself
    python benchmarks/manifold.py digits.safetensors --held-out         digits of a font that it was not trained on
    python benchmarks/manifold.py digits.safetensors --pictures FOLDER  any pictures of its size

Each picture is blurred by a random hand-held trajectory and rounded to 8 bits; with --rotation the camera turns
besides, with --gamma light adds up where the tone curve is undone (neither is a convolution then). PSNR is of the whole
frame where the kernel is given; for a blind run, which may shift picture and kernel against each other, over the inner
part after alignment. A failure is a result below 20 dB.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from deblurkit.checkpoints.layouts import open_generator
from deblurkit.config import resolve
from deblurkit.core.image_prior import extend
from deblurkit.images import read_image
from deblurkit.kernel_space.trajectories import random_kernels
from deblurkit.kernels import write_kernel
from deblurkit.metrics import align, psnr
from deblurkit.ops.convolve import convolve_valid
from deblurkit.pipeline import deblur
from deblurkit.pipeline.judge import spread
from deblurkit.registry import registry

CROP, SHIFT = 10, 6
"""Pixels cut off every side before a blind result is compared, and the largest shift that is tried."""
FAILED = 20.0
"""Below this many dB a result is a failure."""
LEAST_SPREAD = 2.0
"""Kernels of a smaller root mean square radius, in pixels, blur too little to be asked about."""

STYLEGAN = {"image_prior.name": "stylegan", "recipe": "manifold"}
ROWS: dict[str, dict[str, Any]] = {
    "stylegan, known": {**STYLEGAN, "kernel_prior.name": "known"},
    "stylegan, convolution": {**STYLEGAN, "kernel_prior.name": "convolution"},
    "stylegan, encoded": {**STYLEGAN, "kernel_prior.name": "encoded"},
    "stylegan, fcn": {**STYLEGAN, "kernel_prior.name": "fcn"},
    "hyper-laplacian, known": {"recipe": "deconvolve", "kernel_prior.name": "known"},
    "hyper-laplacian, blind": {"recipe": "fast"},
    "dip, known": {"image_prior.name": "dip", "kernel_prior.name": "known", "final.name": "none"},
    "dip, fcn": {"image_prior.name": "dip", "kernel_prior.name": "fcn"},
    "dip, encoded": {"image_prior.name": "dip", "kernel_prior.name": "encoded"},
}
"""What is compared: flags by row; ``recipe`` names what stands below them."""


def truths(options: argparse.Namespace) -> list[Tensor]:
    """The sharp pictures (1, 3, R, R) in [0, 1]."""
    generator = open_generator(options.weights)
    if options.held_out:
        sys.path.insert(0, str(Path(__file__).parents[1] / "configs" / "stylegan"))
        import digits

        random = np.random.default_rng(options.seed)
        arrays = [digits.digit(random, "", index % 10) for index in range(options.count)]
        return [torch.from_numpy(array.transpose(2, 0, 1).copy())[None] for array in arrays]
    if options.pictures:
        files = sorted(path for path in options.pictures.iterdir() if path.suffix == ".png")
        return [read_image(path).pixels.expand(-1, 3, -1, -1) for path in files[: options.count]]
    source = torch.Generator().manual_seed(options.seed)
    pictures = []
    with torch.no_grad():
        for _ in range(options.count):
            w = generator.map(torch.randn(1, generator.inputs, generator=source))
            noises = [torch.randn(1, 1, side, side, generator=source) for side in generator.noise_sizes]
            x = generator(w[:, None].expand(-1, generator.latents, -1), noises)
            pictures.append(((x + 1) / 2).clamp(0, 1))
    return pictures


def kernels(count: int, window: int, seed: int) -> list[Tensor]:
    """Random kernels (1, 1, h, w) that do blur."""
    source = torch.Generator().manual_seed(seed)
    found: list[Tensor] = []
    while len(found) < count:
        drawn = random_kernels(8, window, generator=source, shift=0.0)
        found += [one for one in drawn.split(1) if spread(one) >= LEAST_SPREAD]
    return found[:count]


def observed(x: Tensor, kernel: Tensor, seed: int, options: argparse.Namespace) -> Tensor:
    """The blurry picture (1, 3, R, R), rounded to 8 bits; the border is repeated, as no content is known there."""
    light = extend(x**options.gamma, (kernel.shape[-2] // 2, kernel.shape[-1] // 2))
    light = convolve_valid(rotated(light, options.rotation) if options.rotation else light, kernel)
    y = light.clamp_min(0) ** (1 / options.gamma)
    y = y + options.noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    return (y * 255).round().clamp(0, 255) / 255


def rotated(x: Tensor, degrees: float, views: int = 41) -> Tensor:
    """The mean of a square picture turned by -degrees to degrees about its centre."""
    total = torch.zeros_like(x)
    for angle in torch.linspace(-degrees, degrees, views) * math.pi / 180:
        cos, sin = float(angle.cos()), float(angle.sin())
        grid = functional.affine_grid(torch.tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]]), list(x.shape), False)
        total += functional.grid_sample(x, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return total / views


def export(cases: list[tuple[Tensor, Tensor, Tensor]], folder: Path) -> None:
    """Write the pictures, sharp and blurry, for other programs."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, (x, _, y) in enumerate(cases):
        for word, picture in (("sharp", x), ("blurry", y)):
            pixels = (picture[0].permute(1, 2, 0) * 255).round().byte().numpy()
            Image.fromarray(pixels).save(folder / f"{index:02d}-{word}.png")


def run_row(name: str, cases: list[tuple[Tensor, Tensor, Tensor]], options: argparse.Namespace) -> list[float]:
    """Deblur every case with a row's flags; print and return the PSNR of each."""
    scores, seconds, sheet = [], [], []
    for index, (x, kernel, y) in enumerate(cases):
        with tempfile.TemporaryDirectory() as folder:
            flags = {"run.kernel_size": options.window, "run.threads": 1, "run.seed": index, **ROWS[name]}
            recipe = str(flags.pop("recipe", ""))
            if flags.get("image_prior.name") == "stylegan":
                flags["image_prior.weights"] = str(options.weights)
            known = flags.get("kernel_prior.name") == "known"
            if known:
                file = Path(folder) / "kernel.npy"
                write_kernel(file, file.with_suffix(".png"), kernel, True)
                flags |= {"kernel_prior.file": str(file), "run.kernel_size": "auto"}
            flags |= dict(flag.split("=", 1) for flag in options.set)
            started = time.monotonic()
            result = deblur(y, resolve(flags, registry=registry(), recipe=recipe))
            seconds.append(time.monotonic() - started)
        aligned = align(result.image, x, crop=CROP, max_shift=SHIFT)
        scores.append(float(psnr(result.image, x)) if known else aligned.psnr)
        sheet.append(torch.cat([x, y, result.image], 2)[0])
    if options.sheet:
        options.sheet.mkdir(parents=True, exist_ok=True)
        pixels = (torch.cat(sheet, 2).permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(options.sheet / f"{name.replace(', ', '-')}.png")
    failed = sum(score < FAILED for score in scores) / len(scores)
    print(
        f"{name:<26} median {statistics.median(scores):5.2f}  mean {statistics.mean(scores):5.2f}  "
        f"worst {min(scores):5.2f}  failed {failed:4.0%}  {statistics.median(seconds):6.1f} s",
        flush=True,
    )
    if options.verbose:
        print("  ", *(f"{score:.1f}" for score in scores), flush=True)
    return scores


def main() -> None:
    """Print a row for every way to deblur."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="the generator")
    parser.add_argument("--held-out", action="store_true", help="digits of the font that was held out")
    parser.add_argument("--pictures", type=Path, help="a folder of sharp pictures of the generator's size")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--window", type=int, default=13, help="side of the kernels, in pixels")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation of the noise")
    parser.add_argument("--rotation", type=float, default=0.0, help="the camera turns by so many degrees both ways")
    parser.add_argument("--gamma", type=float, default=1.0, help="exponent of the tone curve")
    parser.add_argument("--export", type=Path, help="folder to write the sharp and blurry pictures to")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--set", nargs="*", default=[], help="further flags, section.name=value")
    parser.add_argument("--sheet", type=Path, help="folder for pictures: sharp, blurry, restored")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pictures = truths(options)
    drawn = kernels(len(pictures), options.window, options.seed)
    cases = [
        (x, kernel, observed(x, kernel, options.seed + index, options))
        for index, (x, kernel) in enumerate(zip(pictures, drawn, strict=True))
    ]
    if options.export:
        export(cases, options.export)
    blurry = [align(y, x, crop=CROP, max_shift=SHIFT).psnr for x, _, y in cases]
    print(f"{'blurry':<26} median {statistics.median(blurry):5.2f}  mean {statistics.mean(blurry):5.2f}")
    for name in options.rows:
        run_row(name, cases, options)


if __name__ == "__main__":
    main()
