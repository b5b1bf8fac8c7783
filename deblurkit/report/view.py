"""One picture of a report as its template wants it: where each version lies, how it is called, what to say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deblurkit.report.data import Picture
from deblurkit.report.pictures import Quality, Source, encode, kernel_bytes

_CROPPED = 1.35
"""Versions whose sides differ by less are taken for the same scale with borders cut off; others fill the frame."""
_SHOWN = 640
"""Pixels of the page that a small picture is enlarged to, by a whole factor."""
_ROLES = {"before": "the blurry picture", "after": "the result", "truth": "the true sharp picture"}


@dataclass(frozen=True)
class Version:
    """One version of a picture: ``before``, ``after`` or ``truth``.

    Attributes:
        role: Which one it is.
        alt: What stands for it where it is not seen.
        source: Its values.
        left: Where it begins in the frame, in percent of the frame's width; the others likewise.
        top: In percent of the height.
        width: In percent of the width.
        height: In percent of the height.
    """

    role: str
    alt: str
    source: Source
    left: float
    top: float
    width: float
    height: float

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in its own pixels."""
        return self.source.size


@dataclass(frozen=True)
class KernelView:
    """A kernel as it is drawn: its data URI, a text for it, and the figures of its caption."""

    title: str
    uri: str
    alt: str
    size: tuple[int, int]
    peak: str
    total: str


@dataclass(frozen=True)
class PictureView:
    """A picture as it is shown.

    Attributes:
        picture: Titles, facts, notice.
        versions: Before, after and, where it is known, the truth.
        frame: Height and width of what they are laid into, in pixels.
        shown: Width at which the frame is shown where there is room, in pixels of the page.
        kernels: Found and true, as far as they are known.
        notes: Sentences about how it is drawn.
    """

    picture: Picture
    versions: tuple[Version, ...]
    frame: tuple[int, int]
    shown: int
    kernels: tuple[KernelView, ...]
    notes: tuple[str, ...]


def view_of(picture: Picture) -> PictureView:
    """Lay out a picture.

    Raises:
        UsageError: If one of its arrays is no picture or no kernel.
    """
    arrays = {"before": picture.before, "after": picture.after, "truth": picture.truth}
    sources = {
        role: Source(array, f"{role!r} of the picture {picture.title!r}")
        for role, array in arrays.items()
        if array is not None
    }
    sizes = [source.size for source in sources.values()]
    notes = [
        f"{source.holes} values of “{role}” are no numbers; they are drawn black."
        for role, source in sources.items()
        if source.holes
    ]
    frame, same_scale = _frame(sizes)
    if len(set(sizes)) > 1:
        listed = ", ".join(f"{role} {_size_text(source.size)}" for role, source in sources.items())
        how = "centred at one scale" if same_scale else "each as large as the frame allows"
        notes.append(f"The sizes differ: {listed}; they are drawn {how}.")
    versions = tuple(_version(role, source, frame, same_scale, picture) for role, source in sources.items())
    shown = frame[1] * max(1, _SHOWN // max(frame))
    return PictureView(picture, versions, frame, shown, _kernels(picture), tuple(notes))


def _frame(sizes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], bool]:
    """The frame that holds all versions, and whether they share its scale."""
    heights, widths = zip(*sizes, strict=True)
    if max(heights) < _CROPPED * min(heights) and max(widths) < _CROPPED * min(widths):
        return (max(heights), max(widths)), True
    return sizes[0], False


def _version(role: str, source: Source, frame: tuple[int, int], same_scale: bool, picture: Picture) -> Version:
    """Centre a version in the frame."""
    height, width = source.size
    factor = 1.0 if same_scale else min(frame[0] / height, frame[1] / width)
    down, across = 100.0 * factor * height / frame[0], 100.0 * factor * width / frame[1]
    synthesised = ", see the notice above" if role == "after" and picture.notice else ""
    alt = f"{picture.title}, {role}: {_ROLES[role]}, {_size_text(source.size)} pixels{synthesised}"
    return Version(role, alt, source, (100.0 - across) / 2, (100.0 - down) / 2, across, down)


def _kernels(picture: Picture) -> tuple[KernelView, ...]:
    """The kernels in frames of one size: a pixel is as large in both, whatever their windows."""
    named = {"Kernel found": picture.kernel, "True kernel": picture.true_kernel}
    known = {title: np.asarray(kernel) for title, kernel in named.items() if kernel is not None}
    shapes = [kernel.shape for kernel in known.values() if kernel.ndim == 2]
    frame = (max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)) if shapes else (1, 1)
    views = []
    for title, kernel in known.items():
        uri = encode(kernel_bytes(kernel, frame, repr(picture.title)), Quality("PNG"))
        finite = kernel[np.isfinite(kernel)]
        peak, total = f"{finite.max(initial=0.0):.3g}", f"{finite.sum():.3f}"
        size = (kernel.shape[0], kernel.shape[1])
        alt = f"{title} of {picture.title}, {_size_text(size)} pixels, black is 0 and white its peak {peak}"
        views.append(KernelView(title, uri, alt, size, peak, total))
    return tuple(views)


def _size_text(size: tuple[int, int]) -> str:
    """Width × height, as pictures are called."""
    return f"{size[1]} × {size[0]}"
