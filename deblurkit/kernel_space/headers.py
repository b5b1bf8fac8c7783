"""What can be known of training pictures from their headers, before any is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from deblurkit.errors import DeblurkitError, ImageError, UsageError
from deblurkit.images import read_image
from deblurkit.kernel_space.pairs import Pair, list_of

_ORIENTATION = 0x112


@dataclass(frozen=True)
class Facts:
    """What the headers of some pictures say.

    Attributes:
        channels: 1 if all are grey, 3 if all are in colour.
        sizes: Height and width of each, in order.
    """

    channels: int
    sizes: tuple[tuple[int, int], ...]


def check_pairs(pairs: Sequence[Pair], *, grey: bool = False) -> Facts:
    """Read the headers of all pictures, not their pixels, and refuse what cannot be trained on.

    Args:
        pairs: The pairs.
        grey: Whether colour will be turned into grey, so that both may be mixed.

    Raises:
        UsageError: The pictures of a pair differ in size, or grey pictures stand among coloured ones.
        ImageError: A header cannot be read.
    """
    sharp = [_header(pair.sharp) for pair in pairs]
    blurry = [_header(pair.blurry) for pair in pairs]
    for pair, (size, _), (other, _) in zip(pairs, sharp, blurry, strict=True):
        if size != other:
            raise UsageError(
                f"{pair.sharp} and {pair.blurry}: are a pair and differ in size ({size[1]} x {size[0]} and "
                f"{other[1]} x {other[0]} pixels); a blurry picture needs the sharp one of the same view."
            )
    paths = [path for pair in pairs for path in (pair.sharp, pair.blurry)]
    channels = [count for two in zip(sharp, blurry, strict=True) for _, count in two]
    return Facts(_one_kind(paths, channels, grey), tuple(size for size, _ in sharp))


def check_pictures(paths: Sequence[Path], *, grey: bool = False) -> Facts:
    """Read the headers of sharp pictures; see :func:`check_pairs`."""
    headers = [_header(path) for path in paths]
    return Facts(_one_kind(paths, [count for _, count in headers], grey), tuple(size for size, _ in headers))


def _header(path: Path) -> tuple[tuple[int, int], int]:
    """Height and width as shown, and the number of colour channels, from a picture's header."""
    try:
        with Image.open(path, formats=("PNG", "JPEG", "TIFF", "WEBP", "BMP")) as image:
            width, height = image.size
            grey = image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;")
            turned = image.format != "PNG" and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            palette = image.mode in ("P", "PA")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: does not exist; check the name.") from error
    except Exception:  # Pillow does not know a few kinds that we read, and raises anything for rubbish
        return _decoded(path)
    if palette:  # whether it is grey is a matter of the colours that its pixels have
        return _decoded(path)
    return ((width, height) if turned else (height, width)), 1 if grey else 3


def _decoded(path: Path) -> tuple[tuple[int, int], int]:
    """The same from the picture itself."""
    try:
        picture = read_image(path)
    except DeblurkitError as error:
        raise ImageError(f"{error} It is part of the training data: replace it, or leave it out.") from error
    return picture.size, picture.pixels.shape[1]


def _one_kind(paths: Sequence[Path], channels: Sequence[int], grey: bool) -> int:
    """The number of channels that all have."""
    counts = Counter(channels)
    if grey:
        return 1
    if len(counts) > 1:
        rare = min(counts, key=lambda count: (counts[count], count))
        odd = [path for path, count in zip(paths, channels, strict=True) if count == rare]
        kinds = ("grey", "coloured") if rare == 1 else ("coloured", "grey")
        raise UsageError(
            f"{list_of(odd)} of {len(paths)} pictures {'is' if len(odd) == 1 else 'are'} {kinds[0]} among {kinds[1]} "
            "ones; leave them out, or train on grey (--grey)."
        )
    return next(iter(counts), 3)
