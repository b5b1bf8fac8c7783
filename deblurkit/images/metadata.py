"""Colour profile, EXIF and other things that travel beside the pixels, from one file to the next."""

import itertools
import re
import struct

import numpy as np
from PIL import Image
from torch import Tensor

from deblurkit.images import png16
from deblurkit.images.picture import Metadata

_COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
_ORIENTATION, _XMP, _IPTC, _EXIF, _GPS = 0x112, 700, 33723, 0x8769, 0x8825
_DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 33432)  # description, make, model, software, date, artist, copyright
_XMP_KEY = "XML:com.adobe.xmp"


def upright(pixels: Tensor, orientation: int) -> Tensor:
    """Apply an EXIF orientation.

    Args:
        pixels: (..., H, W), as stored.
        orientation: 1 to 8; other numbers are taken for 1, as every viewer does.

    Returns:
        (..., H, W) or (..., W, H), as meant to be seen.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(-2, -1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels.flip(-1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels.flip(-2)
    return pixels


def read_metadata(image: Image.Image, data: bytes) -> Metadata:
    """Collect what a file carries beside its pixels.

    Args:
        image: The file, opened and loaded by Pillow.
        data: The file itself.

    Returns:
        Everything that can be written back, the orientation reset.
    """
    info, tags = image.info, getattr(image, "tag_v2", {})
    text = {str(key): str(value) for key, value in getattr(image, "text", {}).items()}
    xmp = text.pop(_XMP_KEY, "").encode() or _bytes(tags.get(_XMP)) or _bytes(info.get("xmp"))
    text = {key: value for key, value in text.items() if not key.startswith("Raw profile type")}  # a copy of EXIF, ICC
    return Metadata(
        icc=_bytes(info.get("icc_profile")),
        exif=_exif(image),
        xmp=re.sub(rb'(tiff:Orientation(?:="|>))[2-8]', rb"\g<1>1", xmp),
        iptc=_bytes(tags.get(_IPTC)),
        comment=_bytes(info.get("comment")),
        text=text,
        chunks=_colour_chunks(data) if image.format == "PNG" else (),
        dpi=_dpi(info.get("dpi")),
        compression=_compression(image, data),
    )


def reset_orientation(exif: bytes) -> bytes:
    """Set the orientation of an EXIF block to 1 in place, every other byte (makers' notes count on it) as it was.

    Args:
        exif: An EXIF block, with or without its leading ``Exif``.

    Returns:
        The same with orientation 1; unchanged where there is none, or where it is damaged.
    """
    start = 6 if exif.startswith(b"Exif\0\0") else 0
    order = {b"II": "<", b"MM": ">"}.get(exif[start : start + 2], "")
    if not order:
        return exif
    patched = bytearray(exif)
    try:
        directory = start + struct.unpack_from(f"{order}I", exif, start + 4)[0]
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for position in range(directory + 2, directory + 2 + 12 * count, 12):
            if struct.unpack_from(f"{order}H", exif, position)[0] == _ORIENTATION:
                struct.pack_into(f"{order}HIHH", patched, position + 2, 3, 1, 1, 0)
    except struct.error:
        return exif
    return bytes(patched)


def _exif(image: Image.Image) -> bytes:
    """The EXIF block, upright; of a TIFF, whose EXIF is its own directory, the part that describes the picture."""
    raw = _bytes(image.info.get("exif"))
    if raw:
        return reset_orientation(raw)
    source, kept = image.getexif(), Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in source:
            kept[tag] = source[tag]
    for directory in (_EXIF, _GPS):
        if content := source.get_ifd(directory):
            kept.get_ifd(directory).update(content)
            kept[directory] = content
    return kept.tobytes() if len(kept) else b""


def _colour_chunks(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """What a PNG file says about its colours."""
    before_pixels = itertools.takewhile(lambda chunk: chunk[0] != b"IDAT", png16.chunks(data))
    return tuple(chunk for chunk in before_pixels if chunk[0] in _COLOUR_CHUNKS)


def _dpi(value: object) -> tuple[float, float]:
    """Resolution, zeros where it is missing or absurd."""
    if isinstance(value, tuple) and len(value) == 2:
        x, y = float(value[0]), float(value[1])
        if np.isfinite([x, y]).all() and 0 < x < 1e5 and 0 < y < 1e5:
            return x, y
    return 0.0, 0.0


def _compression(image: Image.Image, data: bytes) -> str:
    """How the file is compressed, where the result should follow."""
    if image.format == "WEBP":
        return "lossless" if data[12:16] == b"VP8L" or (data[12:16] == b"VP8X" and b"VP8L" in data[:65536]) else ""
    return str(image.info.get("compression", "")) if image.format == "TIFF" else ""


def _bytes(value: object) -> bytes:
    """Bytes of what Pillow gives as bytes, text, a tuple, or not at all."""
    if isinstance(value, tuple):
        value = value[0] if len(value) == 1 else bytes(v for v in value if isinstance(v, int) and v < 256)
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else b""
