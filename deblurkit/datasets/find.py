"""From a folder, a pattern or some paths to the cases of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from deblurkit.datasets.case import Case
from deblurkit.datasets.kohler import find_kohler
from deblurkit.datasets.lai import find_lai
from deblurkit.datasets.levin import find_levin
from deblurkit.datasets.levin_exact import find_exact_levin
from deblurkit.datasets.look import ARCHIVE, Place, expand, look
from deblurkit.datasets.pairs import find_paired
from deblurkit.errors import UsageError
from deblurkit.images import SUFFIXES

AUTO = "auto"


class Layout(NamedTuple):
    """How the files of a data set are named.

    Attributes:
        find: The cases of a place; None where it holds nothing of the kind. Raises where something is missing.
        files: What it looks for, in words.
    """

    find: Callable[[Place], list[Case] | None]
    files: str


_TABLE = {
    "levin": Layout(find_levin, "im1_kernel1_img.png with gt/im1.png and gt/kernel1.png"),
    "lai": Layout(
        find_lai,
        "manmade_01_kernel_01.png with ground_truth/manmade_01.png, or sharp/manmade_01.png with kernels/kernel_01.npy",
    ),
    "kohler": Layout(find_kohler, "Blurry1_1.png with GroundTruth1_1_1.png and so on"),
    "levin-exact": Layout(find_exact_levin, "one .npz archive with y16, x16 and f1 to f8"),
    "pairs": Layout(find_paired, "folders blur/ and sharp/, files NAME_blur.png and NAME_sharp.png, or a list of them"),
}
"""Tried in this order: the last one would take almost everything."""

LAYOUTS = (AUTO, *_TABLE)
"""Names of layouts; ``auto`` looks at the files."""


def find_cases(source: Path | Sequence[Path], layout: str = AUTO) -> list[Case]:
    """Find the cases of a data set.

    Args:
        source: A folder (searched downwards), a pattern of files such as ``levin/*_img.png``, a file, or several.
        layout: One of `LAYOUTS`.

    Returns:
        The cases in natural order of their names, at least one, all of one layout.

    Raises:
        UsageError: The layout is unknown; a path is missing; there is nothing of the layout, or of any; one of several
            sources has no part in the cases; a truth is missing; an archive is damaged. The message says which file,
            what was expected, and what to do.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"layout: {layout!r} is none that deblurkit knows; choose one of {', '.join(LAYOUTS)}.")
    sources = [Path(source)] if isinstance(source, str | Path) else [Path(one) for one in source]
    place = look(sources)
    if not place.files:
        raise UsageError(f"{place.text}: holds no pictures; give the folder of a data set.")
    if layout != AUTO:
        cases = _TABLE[layout].find(place)
        if not cases:
            raise UsageError(f"{place.text}: holds no data set of the layout {layout!r} ({_TABLE[layout].files}).")
        return _of_all(cases, sources)
    for one in _TABLE.values():
        if cases := one.find(place):
            return _of_all(cases, sources)
    expected = "; ".join(f"{name}: {one.files}" for name, one in _TABLE.items())
    raise UsageError(f"{place.text}: holds no data set of a known layout ({expected}); name or rename the files so.")


def _of_all(cases: list[Case], sources: Sequence[Path]) -> list[Case]:
    """The cases, if every source has a part in them: what was named and is left out would be missed by nobody.

    Lists of pairs name files elsewhere, and are asked for nothing.

    Raises:
        UsageError: A source is left out.
    """
    if len(sources) < 2:
        return cases
    # as they are named and as they lie: a folder may be a link, or hold links to pictures elsewhere
    used = {way for case in cases for path in case.files() for way in (path, path.resolve())}
    used |= {folder for path in used for folder in path.parents}
    for source in sources:
        named = [path for path in expand(source) if path.is_dir() or path.suffix.lower() in (*SUFFIXES, ARCHIVE)]
        if named and used.isdisjoint([*named, *(path.resolve() for path in named)]):
            layout = cases[0].layout
            raise UsageError(
                f"{source}: has no part in the data set of the layout {layout!r} ({_TABLE[layout].files}) that was "
                "found; leave it out, and where it is another data set, benchmark it by itself."
            )
    return cases


def layout_of(cases: Sequence[Case]) -> str:
    """The layout that all the cases have.

    Raises:
        UsageError: There is no case, or they have several layouts.
    """
    names = sorted({case.layout for case in cases})
    if len(names) != 1:
        what = f"cases of several layouts ({', '.join(names)})" if names else "no cases"
        raise UsageError(f"layout: {what} cannot be scored together; benchmark one data set at a time.")
    return names[0]
