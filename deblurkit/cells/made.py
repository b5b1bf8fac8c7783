"""Pairs that are made of a sharp picture and a kernel, so that the true blur is known and free of noise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from deblurkit.cells.code import BlurParams
from deblurkit.datasets.case import Case, Sample
from deblurkit.datasets.look import look, natural, read_tensor
from deblurkit.errors import UsageError
from deblurkit.kernel_space.exposure import expose
from deblurkit.kernels import KERNEL_SUFFIXES, read_kernel

WINDOW = 31
"""Smaller kernels are padded to this side, so that all of a set show the same part of a picture."""


@dataclass(frozen=True)
class MadeCase(Case):
    """The middle of a grey sharp picture, blurred where the blur is valid.

    Attributes:
        sharp: The sharp picture; the mean of its channels counts.
        psf: The kernel's file.
        side: Side of the pictures that are made, in pixels.
        noise: Standard deviation of the noise in the blurry one.
        gamma: Exponent of the camera's tone curve.
        gain: Exposure.
    """

    layout: ClassVar[str] = "made"
    recipe: ClassVar[str] = "grey middle, valid convolution, normal noise, 1"

    sharp: Path
    psf: Path
    side: int
    noise: float
    gamma: float
    gain: float

    def files(self) -> tuple[Path, ...]:
        """Sharp picture and kernel."""
        return self.sharp, self.psf

    def load(self) -> Sample:
        """Blur the sharp picture, with noise; see `Case.load`."""
        sample = self.clean()
        seed = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:7], "big")
        noise = torch.randn(sample.y.shape, generator=torch.Generator().manual_seed(seed))
        return Sample(sample.y + self.noise * noise, sample.truths, sample.kernel)

    def clean(self) -> Sample:
        """The same without noise.

        Raises:
            UsageError: The picture is smaller than what is to be made of it.
        """
        kernel = self.kernel()
        border = kernel.shape[-1] - 1
        pixels = read_tensor(self.sharp).mean(1, keepdim=True)
        top, left = ((length - self.side - border) // 2 for length in pixels.shape[-2:])
        if min(top, left) < 0:
            raise UsageError(
                f"{self.sharp}: is {pixels.shape[-1]} x {pixels.shape[-2]} pixels; a square of {self.side} px blurred "
                f"by a kernel of {border + 1} px needs {self.side + border} on each side: lower blur.side, or leave "
                "the picture out"
            )
        scene = pixels[..., top : top + self.side + border, left : left + self.side + border]
        sharp, blurry = expose(scene, kernel, gamma=torch.tensor([self.gamma]), gain=torch.tensor([self.gain]))
        return Sample(blurry, (sharp,), kernel)

    def kernel(self) -> Tensor:
        """The kernel, (1, 1, h, h), h at least `WINDOW`, for true convolution; see `Case.kernel`."""
        kernel = read_kernel(self.psf).kernel
        side = max(WINDOW, *kernel.shape[-2:])
        rows, columns = ((side - length) // 2 for length in kernel.shape[-2:])
        return functional.pad(kernel, (columns, columns, rows, rows))

    def _recipe(self) -> tuple[str | int | float, ...]:
        return self.name, self.side, self.noise, self.gamma, self.gain


def made_cases(sources: Sequence[Path], params: BlurParams) -> dict[str, list[MadeCase]]:
    """All pairs of sharp pictures and kernels, by the kernel's name.

    Args:
        sources: Sharp pictures: folders, files, patterns.
        params: How pairs are made of them.

    Raises:
        UsageError: There are no pictures, or no kernels, or two are called the same.
    """
    pictures = look(sources).pictures
    if not pictures:
        raise UsageError(f"{', '.join(map(str, sources))}: holds no pictures; give sharp ones")
    kernels = _kernels(params.kernels)
    for paths in (pictures, kernels):
        names = [path.stem for path in paths]
        twice = next((path for path in paths if names.count(path.stem) > 1), None)
        if twice is not None:
            raise UsageError(f"{twice}: is called like another one; rename it, for its name tells it from the others")
    p = params
    return {
        psf.stem: [
            MadeCase(f"{path.stem}_{psf.stem}", psf.stem, path, psf, p.side, p.noise, p.gamma, p.gain)
            for path in pictures
        ]
        for psf in kernels
    }


def _kernels(place: Path) -> list[Path]:
    """The kernels of a folder in natural order; numbers rather than a picture of them where there are both."""
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UsageError(f"{place}: does not exist; name a folder of kernels by blur.kernels")
    found: dict[str, Path] = {}
    for path in sorted(place.iterdir()):
        if path.suffix.lower() in KERNEL_SUFFIXES:
            found.setdefault(path.stem, path)
    if not found:
        raise UsageError(f"{place}: holds no kernels ({', '.join(sorted(KERNEL_SUFFIXES))}); name a folder that does")
    return sorted(found.values(), key=natural)
