"""Training material in the manner of GoPro, from its 240 frames a second: pairs, and the kernels that pairs show.

    python benchmarks/gopro_material.py -o configs/kernel-space/material [--data configs/kernel-space/data]

``OUT/pairs/sharp`` and ``OUT/pairs/blur``: N neighbouring frames are averaged in linear light of gamma 2.2, as GoPro
was made (Nah, Kim and Lee, Deep multi-scale convolutional neural network for dynamic scene deblurring, CVPR 2017); the
one in the middle is the sharp one. ``OUT/kernels``: for tiles of these and of other GoPro pairs, the kernel that
explains the tile best, by the ratio of spectra: nothing learned. Tiles that a single kernel does not explain are left
out. Nothing is taken from gopro_official, which is for testing.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deblurkit.files import check_writable
from deblurkit.images import Picture, read_image, write_image
from deblurkit.kernel_space.pairs import find_pairs, read_pair
from deblurkit.ops.convolve import convolve_valid
from deblurkit.ops.simplex import keep_components, normalise
from deblurkit.ops.spectral_ratio import nearest_kernel, spectral_ratio

GAMMA = 2.2
WINDOW = 31
COUNTS = (7, 9, 11, 13, 15)
"""Frames that are averaged; GoPro took 7 to 15."""
STRIDE = 6
"""Frames from one average to the next."""
TILE = 128
BELIEVED, GAINED = 30.0, 3.0
"""PSNR in dB from which a tile's kernel is taken for its blur, if it is by so much better than none."""


def averages(frames: list[Picture]) -> Iterator[tuple[str, Picture, Tensor]]:
    """Name, sharp frame, and the mean of its neighbourhood."""
    for count in COUNTS:
        for start in range(0, len(frames) - count + 1, STRIDE):
            shots = torch.cat([frame.pixels for frame in frames[start : start + count]])
            light = shots.pow(GAMMA).mean(0, keepdim=True)
            yield f"{start:03}-{count:02}", frames[start + count // 2], light ** (1 / GAMMA)


def tile_kernels(sharp: Tensor, blurry: Tensor) -> Iterator[Tensor]:
    """Kernels (1, 1, WINDOW, WINDOW) of the tiles that one kernel explains, in linear light."""
    for top in range(0, sharp.shape[-2] - TILE + 1, TILE):
        for left in range(0, sharp.shape[-1] - TILE + 1, TILE):
            place = (..., slice(top, top + TILE), slice(left, left + TILE))
            one, other = (picture[place].mean(1, keepdim=True).pow(GAMMA) for picture in (sharp, blurry))
            kernel = nearest_kernel(spectral_ratio(one, other, WINDOW))
            kernel = normalise(keep_components(kernel, strong=0.2, weak=0.08, mass=0.1, gap=1))
            target = inner(other)
            score = psnr(convolve_valid(one, kernel), target)
            if score > max(BELIEVED, psnr(inner(one), target) + GAINED):
                yield kernel


def inner(picture: Tensor) -> Tensor:
    """Without the border that a kernel reaches over."""
    half = WINDOW // 2
    return picture[..., half:-half, half:-half]


def psnr(one: Tensor, other: Tensor) -> float:
    """Of pictures in linear light, as the camera would show them."""
    return float(-10 * (one.pow(1 / GAMMA) - other.pow(1 / GAMMA)).square().mean().log10())


def main() -> None:
    """Write the material."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("DEBLURKIT_DATA", "configs/kernel-space/data"))
    )
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    frames = [read_image(path) for path in sorted((options.data / "pairs/frames_gopr0477_240fps").glob("*.png"))]
    folders = {name: options.out / name for name in ("pairs/sharp", "pairs/blur", "kernels")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    for name, frame, blurry in averages(frames):
        write_image(folders["pairs/sharp"] / f"{name}.png", frame.pixels, frame, True)
        write_image(folders["pairs/blur"] / f"{name}.png", blurry, frame, True)
    others = [options.data / "pairs" / name for name in ("gopro_patches128", "gopro_frameavg")]
    found = find_pairs([options.out / "pairs", *others])
    count = 0
    for pair in found:
        for kernel in tile_kernels(*read_pair(pair)):
            path = folders["kernels"] / f"{count:04}.npy"
            check_writable(path, True)
            np.save(path, kernel[0, 0].numpy())
            count += 1
    print(f"{options.out}: {len(found)} pairs looked at, {count} kernels")


if __name__ == "__main__":
    main()
