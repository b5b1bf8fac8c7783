"""Pairs of a blurry and a sharp picture: GoPro, REDS, any two trees, NAME_blur and NAME_sharp, or a list of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deblurkit.datasets.case import Case, Sample
from deblurkit.datasets.look import Place, distinct, read_tensor, require_one_size
from deblurkit.errors import UsageError
from deblurkit.images import SUFFIXES
from deblurkit.kernel_space.pairs import NoPairsError, Pair, find_pairs


@dataclass(frozen=True)
class PairCase(Case):
    """A blurry picture and its sharp one, as they are; no kernel is known.

    Attributes:
        blurry: The blurry picture.
        sharp: The sharp one.
    """

    layout: ClassVar[str] = "pairs"

    blurry: Path
    sharp: Path

    def files(self) -> tuple[Path, ...]:
        """Blurry and sharp picture."""
        return self.blurry, self.sharp

    def load(self) -> Sample:
        """Read the two; see `Case.load`."""
        y, x = read_tensor(self.blurry), read_tensor(self.sharp)
        require_one_size(self.blurry, y, self.sharp, x)
        return Sample(y, (x,), None)

    def kernel(self) -> None:
        """None."""
        return None


def find_paired(place: Place) -> list[Case] | None:
    """The pairs of folders and lists (see `deblurkit.kernel_space.pairs.find_pairs`), or None where there are none.

    Of pictures that are named one by one or by a pattern, those that are the blurry one of a pair in their folder or in
    the one above it.

    Raises:
        UsageError: A picture has no partner, or names do not say which is sharp.
    """
    pairs: list[Pair] = []
    chosen = {path.resolve() for path in place.sources if path.is_file() and path.suffix.lower() in SUFFIXES}
    for source in place.sources:
        if source.resolve() in chosen:
            continue
        try:
            pairs += find_pairs([source])
        except NoPairsError:
            return None
    if chosen:
        near = _near(chosen)
        pairs += near
        lonely = sorted(chosen - {path.resolve() for pair in near for path in (pair.blurry, pair.sharp)})
        if lonely and near:
            raise UsageError(f"{lonely[0]}: has no sharp partner; leave it out, or add what is missing.")
    cases = [(pair.name, pair.blurry, PairCase(pair.name, "", pair.blurry, pair.sharp)) for pair in pairs]
    return distinct(cases, "the layout 'pairs'") or None


def _near(chosen: set[Path]) -> list[Pair]:
    """The pairs that the named pictures are part of."""
    found: dict[Path, Pair] = {}
    for folder in sorted({path.parent for path in chosen}):
        for place in (folder, folder.parent):
            try:
                pairs = find_pairs([place])
            except NoPairsError:
                continue
            except UsageError:
                if place == folder:
                    raise
                continue
            mine = [pair for pair in pairs if {pair.blurry.resolve(), pair.sharp.resolve()} & chosen]
            found |= {pair.blurry.resolve(): pair for pair in mine}
            if mine:
                break
    return list(found.values())
