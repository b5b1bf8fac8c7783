"""Lai et al. 2016, uniform blur: 25 sharp pictures in 5 categories, each blurred by 4 kernels, with 1 % noise.

Two folders are known. The authors' blurry pictures are ``{category}_{NN}_kernel_{MM}.png`` with the truth
``{category}_{NN}.png``. Where there are sharp pictures and kernels only, the blurry ones are made anew.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from deblurkit.datasets.case import Case, Sample
from deblurkit.datasets.look import (
    Place,
    distinct,
    picture_at,
    read_tensor,
    require_one_size,
    require_truths,
)
from deblurkit.errors import UsageError
from deblurkit.files import version_of
from deblurkit.kernels import KERNEL_SUFFIXES, read_kernel
from deblurkit.ops.convolve import convolve_valid

NOISE = 0.01
"""Standard deviation of the noise, for values of range 1."""

_BLURRY = re.compile(r"(([A-Za-z]+)_\d+)_kernel_(\d+)(?:_blur)?")
_SHARP = re.compile(r"([A-Za-z]+)_\d+")
_KERNEL = re.compile(r"kernel_(\d+)")
_TRUTHS = (".", "ground_truth", "../ground_truth", "groundtruth", "../groundtruth", "gt", "../gt", "../sharp")
_KERNELS = ("kernels", "../kernels", "ground_truth", "../ground_truth", "ground_truth/kernels",
            "../ground_truth/kernels", ".")  # fmt: skip
_SEED = 2016


@dataclass(frozen=True)
class LaiCase(Case):
    """A blurry picture as its authors published it, in colour.

    Attributes:
        blurry: The blurry picture.
        truth: The sharp one.
        psf: The kernel's file, or None where there is none. Copies of the set disagree about its orientation, so the
            one that explains the blurry picture better is taken.
    """

    layout: ClassVar[str] = "lai"

    blurry: Path
    truth: Path
    psf: Path | None

    def files(self) -> tuple[Path, ...]:
        """Picture, truth, kernel."""
        return (self.blurry, self.truth, *([] if self.psf is None else [self.psf]))

    def load(self) -> Sample:
        """Read the three; see `Case.load`."""
        y, x = read_tensor(self.blurry), read_tensor(self.truth)
        require_one_size(self.blurry, y, self.truth, x)
        return Sample(y, (x,), self.kernel())

    def kernel(self) -> Tensor | None:
        """The kernel, (1, 1, h, w), for true convolution; its orientation costs a look at the pictures, once."""
        if self.psf is None:
            return None
        turned = _turned(self.blurry, self.truth, self.psf, tuple(version_of(path) for path in self.files()))
        return read_kernel(self.psf, flip=turned).kernel

    def kernel_size(self) -> int | None:
        """The larger side of the kernel's file, which no orientation changes; see `Case.kernel_size`."""
        return None if self.psf is None else max(read_kernel(self.psf).kernel.shape[-2:])


@dataclass(frozen=True)
class MadeLaiCase(Case):
    """A blurry picture made anew: valid convolution in every channel, 1 % Gaussian noise, rounded to 8 bits.

    The noise depends on the case's name alone. It is not the authors' noise: their numbers are comparable, not equal.

    Attributes:
        sharp: The sharp picture; the truth is its part that the blurry picture shows.
        psf: The kernel's file, used as it is for true convolution.
    """

    layout: ClassVar[str] = "lai"
    recipe: ClassVar[str] = "valid convolution, normal noise 0.01, clipped, 8 bits, 1"

    sharp: Path
    psf: Path

    def files(self) -> tuple[Path, ...]:
        """Sharp picture and kernel."""
        return self.sharp, self.psf

    def load(self) -> Sample:
        """Blur the sharp picture; see `Case.load`."""
        x, kernel = read_tensor(self.sharp), read_kernel(self.psf).kernel
        height, width = kernel.shape[-2:]
        if x.shape[-2] < 2 * height or x.shape[-1] < 2 * width:
            raise UsageError(
                f"{self.sharp}: is {x.shape[-1]} × {x.shape[-2]} pixels, too small to be blurred by the {width} × "
                f"{height} kernel {self.psf}; give larger pictures."
            )
        y = convolve_valid(x.double(), kernel.double())
        seed = int.from_bytes(hashlib.sha256(f"{_SEED}:{self.name}".encode()).digest()[:7], "big")
        noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        y = (y + NOISE * noise).clamp_(0.0, 1.0).mul_(255.0).round_().div_(255.0).float()
        top, left = height // 2, width // 2
        truth = x[..., top : top + y.shape[-2], left : left + y.shape[-1]].contiguous()
        return Sample(y, (truth,), kernel)

    def kernel(self) -> Tensor:
        """The kernel, (1, 1, h, w), for true convolution; see `Case.kernel`."""
        return read_kernel(self.psf).kernel

    def _recipe(self) -> tuple[str | int | float, ...]:
        return self.name, _SEED, NOISE


