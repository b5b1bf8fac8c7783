"""Levin et al. 2009 with all its bits: one archive of 16-bit pictures, a truth for each case, and the kernels."""

from __future__ import annotations

import functools
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deblurkit.datasets.case import Case, Sample
from deblurkit.datasets.look import ARCHIVE, Place, distinct
from deblurkit.errors import UsageError
from deblurkit.files import version_of

_PARTS = "y16 and x16 (images, kernels, height, width) of uint16 and f1, f2, ... (height, width)"
_FULL = 65535.0


@dataclass(frozen=True)
class ExactLevinCase(Case):
    """One of the 32 pictures, from an archive with ``y16`` and ``x16``, each (4, 8, H, W), and ``f1`` to ``f8``.

    The truth belongs to the very case (they were shot and registered anew for each kernel). The kernels are those of
    the original files, which correlate: turned by 180° here, for true convolution.

    Attributes:
        archive: The ``.npz`` file.
        image: Number of the image, from 1.
        number: Number of the kernel, from 1.
    """

    layout: ClassVar[str] = "levin-exact"

    archive: Path
    image: int
    number: int

    def files(self) -> tuple[Path, ...]:
        """The archive."""
        return (self.archive,)

    def load(self) -> Sample:
        """Take the case out of the archive; see `Case.load`."""
        parts = _read(self.archive, version_of(self.archive))
        y, x = (
            torch.from_numpy(parts[name][self.image - 1, self.number - 1].astype(np.float32) / np.float32(_FULL))
            for name in ("y16", "x16")
        )
        return Sample(y[None, None], (x[None, None],), self.kernel())

    def kernel(self) -> Tensor:
        """The kernel, (1, 1, h, w), for true convolution; see `Case.kernel`."""
        values = _read(self.archive, version_of(self.archive))[f"f{self.number}"].astype(np.float64)
        turned = np.maximum(values[::-1, ::-1], 0.0)
        return torch.from_numpy((turned / turned.sum()).astype(np.float32))[None, None]

    def _recipe(self) -> tuple[str | int | float, ...]:
        return self.image, self.number


def find_exact_levin(place: Place) -> list[Case] | None:
    """The cases of all archives among the files, or None where there is none.

    Raises:
        UsageError: An archive is damaged, or is another one.
    """
    cases: list[tuple[str, Path, Case]] = []
    for path in place.files:
        if path.suffix.lower() != ARCHIVE or (path not in place.sources and _is_other(path)):
            continue
        images, kernels = _read(path, version_of(path))["y16"].shape[:2]
        for image in range(1, images + 1):
            for number in range(1, kernels + 1):
                name = f"im{image}_kernel{number}"
                cases.append((name, path, ExactLevinCase(name, "", path, image, number)))
    return distinct(cases, "the layout 'levin-exact'") or None


def _is_other(path: Path) -> bool:
    """Whether this is a sound archive of something else: one that lies about, not one that was named."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "y16.npy" not in archive.namelist()
    except (OSError, zipfile.BadZipFile):  # reading it will say what is wrong
        return False


@functools.lru_cache(maxsize=2)
def _read(path: Path, version: tuple[int, int, int]) -> dict[str, NDArray[np.generic]]:  # noqa: ARG001
    """All parts of an archive, checked; a file written anew is read anew."""
    try:
        # NumPy leaves a file open that it cannot read, and takes a single array for an archive
        with path.open("rb") as file, zipfile.ZipFile(file):
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                parts = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise UsageError(f"{path}: does not exist; check the name.") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise UsageError(f"{path}: cannot be read, for it is damaged or no .npz archive; copy it anew.") from error
    y, x = parts.get("y16"), parts.get("x16")
    good = y is not None and x is not None and y.ndim == 4 and y.shape == x.shape and y.size > 0
    good = good and y is not None and x is not None and y.dtype == x.dtype == np.uint16
    if not good or y is None:
        raise UsageError(f"{path}: is another archive than Levin's set; the layout 'levin-exact' expects {_PARTS}.")
    for number in range(1, y.shape[1] + 1):
        kernel = parts.get(f"f{number}")
        if kernel is None or kernel.ndim != 2 or kernel.dtype.kind != "f" or not all(n % 2 for n in kernel.shape):
            raise UsageError(f"{path}: holds no kernel f{number} with odd sides; 'levin-exact' expects {_PARTS}.")
        if not (np.isfinite(kernel).all() and np.maximum(kernel, 0).sum() > 0):
            raise UsageError(f"{path}: its kernel f{number} is not finite, or is zero everywhere; copy it anew.")
    return parts
