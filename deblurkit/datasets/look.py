"""Which files there are, and reading them: what the layouts share."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from deblurkit.errors import UsageError
from deblurkit.images import SUFFIXES, read_image

ARCHIVE = ".npz"
_SHOWN = 3
_Case = TypeVar("_Case")


@dataclass(frozen=True)
class Place:
    """What the user named, looked at once.

    Attributes:
        sources: The paths as given; a pattern counts as its files.
        files: Pictures and archives among them and below them, in natural order, hidden ones left out.
        text: The sources in words, to begin an error with.
    """

    sources: tuple[Path, ...]
    files: tuple[Path, ...]
    text: str

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The pictures among the files."""
        return tuple(path for path in self.files if path.suffix.lower() in SUFFIXES)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the files and those above them up to the sources, once each."""
        found: dict[Path, None] = {source: None for source in self.sources if source.is_dir()}
        for path in self.files:
            found.setdefault(path.parent)
        return tuple(found)


def look(sources: Sequence[Path]) -> Place:
    """Expand patterns, and list what is in folders and their sub-folders.

    Raises:
        UsageError: A path does not exist or cannot be read, or a pattern fits nothing.
    """
    if not sources:
        raise UsageError("No data set is named; give its folder, or a pattern of its blurry pictures.")
    named = [path for source in sources for path in expand(source)]
    files = [file for path in named for file in (_below(path) if path.is_dir() else [path])]
    text = ", ".join(str(source) for source in sources[:_SHOWN]) + (", ..." if len(sources) > _SHOWN else "")
    return Place(tuple(named), tuple(dict.fromkeys(files)), text)


def expand(source: Path) -> Iterator[Path]:
    """The files or the folder that one name stands for.

    Raises:
        UsageError: It does not exist, or is a pattern that fits nothing.
    """
    if source.exists():
        yield source
        return
    if not glob.has_magic(str(source)):
        raise UsageError(f"{source}: does not exist; check the name.")
    found = sorted((Path(name) for name in glob.glob(str(source), recursive=True)), key=natural)
    if not found:
        raise UsageError(f"{source}: no file fits this pattern; check it, or give a folder.")
    yield from found


def natural(path: Path | str) -> list[tuple[int, int | str]]:
    """Sorting key under which numbers count as numbers."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def picture_at(folder: Path, stem: str) -> Path | None:
    """The picture of that name, whatever its format, or None."""
    for suffix in SUFFIXES:
        if (path := folder / f"{stem}{suffix}").is_file():
            return path
    return None


def read_tensor(path: Path) -> Tensor:
    """A picture's (1, C, H, W) float32 pixels.

    Raises:
        ImageError: It is damaged.
        UsageError: It is missing.
    """
    return read_image(path).pixels


def read_grey(path: Path) -> Tensor:
    """As `read_tensor`; a grey picture that is stored as colour gets its one channel back."""
    pixels = read_tensor(path)
    grey = pixels.shape[1] == 3 and bool((pixels == pixels[:, :1]).all())
    return pixels[:, :1].contiguous() if grey else pixels


def require_one_size(blurry: Path, y: Tensor, truth: Path, x: Tensor) -> None:
    """Refuse a truth of another height or width.

    Raises:
        UsageError: The sizes differ.
    """
    if y.shape[-2:] != x.shape[-2:]:
        sizes = [f"{one.shape[-1]} × {one.shape[-2]}" for one in (y, x)]
        raise UsageError(
            f"{blurry} and {truth}: are {sizes[0]} and {sizes[1]} pixels, and a picture and its truth must agree in "
            "size; take both from one copy of the data set."
        )


def distinct(cases: Iterable[tuple[str, Path, _Case]], what: str) -> list[_Case]:
    """The cases in natural order of their names, all of which must differ.

    Args:
        cases: Name, the file that it was found by, the case.
        what: The layout, for the error.

    Raises:
        UsageError: Two have one name.
    """
    found: dict[str, tuple[Path, _Case]] = {}
    for name, path, case in cases:
        if name in found:
            raise UsageError(f"{found[name][0]} and {path}: are both {name} of {what}; name one of their folders.")
        found[name] = (path, case)
    return [found[name][1] for name in sorted(found, key=natural)]


def require_truths(missing: Mapping[Path, Path], total: int, what: str) -> None:
    """Refuse a set of which some truths are absent, for a mean over the rest would be another number.

    Args:
        missing: For each blurry picture without a truth, the file that was expected.
        total: How many blurry pictures there are.
        what: The layout.

    Raises:
        UsageError: There is one.
    """
    if missing:
        blurry, expected = next(iter(missing.items()))
        count = "it has" if total == 1 else f"{len(missing)} of {total} pictures have"
        raise UsageError(
            f"{blurry}: {count} no ground truth, and a benchmark needs it ({what} expects {expected} here); "
            "add the truths, or deblur the pictures with 'deblurkit run'."
        )


def list_of(names: Sequence[str]) -> str:
    """The first few names: ``a, b, c and 7 more``."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _below(folder: Path) -> list[Path]:
    """Pictures and archives in a folder and its sub-folders."""
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise UsageError(f"{error.filename}: cannot be read ({error.strerror or error}); check its permissions.")

    seen: set[str] = set()
    for at, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        if (here := os.path.realpath(at)) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        wanted = (name for name in names if not name.startswith(".") and _wanted(name))
        found += [Path(at) / name for name in sorted(wanted, key=natural)]
    return found


def _wanted(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in (*SUFFIXES, ARCHIVE)