def find_lai(place: Place) -> list[Case] | None:
    """The authors' blurry pictures, or else all pairs of a sharp picture and a kernel, or None where there are none.

    Raises:
        UsageError: A truth is missing, sharp pictures have no kernels, or two files are one case.
    """
    blurry = [(path, match) for path in place.pictures if (match := _BLURRY.fullmatch(path.stem))]
    return _published(blurry) if blurry else _made(place)


def _published(found: list[tuple[Path, re.Match[str]]]) -> list[Case]:
    """Cases of the authors' names, or those of a folder where everything stands side by side (``_blur``, ``_gt``)."""
    cases: list[tuple[str, Path, Case]] = []
    missing: dict[Path, Path] = {}
    for path, match in found:
        scene, category, number = match.groups()
        name = f"{scene}_kernel_{number}"
        truth = picture_at(path.parent, f"{name}_gt")
        for at in _TRUTHS:
            truth = truth or picture_at(path.parent / at, scene)
        if truth is None:
            missing[path] = path.parent.parent / "ground_truth" / f"{scene}{path.suffix}"
            continue
        psf = _kernel(path.parent, number)
        cases.append((name, path, LaiCase(name, category, path, truth, psf)))
    require_truths(missing, len(found), "the layout 'lai'")
    return distinct(cases, "the layout 'lai'")


def _made(place: Place) -> list[Case] | None:
    """Cases of ``sharp/{category}_{NN}.png`` and ``kernels/kernel_{MM}.npy`` or ``.png``."""
    cases: list[tuple[str, Path, Case]] = []
    lonely: Path | None = None
    for path in place.pictures:
        match = _SHARP.fullmatch(path.stem)
        if match is None or _KERNEL.fullmatch(path.stem) or path.parent.name not in ("sharp", "ground_truth"):
            continue
        kernels = _kernels(path.parent)
        lonely = lonely if kernels else path
        for number, psf in kernels.items():
            name = f"{path.stem}_kernel_{number}"
            cases.append((name, path, MadeLaiCase(name, match.group(1), path, psf)))
    if lonely is not None and cases:
        raise UsageError(
            f"{lonely}: has no kernels beside it; the layout 'lai' expects {lonely.parent.parent / 'kernels'} with "
            "kernel_01.npy or kernel_01.png and so on."
        )
    return distinct(cases, "the layout 'lai'") or None


def _kernels(folder: Path) -> dict[str, Path]:
    """The kernels of a folder of sharp pictures, by number; numbers rather than pictures where there are both."""
    for at in _KERNELS:
        if not (folder / at).is_dir():
            continue
        found: dict[str, Path] = {}
        for path in sorted((folder / at).iterdir()):
            match = _KERNEL.fullmatch(path.stem)
            if match and path.suffix.lower() in KERNEL_SUFFIXES:
                found.setdefault(match.group(1), path)  # .npy sorts before .png
        if found:
            return found
    return {}


def _kernel(folder: Path, number: str) -> Path | None:
    return _kernels(folder).get(number)


@functools.lru_cache(maxsize=256)
def _turned(blurry: Path, truth: Path, psf: Path, versions: tuple[tuple[int, int, int], ...]) -> bool:  # noqa: ARG001
    """Whether the kernel explains the picture better when turned by 180°, at the best whole-pixel shift and gain."""
    y, x = (read_tensor(path).double().mean(1, keepdim=True) for path in (blurry, truth))
    require_one_size(blurry, y, truth, x)
    kernel = read_kernel(psf).kernel.double()
    return _likeness(y, x, kernel.flip(-2, -1)) > _likeness(y, x, kernel)


def _likeness(y: Tensor, x: Tensor, kernel: Tensor) -> float:
    """Largest cyclic cross-correlation of y with x * kernel, both without their mean, over the norm of the latter."""
    height, width = kernel.shape[-2:]
    if height > x.shape[-2] or width > x.shape[-1]:
        return 0.0
    made = convolve_valid(x, kernel)
    seen = y[..., height // 2 : height // 2 + made.shape[-2], width // 2 : width // 2 + made.shape[-1]]
    made, seen = made - made.mean(), seen - seen.mean()
    cross = torch.fft.irfft2(torch.fft.rfft2(seen) * torch.fft.rfft2(made).conj(), s=seen.shape[-2:])
    return float(cross.max() / made.norm().clamp_min(1e-12))
