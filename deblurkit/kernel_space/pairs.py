"""Pairs of a sharp and a blurry picture: found in the layouts of the data sets, and checked before they are used."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from deblurkit.errors import UsageError
from deblurkit.images import SUFFIXES, read_image

SHARP_WORDS = frozenset({"sharp", "gt", "groundtruth", "target", "clean", "hq", "truth"})
BLURRY_WORDS = frozenset({"blur", "blurry", "blurred", "input", "lq", "degraded"})
LIST_SUFFIXES = (".txt", ".csv")
_WORD = re.compile(r"[a-z]+")
_SHOWN = 3
_LAYOUTS = (
    "give a folder with a sharp and a blurry sub-folder (sharp/ and blur/, train_sharp/ and train_blur/), files "
    "NAME_sharp and NAME_blur, or a .txt or .csv list with a sharp and a blurry file on each line"
)


class NoPairsError(UsageError):
    """A folder holds pictures, and no pairs of them.

    Attributes:
        source: The folder.
    """

    def __init__(self, source: Path) -> None:
        super().__init__(f"{source}: holds no pairs of sharp and blurry pictures; {_LAYOUTS}.")
        self.source = source


@dataclass(frozen=True)
class Pair:
    """Two pictures of one scene, of one size.

    Attributes:
        sharp: The sharp one.
        blurry: The blurry one.
        name: Path of the pair below its source, without suffix, with forward slashes.
    """

    sharp: Path
    blurry: Path
    name: str


class Window(NamedTuple):
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


def find_pairs(sources: Sequence[Path]) -> list[Pair]:
    """Find the pairs that folders and list files hold.

    A folder is searched downwards for two sub-folders that hold pictures of the same relative names, one of which a
    word of its name calls sharp (sharp, gt, target, clean, ...) and the other blurry (blur, blurry, input, lq, ...): so
    the layouts of GoPro (``train/SEQUENCE/sharp``, ``.../blur``) and REDS (``train/train_sharp/SEQUENCE``,
    ``train/train_blur/SEQUENCE``), and any others of the kind. One such word is enough where there are just two
    sub-folders. Of several blurry folders (``blur`` and ``blur_gamma``) the shortest name counts; name another one by a
    list. Files may also stand side by side as ``NAME_sharp.png`` and ``NAME_blur.png`` (or ``NAME_gt`` and ``NAME``).
    A list file names a sharp and a blurry picture on each line, separated by a comma or white space (names with spaces:
    by a comma or a tab), relative to the list; ``#`` begins a comment.

    Args:
        sources: Folders and list files; one named twice counts twice.

    Returns:
        The pairs, in the order of the sources and by name within each.

    Raises:
        NoPairsError: A folder holds pictures, and no pairs.
        UsageError: A source is missing or empty, or holds pictures without a partner.
    """
    if not sources:
        raise UsageError(f"No pairs of pictures are named; {_LAYOUTS}.")
    return [pair for source in sources for pair in _in_source(source)]


def find_sharp(sources: Sequence[Path]) -> list[Path]:
    """Find all pictures in folders and their sub-folders, in natural order; a file stands for itself.

    Raises:
        UsageError: A source is missing, or holds no picture.
    """
    found: list[Path] = []
    for source in sources:
        inside = [source] if source.is_file() and source.suffix.lower() in SUFFIXES else _tree(source)
        if not inside:
            raise UsageError(f"{source}: holds no pictures; give a folder of sharp pictures.")
        found += inside
    return found


def read_pair(pair: Pair, window: Window | tuple[int, int, int, int] | None = None) -> tuple[Tensor, Tensor]:
    """Read a pair, sharp first, (1, C, H, W) float32 in [0, 1] each; one grey among two makes both grey.

    Args:
        pair: The pair.
        window: (top, left, height, width) to cut out of both, in pixels; everything by default.

    Raises:
        ImageError: A picture is damaged.
        UsageError: A picture is missing, or the two differ in size.
    """
    sharp, blurry = read_image(pair.sharp).pixels, read_image(pair.blurry).pixels
    if sharp.shape[-2:] != blurry.shape[-2:]:
        raise UsageError(
            f"{pair.sharp} and {pair.blurry}: are a pair and differ in size; bring them to one size, or leave them out."
        )
    if sharp.shape[1] != blurry.shape[1]:
        sharp, blurry = (one.mean(1, keepdim=True) for one in (sharp, blurry))
    if window is None:
        return sharp, blurry
    top, left, height, width = window
    return tuple(one[..., top : top + height, left : left + width].contiguous() for one in (sharp, blurry))  # type: ignore[return-value]


def _in_source(source: Path) -> list[Pair]:
    if source.is_file():
        if source.suffix.lower() not in LIST_SUFFIXES:
            raise UsageError(f"{source}: is neither a folder nor a list of pairs; {_LAYOUTS}.")
        return _from_list(source)
    if not source.is_dir():
        raise UsageError(f"{source}: does not exist; check the name.")
    pairs = _below(source, source)
    if not pairs:
        raise _none_in(source)
    return pairs


def _below(folder: Path, source: Path) -> list[Pair]:
    """The pairs of a folder and of its sub-folders."""
    children = _folders(folder)
    two = _sharp_and_blurry(children)
    if two is not None:
        return _match(_by_name(two[0]), _by_name(two[1]), two[0], two[1], source)
    return [*_side_by_side(folder, source), *(pair for child in children for pair in _below(child, source))]


def _sharp_and_blurry(children: Sequence[Path]) -> tuple[Path, Path] | None:
    """Of sibling folders the one with the sharp and the one with the blurry pictures, or None where they are others."""
    sharp = [child for child in children if _words(child.name) & SHARP_WORDS]
    blurry = [child for child in children if _words(child.name) & BLURRY_WORDS and child not in sharp]
    if len(children) == 2 and len(sharp) + len(blurry) == 1:
        known = (sharp or blurry)[0]
        other = children[1] if known == children[0] else children[0]
        if not set(_by_name(known)) & set(_by_name(other)):
            return None
        sharp, blurry = (sharp or [other]), (blurry or [other])
    if not sharp or not blurry:
        return None
    return min(sharp, key=_shortest), min(blurry, key=_shortest)


def _side_by_side(folder: Path, source: Path) -> list[Pair]:
    """Pairs such as ``NAME_sharp.png`` and ``NAME_blur.png`` in one folder."""
    files = [path for path in _entries(folder) if _is_picture(path)]
    sharp = {base: path for path in files if (base := _base(path.stem, SHARP_WORDS))}
    if not sharp:
        return []
    blurry = {_base(path.stem, BLURRY_WORDS) or path.stem: path for path in files if path not in sharp.values()}
    return _match(sharp, blurry, folder, folder, source, prefix=_relative(folder, source))


def _match(
    sharp: dict[str, Path], blurry: dict[str, Path], sharp_at: Path, blurry_at: Path, source: Path, prefix: str = ""
) -> list[Pair]:
    """Pair files by name; a file without a partner is an error, for half a data set would be missing in silence."""
    for found, at in ((sharp, sharp_at), (blurry, blurry_at)):
        if not found:
            raise UsageError(f"{at}: holds no pictures; give the folder that holds them, or leave it out.")
    alone = [path for name, path in sharp.items() if name not in blurry]
    alone += [path for name, path in blurry.items() if name not in sharp]
    if alone:
        raise UsageError(
            f"{list_of(alone)} of {len(sharp) + len(blurry)} pictures {'has' if len(alone) == 1 else 'have'} no "
            f"partner in {sharp_at}{f' and {blurry_at}' if blurry_at != sharp_at else ''}; "
            "add what is missing, remove what is too many, or name the pairs in a list file."
        )
    if not prefix and sharp_at != blurry_at:
        prefix = _relative(sharp_at.parent, source)
    return [Pair(sharp[name], blurry[name], f"{prefix}{name}") for name in sorted(sharp, key=_natural)]


def _from_list(path: Path) -> list[Pair]:
    """The pairs that a list names."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UsageError(f"{path}: cannot be read as a list of pairs ({cause}); check the file.") from error
    pairs: list[Pair] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        separator = "," if "," in text else "\t" if "\t" in text else None
        names = [name.strip().strip("\"'") for name in text.split(separator)]
        if number == 1 and [name.lower() for name in names] in (["sharp", "blurry"], ["sharp", "blur"]):
            continue  # the header of a table
        if len(names) != 2 or not all(names):
            raise UsageError(
                f"{path}: line {number} names {len(names)} files instead of a sharp and a blurry one; separate the two "
                "by a comma, a tab or a space."
            )
        sharp, blurry = (path.parent / name for name in names)
        for one in (sharp, blurry):
            if not one.is_file():
                raise UsageError(f"{one}: does not exist; correct line {number} of {path}.")
        pairs.append(Pair(sharp, blurry, Path(names[0]).with_suffix("").as_posix()))
    if not pairs:
        raise UsageError(f"{path}: names no pair; write a sharp and a blurry picture on each line.")
    return pairs


