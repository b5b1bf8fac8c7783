"""Koehler et al. 2012: 4 photographs, each taken under 12 recorded camera shakes, with the views along each shake."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, overload

from torch import Tensor

from deblurkit.datasets.case import Case, Sample
from deblurkit.datasets.look import Place, distinct, natural, read_tensor, require_one_size, require_truths
from deblurkit.images import SUFFIXES

_BLURRY = re.compile(r"Blurry(\d+)_(\d+)", re.IGNORECASE)
_TRUTH = re.compile(r"GroundTruth(\d+)_(\d+)(?:_(\d+))?", re.IGNORECASE)
_BESIDE = (".", "GroundTruthImg", "../GroundTruthImg", "GroundTruth", "../GroundTruth", "gt", "../gt")


class Views(Sequence[Tensor]):
    """The truths of one picture, read as they are asked for: together they would fill a memory.

    Args:
        blurry: The blurry picture's file.
        y: The blurry picture.
        paths: The truths' files.
    """

    def __init__(self, blurry: Path, y: Tensor, paths: Sequence[Path]) -> None:
        self._blurry, self._y, self._paths = blurry, y, tuple(paths)

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> Views: ...
    def __getitem__(self, index: int | slice) -> Tensor | Views:
        """Read one, (1, C, H, W); or some, unread.

        Raises:
            ImageError: It is damaged.
            UsageError: It has another size than the blurry picture.
        """
        if isinstance(index, slice):
            return Views(self._blurry, self._y, self._paths[index])
        path = self._paths[index]
        view = read_tensor(path)
        require_one_size(self._blurry, self._y, path, view)
        return view


@dataclass(frozen=True)
class KohlerCase(Case):
    """One of the 48 pictures. The blur varies over the picture: there is no kernel.

    Attributes:
        blurry: The blurry picture.
        views: The sharp ones along the camera's trajectory, some 200, in order.
    """

    layout: ClassVar[str] = "kohler"

    blurry: Path
    views: tuple[Path, ...]

    def files(self) -> tuple[Path, ...]:
        """Picture and views."""
        return self.blurry, *self.views

    def load(self) -> Sample:
        """Read the picture; the views are read as they are asked for. See `Case.load`."""
        y = read_tensor(self.blurry)
        return Sample(y, Views(self.blurry, y, self.views), None)

    def kernel(self) -> None:
        """None."""
        return None


def find_kohler(place: Place) -> list[Case] | None:
    """The cases of ``Blurry{i}_{k}.png`` with ``GroundTruth{i}_{k}_{n}.png``, or None where there are none.

    The truths are looked for among the files, beside each picture, and in ``GroundTruthImg`` there or above.

    Raises:
        UsageError: A picture has no truth, or two files are one case.
    """
    found = [(path, match) for path in place.pictures if (match := _BLURRY.fullmatch(path.stem))]
    if not found:
        return None
    views = _views(place, found)
    cases: list[tuple[str, Path, Case]] = []
    missing: dict[Path, Path] = {}
    for path, match in found:
        image, shake = (int(group) for group in match.groups())
        if truths := views.get((image, shake)):
            name = f"Blurry{image}_{shake}"
            cases.append((name, path, KohlerCase(name, "", path, tuple(truths))))
        else:
            missing[path] = path.parent / f"GroundTruth{image}_{shake}_1{path.suffix}"
    require_truths(missing, len(found), "the layout 'kohler'")
    return distinct(cases, "the layout 'kohler'")


def _views(place: Place, found: Sequence[tuple[Path, re.Match[str]]]) -> dict[tuple[int, int], list[Path]]:
    """All truths, by image and shake, in order of the trajectory."""
    files = dict.fromkeys(place.pictures)
    for folder in dict.fromkeys(path.parent for path, _ in found):
        for at in _BESIDE:
            if (folder / at).is_dir():
                files |= dict.fromkeys(
                    path for path in (folder / at).resolve().iterdir() if path.suffix.lower() in SUFFIXES
                )
    views: defaultdict[tuple[int, int], dict[int, Path]] = defaultdict(dict)
    for path in sorted(files, key=natural):
        if match := _TRUTH.fullmatch(path.stem):
            image, shake, number = (int(group or 1) for group in match.groups())
            views[image, shake].setdefault(number, path)
    return {key: [numbered[number] for number in sorted(numbered)] for key, numbered in views.items()}
