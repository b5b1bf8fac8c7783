"""Colour pictures under synthetic hand-shake of 15 to 35 px with 1 % noise: blurry, blind, true kernel.

    python benchmarks/handshake.py [--count 12] [--set run.starts=4] [--data ../shared/data]

Crops of 344x456 pixels from Kodak, BSDS and Urban100 pictures, valid convolution, 8 bits; automatic kernel size; PSNR
aligned as published. The column of the true kernel has the same last step.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deblurkit.config import resolve
from deblurkit.images import read_image
from deblurkit.metrics import align, kernel_similarity
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.resample import crop_kernel
from deblurkit.ops.simplex import recentre
from deblurkit.pipeline import deblur
from deblurkit.registry import registry

HEIGHT, WIDTH, NOISE = 344, 456, 0.01
PICTURES = ("sharp/kodak", "sharp/bsds500_train_color", "sharp/urban100")


def cases(data: Path, count: int) -> list[tuple[str, Tensor, Tensor, Tensor]]:
    """Name, blurry picture, sharp picture and kernel of every case."""
    archive = np.load(data / "kernels/synthetic_walk.npz")
    kernels = [archive[name] for name in sorted(archive.files) if archive[name].ndim == 2]
    kernels = [k for k in kernels if 15 <= max(k.shape) <= 35]
    folders = [sorted((data / folder).iterdir()) for folder in PICTURES]
    found = []
    for index in range(count):
        folder = folders[index % len(folders)]
        path = folder[(index // len(folders)) % len(folder)]
        raw = torch.from_numpy(np.ascontiguousarray(kernels[(5 * index) % len(kernels)])).float()[None, None]
        side = max(raw.shape[-2:]) // 2 * 2 + 1
        kernel = recentre(crop_kernel(raw / raw.sum(), (side, side)))
        x = read_image(path).pixels
        height, width = HEIGHT + side - 1, WIDTH + side - 1
        if x.shape[-1] < x.shape[-2]:
            x = x.transpose(-1, -2)
        if x.shape[-2] < height or x.shape[-1] < width:  # BSDS pictures are 321x481
            x = torch.nn.functional.interpolate(x, scale_factor=max(height / x.shape[-2], width / x.shape[-1]) + 1e-3,
                                                mode="bicubic", antialias=True).clamp(0, 1)  # fmt: skip
        top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
        x = x[..., top : top + height, left : left + width].contiguous()
        generator = torch.Generator().manual_seed(index)
        y = convolve_valid(x, kernel)
        y = y + NOISE * torch.randn(y.shape, generator=generator)
        y = (y.clamp(0, 1) * 255).round() / 255
        half = side // 2
        sharp = x[..., half : half + HEIGHT, half : half + WIDTH]
        found.append((f"{path.stem[:14]} {side} px", y, sharp, kernel))
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DEBLURKIT_DATA", "../shared/data")))
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a value, by dotted key")
    options = parser.parse_args()
    flags = dict(one.split("=", 1) for one in options.set)
    config = resolve(flags, registry=registry())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, y, sharp, kernel in cases(options.data, options.count):
            file = Path(folder) / "kernel.npy"
            np.save(file, kernel[0, 0].numpy())
            known = resolve({"kernel_prior.file": str(file)}, registry=registry(), recipe="deconvolve")
            started = time.perf_counter()
            result = deblur(y, config)
            seconds = time.perf_counter() - started
            oracle = align(deblur(y, known).image, sharp).psnr
            row = align(y, sharp).psnr, align(result.image, sharp).psnr, oracle, seconds
            rows.append(row)
            assert result.kernel is not None
            like = kernel_similarity(result.kernel, kernel).direct
            print(
                f"{name:22s} blurry {row[0]:5.2f}  blind {row[1]:5.2f}  true kernel {row[2]:5.2f} dB  {seconds:5.2f} s"
                f"  {result.kernel.shape[-1]} px  similarity {like:.2f}  {result.quality.flag}",
                flush=True,
            )
    blurry, blind, oracle, seconds = (statistics.mean(column) for column in zip(*rows, strict=True))
    print(f"mean: blurry {blurry:.2f}  blind {blind:.2f}  true kernel {oracle:.2f} dB  {seconds:.2f} s")


if __name__ == "__main__":
    main()
