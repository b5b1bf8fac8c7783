"""Which files are meant by the names on a command line, and where their results go."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deblurkit.errors import UsageError

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp", ".bmp")
"""Endings of the files that are read and written, in lower case."""

WORD = "deblurred"
"""What stands before the suffix of a result that is written beside its original."""

_FOREIGN_SUFFIXES = (".gif", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".psd", ".exr", ".hdr", ".svg", ".pdf", ".ppm")
_KNOWN = "PNG, TIFF, JPEG, WebP and BMP"


@dataclass(frozen=True)
class OutputPaths:
    """Where the results of one picture go.

    Attributes:
        image: The deblurred picture.
        kernel: The kernel in full precision, ``.kernel.npy``.
        kernel_picture: The kernel to look at, ``.kernel.png``.
    """

    image: Path
    kernel: Path
    kernel_picture: Path


def find_images(paths: Sequence[Path], word: str = WORD) -> list[Path]:
    """Turn files, folders and patterns into a list of picture files.

    A folder stands for the pictures directly in it, in natural order (``2.png`` before ``10.png``), without hidden
    files. A name that does not exist and holds ``*``, ``?`` or ``[`` is a pattern (``**`` enters sub-folders), for
    shells that leave it alone. deblurkit's own results (``*.deblurred.png``, ``*.kernel.png``) are passed over in
    folders and patterns, and among files where their original is named as well, so that a command can be repeated.
    A file named twice counts once.

    Args:
        paths: Names as given by the user.
        word: What marks the command's own results.

    Returns:
        The files, at least one. Their content is not looked at.

    Raises:
        UsageError: A name does not exist, has no picture's ending, or leads to no picture at all.
    """
    found: list[Path] = []
    for path in paths:
        found += _expand(path, word)
    first: dict[str, Path] = {}
    for path in found:
        first.setdefault(os.path.realpath(path), path)
    unique = list(first.values())
    stems = {(path.parent, path.stem) for path in unique if not _is_result(path, word)}
    kept = [
        path for path in unique if not _is_result(path, word) or (path.parent, _origin_stem(path, word)) not in stems
    ]
    if not kept:
        raise UsageError("No picture is named; give files, folders or patterns.")
    return kept


def output_paths(inputs: Sequence[Path], out: Path | None, word: str = WORD) -> list[OutputPaths]:
    """Decide where each result goes, before anything is computed.

    `out` is a file if there is one input and `out` has an image suffix (and is no folder), else a folder that receives
    the results under the inputs' names. Without `out`, a result is ``<stem>.<word>.<suffix>`` beside its input. The
    kernel stands beside the result as ``<stem>.kernel.npy`` and ``.kernel.png``; where two results differ only in their
    suffix, their kernels carry it too (``a.jpg.kernel.npy``, ``a.png.kernel.npy``). Nothing is created here.

    Args:
        inputs: Picture files, from `find_images`.
        out: What the user gave for ``-o``, or None.
        word: What marks a result beside its input.

    Returns:
        One entry for each input, in order.

    Raises:
        UsageError: `out` cannot be what it would have to be, two inputs lead to the same result, or a result would
            replace an input.
    """
    images = _image_paths(inputs, out, word)
    stems = Counter(_key(image.with_suffix("")) for image in images)
    results = []
    for image in images:
        shared = stems[_key(image.with_suffix(""))] > 1
        base = image.name if shared else image.stem
        results.append(OutputPaths(image, image.with_name(f"{base}.kernel.npy"), image.with_name(f"{base}.kernel.png")))
    _refuse_clashes(inputs, results)
    return results


def _image_paths(inputs: Sequence[Path], out: Path | None, word: str) -> list[Path]:
    """Where the pictures go; see `output_paths`."""
    if out is None:
        return [path.with_name(f"{path.stem}.{word}{path.suffix}") for path in inputs]
    if not out.is_dir():
        suffix = out.suffix.lower()
        if suffix in _FOREIGN_SUFFIXES:
            raise UsageError(f"{out}: deblurkit cannot write {suffix} files; it writes {_KNOWN}.")
        if suffix in SUFFIXES and len(inputs) == 1:
            return [out]
        if out.exists():
            raise UsageError(f"{out}: is a file, and the results need a folder; name another place with -o.")
    return [out / path.name for path in inputs]


def _refuse_clashes(inputs: Sequence[Path], results: Sequence[OutputPaths]) -> None:
    """No file is written twice, and no input is written to."""
    sources = {os.path.realpath(path): path for path in inputs}
    owners: dict[str, Path] = {}
    for source, result in zip(inputs, results, strict=True):
        for path in (result.image, result.kernel, result.kernel_picture):
            if os.path.realpath(path) in sources:
                raise UsageError(f"{path}: is an input, and is never replaced; choose another place with -o.")
            other = owners.setdefault(_key(path), source)
            if other is not source:
                raise UsageError(
                    f"{source}: its result would be {path}, as that of {other}; "
                    "deblur them one after the other, with a -o of their own."
                )


def _expand(path: Path, word: str) -> list[Path]:
    """The files that one name stands for."""
    try:
        return _expand_readable(path, word)
    except OSError as error:  # a folder without permission, a name too long
        raise UsageError(
            f"{path}: cannot be read ({error.strerror or error}); check its name and permissions."
        ) from error


def _expand_readable(path: Path, word: str) -> list[Path]:
    """The files that one name stands for, as far as the system lets us look."""
    if path.is_dir():
        found = _pictures(path.iterdir(), word)
        if not found:
            raise UsageError(f"{path}: holds no pictures; deblurkit reads {_KNOWN}.")
        return found
    if path.exists():
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"{path}: is no picture that deblurkit reads; it reads {_KNOWN}.")
        return [path]
    if glob.has_magic(str(path)):
        found = _pictures((Path(name) for name in glob.glob(str(path), recursive=True)), word)
        if not found:
            raise UsageError(f"{path}: no picture fits this pattern; check it, or give a folder.")
        return found
    raise UsageError(f"{path}: does not exist; check the name.")


def _pictures(paths: Iterable[Path], word: str) -> list[Path]:
    """Pictures among the paths, in natural order, without hidden files and deblurkit's own results."""
    chosen = (
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and not _is_result(path, word)
        and path.is_file()
    )
    return sorted(chosen, key=_natural)


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Sorting key under which numbers count as numbers."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", str(path).lower())]


def _is_result(path: Path, word: str) -> bool:
    """Whether the name is one that the command gives to its own results."""
    return path.stem.endswith((f".{word}", ".kernel"))


def _origin_stem(path: Path, word: str) -> str:
    """Stem of the picture that a result belongs to: ``a`` for ``a.deblurred.png`` and ``a.deblurred.kernel.png``."""
    return path.stem.removesuffix(".kernel").removesuffix(f".{word}")


def _key(path: Path) -> str:
    """A path by which two names of one file are equal."""
    return os.path.normcase(os.path.realpath(path))