def _none_in(source: Path) -> UsageError:
    """Why a folder holds no pairs."""
    if not _tree(source):
        return UsageError(f"{source}: holds no pictures; {_LAYOUTS}.")
    children = [child for child in _folders(source) if _by_name(child)]
    if len(children) == 2 and set(_by_name(children[0])) & set(_by_name(children[1])):
        one, other = (child.name for child in children)
        return UsageError(
            f"{source}: holds pairs, but the names of {one}/ and {other}/ do not say which is sharp; rename them "
            "sharp/ and blur/, or name the pairs in a .txt or .csv list."
        )
    return NoPairsError(source)


def _by_name(folder: Path) -> dict[str, Path]:
    """The pictures below a folder by relative name without suffix."""
    found: dict[str, Path] = {}
    for path in _tree(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise UsageError(f"{found[name]} and {path}: have one name, so it is not clear which to pair; remove one.")
        found[name] = path
    return found


def _tree(folder: Path) -> list[Path]:
    """All pictures below a folder, in natural order."""
    found: list[Path] = []
    for path in _entries(folder):
        if path.is_dir():
            found += _tree(path)
        elif _is_picture(path):
            found.append(path)
    return found


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, in natural order, hidden things left out."""
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    except FileNotFoundError as error:
        raise UsageError(f"{folder}: does not exist; check the name.") from error
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read ({error.strerror or error}); check the name.") from error
    return [folder / name for name in sorted(names, key=_natural)]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def list_of(paths: Sequence[Path]) -> str:
    """The first few names and how many there are: ``a.png, b.png and 7 others: 9``."""
    shown = ", ".join(str(path) for path in paths[:_SHOWN])
    more = len(paths) - _SHOWN
    return f"{shown}{f' and {more} others' if more > 0 else ''}: {len(paths)}"


def _words(name: str) -> frozenset[str]:
    return frozenset(_WORD.findall(name.lower()))


def _base(stem: str, words: Iterable[str]) -> str:
    """A file's name without the word at its end, or nothing where it does not end in one of the words."""
    base, _, last = stem.replace("-", "_").rpartition("_")
    return stem[: len(base)] if base and last.lower() in words else ""


def _relative(folder: Path, source: Path) -> str:
    """The folder's path below its source, ending in a slash, or nothing."""
    return "" if folder == source else folder.relative_to(source).as_posix() + "/"


def _shortest(path: Path) -> tuple[int, str]:
    return len(path.name), path.name


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Sorting key under which numbers count as numbers."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name)]
