"""One blurry picture of a data set, with all that is known about it."""

from __future__ import annotations

import functools
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from deblurkit.errors import UsageError
from deblurkit.files import version_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Sample:
    """The contents of a case.

    Attributes:
        y: The blurry picture, (1, C, H, W) float32 in [0, 1].
        truths: Sharp pictures, each (1, C, H', W') float32 in [0, 1]: one as a rule, those along the camera's
            trajectory for Koehler's set (some 200: read one by one, as they are asked for), none where the truth is
            unknown.
        kernel: (1, 1, h, w) float32, at least 0, odd sides, sum 1, for true convolution; None where there is none.
    """

    y: Tensor
    truths: Sequence[Tensor]
    kernel: Tensor | None


@dataclass(frozen=True)
class Case(ABC):
    """One blurry picture of a data set. It holds names, not pixels: cheap to make, to compare and to send elsewhere.

    Attributes:
        name: What tells it from the others of its set: ``im1_kernel3``.
        group: The category that published tables average over, or nothing.
    """

    layout: ClassVar[str]
    recipe: ClassVar[str] = "1"
    """Changes whenever the same files would be made into another sample."""

    name: str
    group: str

    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """All files that it is made of, in a fixed order."""

    @abstractmethod
    def load(self) -> Sample:
        """Read, or make, the pictures and the kernel.

        Raises:
            ImageError: A picture is damaged.
            UsageError: A file is missing, or the files do not fit each other.
        """

    @abstractmethod
    def kernel(self) -> Tensor | None:
        """The true kernel alone, as in `Sample`, without a look at the pictures.

        Raises:
            UsageError: Its file is missing or damaged.
        """

    def kernel_size(self) -> int | None:
        """The larger side of the true kernel, odd, in pixels; None where the kernel is unknown.

        Raises:
            UsageError: Its file is missing or damaged.
        """
        kernel = self.kernel()
        return None if kernel is None else max(kernel.shape[-2:])

    def fingerprint(self) -> str:
        """Hex digits that change with the content of any file or with the recipe, not with the folder's place.

        Raises:
            UsageError: A file cannot be read.
        """
        recipe = repr((self.layout, self.recipe, *self._recipe()))
        return _fingerprint(recipe, tuple((path, version_of(path)) for path in self.files()))

    def _recipe(self) -> tuple[str | int | float, ...]:
        """What else than the files decides over the sample: a position in an archive, the seed of the noise."""
        return ()


_Version = tuple[int, int, int]


# a benchmark asks for every case again in every row; of 48 cases of Koehler's set each has some 200 files
@functools.lru_cache(maxsize=4096)
def _fingerprint(recipe: str, files: tuple[tuple[Path, _Version], ...]) -> str:
    """Digest of a recipe and the contents of files."""
    digest = hashlib.sha256(recipe.encode())
    for path, version in files:
        digest.update(_content(path, version))
    return digest.hexdigest()


@functools.lru_cache(maxsize=65536)
def _content(path: Path, version: _Version) -> bytes:  # noqa: ARG001 - a file written anew is read anew
    """Digest of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); check the file.") from error
