"""Non-blind deconvolution with true kernels: quality in dB, time in units of one FFT pair measured in the same run.

    python benchmarks/restore.py [--data ../shared/data] [--synthetic 6] [--iterations 30]

The folder holds ``levin/png``, ``levin/kernels_conv``, ``sharp/kodak`` and ``kernels/synthetic_walk.npz``. Levin's
photographs are scored aligned as published; the synthetic pictures (colour, 344x456, kernels of 15 to 35 pixels,
rounded to 8 bits) plainly, because nothing there is out of place. Times are processor time of one thread.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deblurkit import metrics
from deblurkit.noise import estimate_noise
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.deconvolve import ITERATIONS, deconvolve, noise_weight
from deblurkit.ops.shrink import power_shrink

SIZE = (344, 456)


def read(path: Path) -> Tensor:
    """Picture as (1, C, H, W) in [0, 1]."""
    values = np.asarray(Image.open(path)).astype(np.float32) / 255.0
    return torch.from_numpy(values if values.ndim == 3 else values[..., None]).permute(2, 0, 1)[None]


def levin(folder: Path) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """Name, blurry photograph, kernel, truth of the 32 cases."""
    for image in range(1, 5):
        truth = read(folder / "png" / "gt" / f"im{image}.png")
        for kernel in range(1, 9):
            taps = torch.from_numpy(np.load(folder / "kernels_conv" / f"k{kernel}.npy")).float()[None, None]
            yield (
                f"im{image} kernel{kernel}",
                read(folder / "png" / f"im{image}_kernel{kernel}_img.png"),
                taps / taps.sum(),
                truth,
            )


def synthetic(data: Path, count: int, noise: float) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """Valid convolutions of Kodak pictures with random trajectories, noise, 8 bits."""
    archive = np.load(data / "kernels" / "synthetic_walk.npz")
    names = [name for name in archive if name.startswith("k") and 15 <= archive[name].shape[0] <= 35]
    pictures = sorted((data / "sharp" / "kodak").glob("*.png"))
    for index in range(count):
        name = names[5 * index % len(names)]
        kernel = torch.from_numpy(archive[name]).float()[None, None]
        kernel = kernel / kernel.sum()
        margin = kernel.shape[-1] // 2
        sharp = read(pictures[index % len(pictures)])
        top, left = (sharp.shape[-2] - SIZE[0]) // 2, (sharp.shape[-1] - SIZE[1]) // 2
        latent = sharp[..., top - margin : top + SIZE[0] + margin, left - margin : left + SIZE[1] + margin]
        clean = convolve_valid(latent, kernel)
        noisy = clean + noise * torch.randn(clean.shape, generator=torch.Generator().manual_seed(index))
        blurry = (noisy.clamp(0.0, 1.0) * 255.0).round() / 255.0
        yield name, blurry, kernel, latent[..., margin:-margin, margin:-margin]


def fft_pair() -> float:
    """Seconds of one rfft2 + irfft2 at 288x288, float32: the median of many."""
    x = torch.rand(1, 1, 288, 288, generator=torch.Generator().manual_seed(0))
    times = []
    for _ in range(10):
        begin = time.process_time()
        for _ in range(40):
            torch.fft.irfft2(torch.fft.rfft2(x), s=(288, 288))
        times.append((time.process_time() - begin) / 40)
    return float(np.median(times))


def measure(
    title: str, cases: Iterator[tuple[str, Tensor, Tensor, Tensor]], iterations: int, *, aligned: bool, unit: float
) -> None:
    """Restore every case, and print one line about all of them."""
    before, after, seconds, names = [], [], [], []
    for name, blurry, kernel, truth in cases:
        begin = time.process_time()
        latent = deconvolve(
            blurry,
            kernel,
            mask=torch.ones_like(blurry[:, :1]),
            shrink=power_shrink(0.8),
            weight=noise_weight(estimate_noise(blurry)),
            iterations=iterations,
        )
        seconds.append(time.process_time() - begin)
        rows, columns = kernel.shape[-2] // 2, kernel.shape[-1] // 2
        found = latent[..., rows : rows + truth.shape[-2], columns : columns + truth.shape[-1]]
        score = (lambda x, y: metrics.align(x, y).psnr) if aligned else (lambda x, y: float(metrics.psnr(x, y)))
        before.append(score(blurry, truth))
        after.append(score(found.clamp(0.0, 1.0), truth))
        names.append(name)
    worst = int(np.argmin(after))
    time_each = float(np.mean(seconds))
    print(
        f"{title:<28} blurry {np.mean(before):6.2f}  restored {np.mean(after):6.2f} dB  "
        f"worst {after[worst]:5.2f} ({names[worst]})  {time_each:.3f} s = {time_each / unit:.0f} FFT pairs"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DEBLURKIT_DATA", "../shared/data")))
    parser.add_argument("--synthetic", type=int, default=6, help="synthetic pictures per noise level")
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    unit = fft_pair()
    print(f"one rfft2 + irfft2 at 288x288, one thread: {1e3 * unit:.2f} ms")
    measure("Levin, 32 photographs", levin(arguments.data / "levin"), arguments.iterations, aligned=True, unit=unit)
    for noise in (0.0, 0.01, 0.03):
        cases = synthetic(arguments.data, arguments.synthetic, noise)
        measure(f"synthetic, noise {100 * noise:g} %", cases, arguments.iterations, aligned=False, unit=unit)


if __name__ == "__main__":
    main()
