"""Levin et al. 2009: 4 photographs, each blurred in front of the camera by 8 kernels; the set of 8-bit PNG files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from deblurkit.datasets.case import Case, Sample
from deblurkit.datasets.look import Place, distinct, picture_at, read_grey, require_one_size, require_truths
from deblurkit.kernels import read_kernel

_BLURRY = re.compile(r"im(\d+)_kernel(\d+)_img")
_TRUTHS = ("gt", "groundtruth", "ground_truth", "../gt", ".")
_CONVOLVED = ("kernels_conv", "../kernels_conv", "gt", ".")
_AS_THEY_ARE = ("4", "8")
"""Kernel pictures that are stored for true convolution; the other six are stored turned by 180°. Measured: with the
orientation chosen so, truth * kernel fits the blurry picture to 40 to 47 dB, in the other one to 25 to 39 dB."""


@dataclass(frozen=True)
class LevinCase(Case):
    """One of the 32 pictures.

    The truths ``gt/im{i}.png`` are those of kernel 8, so that other kernels' pictures are off by up to 5 pixels: scores
    are meaningless without alignment. The kernels come as ``kernel{j}.png``, scaled to their peak and in two
    orientations, or, put right, as ``kernels_conv/k{j}.npy``.

    Attributes:
        blurry: The blurry picture.
        truth: The sharp one.
        psf: The kernel's file, or None where there is none.
        turned: Whether that file has to be turned by 180° for true convolution.
    """

    layout: ClassVar[str] = "levin"

    blurry: Path
    truth: Path
    psf: Path | None
    turned: bool

    def files(self) -> tuple[Path, ...]:
        """Picture, truth, kernel."""
        return (self.blurry, self.truth, *([] if self.psf is None else [self.psf]))

    def load(self) -> Sample:
        """Read the three; see `Case.load`."""
        y, x = read_grey(self.blurry), read_grey(self.truth)
        require_one_size(self.blurry, y, self.truth, x)
        return Sample(y, (x,), self.kernel())

    def kernel(self) -> Tensor | None:
        """The kernel, (1, 1, h, w), for true convolution; see `Case.kernel`."""
        return None if self.psf is None else read_kernel(self.psf, flip=self.turned).kernel

    def _recipe(self) -> tuple[str | int | float, ...]:
        return ("turned" if self.turned else "as is",)


def find_levin(place: Place) -> list[Case] | None:
    """The cases of ``im{i}_kernel{j}_img.png`` with ``gt/im{i}.png``, or None where there are none.

    Raises:
        UsageError: A truth is missing, or two files are one case.
    """
    found = [(path, match) for path in place.pictures if (match := _BLURRY.fullmatch(path.stem))]
    if not found:
        return None
    cases: list[tuple[str, Path, Case]] = []
    missing: dict[Path, Path] = {}
    for path, match in found:
        image, number = match.groups()
        truth = _first(path.parent, _TRUTHS, f"im{image}")
        if truth is None:
            missing[path] = path.parent / "gt" / f"im{image}{path.suffix}"
            continue
        name = f"im{image}_kernel{number}"
        cases.append((name, path, LevinCase(name, "", path, truth, *_kernel(path.parent, number))))
    require_truths(missing, len(found), "the layout 'levin'")
    return distinct(cases, "the layout 'levin'")


def _kernel(folder: Path, number: str) -> tuple[Path | None, bool]:
    """The file of a kernel, and whether it is stored turned."""
    for at in _CONVOLVED:
        if (path := folder / at / f"k{number}.npy").is_file():
            return path, False
    return _first(folder, _TRUTHS, f"kernel{number}"), number not in _AS_THEY_ARE


def _first(folder: Path, places: tuple[str, ...], stem: str) -> Path | None:
    """The picture of that name in the first of the places that has it."""
    found = (picture_at(folder / at, stem) for at in places)
    return next((path for path in found if path is not None), None)
