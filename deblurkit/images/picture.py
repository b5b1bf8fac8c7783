"""What deblurkit keeps of a picture file: the pixels, and all that is needed to write them back as they came."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from deblurkit.errors import ImageError

MIN_SIDE = 16
"""Smallest height and width, in pixels, that deblurring makes sense for."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a picture file carries beside its pixels; everything empty where the file has none.

    The orientation is already applied to the pixels, and reset in `exif` and `xmp`.
    """

    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    comment: bytes = b""
    text: dict[str, str] = field(default_factory=dict)
    """Text of a PNG file, by keyword."""
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    """Colour chunks of a PNG file (gAMA, cHRM, sRGB, cICP), name and content."""
    dpi: tuple[float, float] = (0.0, 0.0)
    """Resolution in dots per inch, horizontal and vertical; zeros where it is unknown."""
    compression: str = ""
    """Compression of a TIFF file, in Pillow's words; ``lossless`` for a lossless WebP."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Picture:
    """A picture read from a file.

    Attributes:
        path: The file it came from.
        pixels: (1, C, H, W) float32 in [0, 1]; C is 1 for grey and 3 for colour, orientation applied.
        alpha: (1, 1, H, W) float32 in [0, 1], or None where the file has no transparency.
        depth: Bits per channel of the file: 8, 16, or 32 for floating point.
        format: ``PNG``, ``TIFF``, ``JPEG``, ``WEBP`` or ``BMP``.
        metadata: Colour profile, EXIF and the like.
        notes: What the user should know, in sentences: further frames left out, colours converted.
    """

    path: Path
    pixels: Tensor
    alpha: Tensor | None
    depth: int
    format: str
    metadata: Metadata
    notes: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @property
    def mode(self) -> str:
        """``L``, ``LA``, ``RGB`` or ``RGBA``."""
        return ("L" if self.pixels.shape[1] == 1 else "RGB") + ("" if self.alpha is None else "A")


def check_picture_size(picture: Picture) -> None:
    """Refuse a picture that is too small to say anything about its blur.

    Args:
        picture: The picture.

    Raises:
        ImageError: A side is shorter than `MIN_SIDE`.
    """
    height, width = picture.size
    if min(height, width) < MIN_SIDE:
        raise ImageError(
            f"{picture.path}: is {width} × {height} pixels, and deblurring needs at least {MIN_SIDE} × {MIN_SIDE}; "
            "give a larger picture."
        )
