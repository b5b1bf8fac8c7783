"""Levin et al. 2009: blind (`fast`, automatic kernel size) and with the true kernels; PSNR aligned as published.

    python benchmarks/levin.py [--recipe fast] [--set run.starts=4] [--true-kernels] [--data ../shared/data]

Prints a line an image, then mean, median, worst, seconds, and seconds in units of one float32 rfft2 + irfft2 pair at
288x288 measured in the same run. Model and import time are left out.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import torch

from deblurkit.config import resolve
from deblurkit.images import read_image
from deblurkit.metrics import align
from deblurkit.pipeline import deblur
from deblurkit.registry import registry


def fft_pair(size: int = 288, repeats: int = 200) -> float:
    """Seconds of one float32 rfft2 + irfft2 pair."""
    x = torch.rand(size, size)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(repeats // 5):
            torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape)
        best = min(best, (time.perf_counter() - started) / (repeats // 5))
    return best


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DEBLURKIT_DATA", "../shared/data")))
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a value, by dotted key")
    parser.add_argument("--true-kernels", action="store_true", help="deconvolve with the true kernels")
    parser.add_argument("--images", default="1,2,3,4")
    parser.add_argument("--kernels", default="1,2,3,4,5,6,7,8")
    options = parser.parse_args()
    flags = dict(one.split("=", 1) for one in options.set)
    scores, seconds = [], []
    deblur(torch.rand(1, 1, 64, 64), resolve({}, registry=registry()))  # imports
    pair = fft_pair()
    for i in options.images.split(","):
        truth = read_image(options.data / f"levin/png/gt/im{i}.png").pixels
        for j in options.kernels.split(","):
            y = read_image(options.data / f"levin/png/im{i}_kernel{j}_img.png").pixels
            extra = {"kernel_prior.file": str(options.data / f"levin/kernels_conv/k{j}.npy")}
            recipe = "deconvolve" if options.true_kernels else options.recipe
            config = resolve({**flags, **(extra if options.true_kernels else {})}, registry=registry(), recipe=recipe)
            started = time.perf_counter()
            result = deblur(y, config)
            seconds.append(time.perf_counter() - started)
            scores.append(align(result.image, truth).psnr)
            size = "-" if result.kernel is None else result.kernel.shape[-1]
            reasons = "; ".join(result.quality.reasons)
            print(
                f"im{i} kernel{j}  {scores[-1]:6.2f} dB  {seconds[-1]:5.2f} s  {size} px  {result.attempts} attempts"
                f"  {result.quality.flag}  {reasons}",
                flush=True,
            )
    mean = statistics.mean(seconds)
    print(
        f"mean {statistics.mean(scores):.3f} dB  median {statistics.median(scores):.2f}  worst {min(scores):.2f}  "
        f"mean {mean:.2f} s  slowest {max(seconds):.2f} s  mean {mean / pair:.0f} FFT pairs of {pair * 1e3:.2f} ms"
    )


if __name__ == "__main__":
    main()
