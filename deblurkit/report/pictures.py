"""Pictures as data URIs, as good as a budget allows."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, features

from deblurkit.errors import UsageError

_TILE = 320
"""Longest side of the piece of a picture by which the size of the whole is foretold."""
_SAMPLE = 24
"""Pictures whose pieces are looked at for that."""
_LARGEST = 16000
"""Longest side of a picture that is compressed; formats end at 16383."""


@dataclass(frozen=True)
class Quality:
    """How pictures are stored.

    Attributes:
        format: ``PNG``, ``WEBP`` or ``JPEG``.
        level: Quality of a lossy format, 0 where nothing is lost.
        scale: Factor of both sides.
    """

    format: str
    level: int = 0
    scale: float = 1.0

    @property
    def lossless(self) -> bool:
        """Whether every value of 8 bits is kept."""
        return not self.level and self.scale == 1.0

    @property
    def text(self) -> str:
        """How a reader is told."""
        if self.lossless:
            return "Pictures are embedded without loss, rounded to 8 bits."
        name = {"WEBP": "WebP", "JPEG": "JPEG"}[self.format]
        sides = "" if self.scale == 1.0 else f" and shrunk to {100 * self.scale:.2g} % of their sides"
        return (
            f"To keep this page small, its pictures are compressed ({name}, quality {self.level}){sides}: "
            "judge fine details by the files, not here."
        )


def ladder() -> list[Quality]:
    """Ways to store pictures, from the best one down to thumbnails."""
    webp = features.check("webp")
    lossy = "WEBP" if webp else "JPEG"
    full = [Quality(lossy, level) for level in range(95, 25, -5)]
    small = [Quality(lossy, level, scale) for level, scale in ((50, 0.7), (40, 0.6), (40, 0.5), (40, 0.4), (40, 0.3))]
    tiny = [Quality(lossy, level, scale) for level, scale in ((40, 0.2), (40, 0.14), (30, 0.1), (30, 0.06), (20, 0.03))]
    return [Quality("PNG"), *([Quality("WEBP")] if webp else []), *full, *small, *tiny]


@dataclass(frozen=True)
class Source:
    """A picture to store, with the name by which errors call it.

    Attributes:
        array: ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)``: floats in [0, 1], or bytes.
        title: Its role and the picture it belongs to.

    Raises:
        UsageError: If it is no picture.
    """

    array: np.ndarray
    title: str

    def __post_init__(self) -> None:
        shape, kind = np.shape(self.array), getattr(self.array, "dtype", None)
        if 0 in shape or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
            raise UsageError(f"report: {self.title} has the shape {shape}; give it as (H, W) or (H, W, 3), not empty.")
        if kind != np.uint8 and getattr(kind, "kind", "") != "f":
            raise UsageError(f"report: {self.title} holds {kind} values; give floats from 0 to 1, or bytes.")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.array.shape[0], self.array.shape[1]

    @property
    def holes(self) -> int:
        """How many values are no numbers; they are drawn black."""
        return 0 if self.array.dtype == np.uint8 else int(np.isnan(self.array).sum())

    def bytes(self, side: int | None = None) -> np.ndarray:
        """Values of 8 bits, ``(H, W)`` or ``(H, W, 3)``; with a `side`, a smaller picture as rich in detail.

        Where the picture is longer than `side`, the middles of its four quarters stand for it.
        """
        array = self.array[:, :, 0] if self.array.shape[2:] == (1,) else self.array
        for axis, length in enumerate(self.size):
            if side is not None and length > side:
                starts = ((length - side) // 4, length - side // 2 - (length - side) // 4)
                array = np.concatenate([array.take(range(at, at + side // 2), axis) for at in starts], axis)
        if array.dtype == np.uint8:
            return array
        clean = np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
        return np.round(np.clip(clean, 0.0, 1.0) * 255.0).astype(np.uint8)


def kernel_bytes(kernel: np.ndarray, size: tuple[int, int], title: str) -> np.ndarray:
    """Scale a kernel to its peak and centre it in a frame, so that two of them can be compared.

    Args:
        kernel: ``(h, w)``.
        size: Height and width of the frame, at least those of the kernel.
        title: How errors call it.

    Returns:
        ``size`` bytes; 255 where the kernel is largest.

    Raises:
        UsageError: If it is no kernel.
    """
    array = np.nan_to_num(np.asarray(kernel, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if array.ndim != 2 or array.size == 0:
        raise UsageError(f"report: the kernel of {title} has the shape {array.shape}; give it as (h, w), not empty.")
    array = np.maximum(array, 0.0)
    framed = np.zeros(size)
    top, left = ((frame - side) // 2 for frame, side in zip(size, array.shape, strict=True))
    framed[top : top + array.shape[0], left : left + array.shape[1]] = array / (array.max() or 1.0)
    return np.round(framed * 255.0).astype(np.uint8)


def encode(array: np.ndarray, quality: Quality) -> str:
    """Store 8-bit values ``(H, W)`` or ``(H, W, 3)`` as a data URI."""
    kind, data = f"image/{quality.format.lower()}", base64.b64encode(_compressed(array, quality)).decode("ascii")
    return f"data:{kind};base64,{data}"


def fit(sources: Sequence[Source], budget: int) -> tuple[list[str], Quality] | None:
    """Store pictures as well as they fit into so many characters together.

    How far down the ladder to go is foretold by pieces of some of them, then found out.

    Args:
        sources: The pictures.
        budget: Characters for all data URIs together.

    Returns:
        The data URIs and how they were stored, or ``None`` if not even thumbnails fit.
    """
    large = any(max(source.size) > _LARGEST for source in sources)
    rungs = [quality for quality in ladder() if not large or quality.format == "PNG" or quality.level]
    sample = [sources[i] for i in np.unique(np.linspace(0, len(sources) - 1, _SAMPLE).astype(int))] if sources else []
    share = sum(source.array.size for source in sources) / max(1, sum(source.array.size for source in sample))
    pieces = [(source.bytes(_TILE), source.array.size) for source in sample]

    def foretold(quality: Quality) -> float:
        return share * sum(len(encode(piece, quality)) * size / piece.size for piece, size in pieces)

    place = _first(rungs, lambda quality: foretold(quality) <= budget)
    while (uris := _stored(sources, rungs[place], budget)) is None:
        place += 1
        if place == len(rungs):
            return None
    # a second look, by how much more was foretold than came of it
    room = 0.98 * budget * foretold(rungs[place]) / max(1, sum(map(len, uris)))
    hoped = _first(rungs[: place + 1], lambda quality: foretold(quality) <= room)
    if hoped < place and (better := _stored(sources, rungs[hoped], budget)) is not None:
        return better, rungs[hoped]
    return uris, rungs[place]


def _stored(sources: Sequence[Source], quality: Quality, budget: int) -> list[str] | None:
    """The data URIs of all pictures, or ``None`` as soon as they exceed the budget."""
    uris: list[str] = []
    for source in sources:
        uris.append(encode(source.bytes(), quality))
        budget -= len(uris[-1])
        if budget < 0:
            return None
    return uris


def _first(rungs: Sequence[Quality], fits: Callable[[Quality], bool]) -> int:
    """Index of the first rung that fits, by halving, as sizes fall from rung to rung; the last one if none does."""
    low, high = 0, len(rungs) - 1
    while low < high:
        middle = (low + high) // 2
        if fits(rungs[middle]):
            high = middle
        else:
            low = middle + 1
    return low


def _compressed(array: np.ndarray, quality: Quality) -> bytes:
    """The bytes of a picture file."""
    image = Image.fromarray(np.ascontiguousarray(array))
    scale = quality.scale
    if quality.format != "PNG":
        scale = min(scale, _LARGEST / max(image.size))
    if scale < 1.0:
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    if quality.format == "PNG":
        image.save(file, "PNG")
    elif not quality.level:
        image.save(file, quality.format, lossless=True, quality=50, method=3)
    else:
        image.save(file, quality.format, quality=quality.level)
    return file.getvalue()
