"""TIFF directories: 16-bit colour, which Pillow reduces to 8 bits without a word, and metadata beside compression.

Pillow (by libtiff) does read and write 16-bit *grey* TIFF of any compression without loss. So the directory of the
file is rewritten: colour becomes grey of three times the width, and back. Horizontal differencing (TIFF 6.0, section
14) knows about channels, so that is undone and done here.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Entries = dict[int, tuple[int, int, bytes]]
"""A directory: tag → field type, count, content in the file's byte order."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS = 256, 257, 258, 259, 262, 273
_ORIENTATION, _SAMPLES, _ROWS = 274, 277, 278
_STRIP_BYTES, _PLANAR, _PREDICTOR, _TILE_WIDTH, _TILES, _TILE_BYTES, _EXTRA, _KIND = (
    279,
    284,
    317,
    322,
    324,
    325,
    338,
    339,
)
_ALPHA_ASSOCIATED, _ALPHA = 1, 2
_STRUCTURE = frozenset(
    (_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR, _EXTRA, _KIND)
)


@dataclass(frozen=True)
class Layout:
    """How a 16-bit TIFF file with several channels is laid out.

    Attributes:
        height: Height in pixels, as stored.
        width: Width in pixels, as stored.
        samples: Channels, alpha and others included.
        orientation: As in EXIF, 1 to 8.
        parts: Grey files, each holding all channels side by side, or one channel each.
        differenced: Whether each part holds differences between neighbours.
        tile: Width of a tile in pixels, or the width of the picture.
        alpha: Whether the last of 2 or 4 channels is transparency.
        premultiplied: Whether the colours are multiplied by it.
        inverted: Whether zero is white.
    """

    height: int
    width: int
    samples: int
    orientation: int
    parts: tuple[bytes, ...]
    differenced: bool
    tile: int
    alpha: bool
    premultiplied: bool
    inverted: bool


def read_layout(data: bytes) -> Layout | None:
    """Look into a TIFF file.

    Args:
        data: The whole file.

    Returns:
        Its layout, or None where Pillow reads it well by itself (not 16 bits, or a single channel).

    Raises:
        ValueError: It has 16 bits and several channels, in a form that is not supported; the text says which.
        struct.error: The file is damaged.
        KeyError: The file is damaged.
    """
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order, entries = _read_directory(data)

    def numbers(tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
        kind, count, content = entries.get(tag, (0, 0, b""))
        return struct.unpack(f"{order}{count}{'H' if kind == 3 else 'I'}", content) if kind in (3, 4) else default

    bits, samples = numbers(_BITS, (1,)), numbers(_SAMPLES, (1,))[0]
    kind, predictor = numbers(_KIND, (1,)), numbers(_PREDICTOR, (1,))[0]
    if samples == 1 or max(bits) <= 8:
        return None
    colours = {0: 1, 1: 1, 2: 3}.get(numbers(_PHOTOMETRIC, (-1,))[0], 0)
    if (
        set(bits) != {16}
        or set(kind) != {1}
        or predictor not in (1, 2)
        or samples - colours not in (0, 1)
        or not colours
    ):
        raise ValueError(f"{samples} channels of {max(bits)} bits of an unknown kind")
    width, height = numbers(_WIDTH, ())[0], numbers(_HEIGHT, ())[0]
    planes = samples if numbers(_PLANAR, (1,))[0] == 2 else 1
    tile = numbers(_TILE_WIDTH, (width,))[0]
    extra = numbers(_EXTRA, (0,))[0]
    return Layout(
        height=height,
        width=width,
        samples=samples,
        orientation=numbers(_ORIENTATION, (1,))[0],
        parts=tuple(_grey_part(data, plane, planes, samples // planes, width, tile) for plane in range(planes)),
        differenced=predictor == 2,
        tile=tile,
        alpha=samples - colours == 1,
        premultiplied=extra == _ALPHA_ASSOCIATED,
        inverted=numbers(_PHOTOMETRIC, ())[0] == 0,
    )


def assemble(layout: Layout, parts: list[NDArray[np.uint16]]) -> NDArray[np.uint16]:
    """Put the pixels of the decoded parts together.

    Args:
        layout: From `read_layout`.
        parts: Decoded `layout.parts`, each (H, W · channels).

    Returns:
        Pixels (H, W, C), orientation not applied.
    """
    planes = []
    for part in parts:
        pixels = part.reshape(layout.height, layout.width, -1).astype(np.uint16)
        if layout.differenced:
            for start in range(0, layout.width, layout.tile):
                block = pixels[:, start : start + layout.tile]
                block[...] = np.cumsum(block, axis=1, dtype=np.uint16)
        planes.append(pixels)
    pixels = np.concatenate(planes, axis=2)
    if layout.inverted:
        pixels[..., 0] = 65535 - pixels[..., 0]
    if layout.premultiplied:
        alpha = np.maximum(pixels[..., -1:].astype(np.float32), 1)
        pixels[..., :-1] = np.minimum(np.rint(pixels[..., :-1] * (65535 / alpha)), 65535)
    return pixels


def as_grey(pixels: NDArray[np.uint16], differenced: bool) -> NDArray[np.uint16]:
    """Lay pixels out as a wide grey picture, to be written and handed to `as_colour`.

    Args:
        pixels: (H, W, C).
        differenced: Whether to give the differences between neighbours, modulo 65536, which compress better.

    Returns:
        (H, W · C).
    """
    grey = pixels.copy()
    if differenced:
        grey[:, 1:] -= pixels[:, :-1]
    return grey.reshape(len(pixels), -1)


def as_colour(grey: bytes, width: int, samples: int, differenced: bool) -> bytes:
    """Turn a grey TIFF file that holds `as_grey` of a picture into that picture's file.

    Args:
        grey: The grey file.
        width: Width of the picture in pixels.
        samples: Its channels: 2 (grey, alpha), 3 (colour) or 4 (colour, alpha).
        differenced: As given to `as_grey`.

    Returns:
        The whole file.
    """
    order = _order(grey)

    def shorts(*values: int) -> tuple[int, int, bytes]:
        return 3, len(values), struct.pack(f"{order}{len(values)}H", *values)

    changes: Entries = {
        _WIDTH: (4, 1, struct.pack(f"{order}I", width)),
        _BITS: shorts(*[16] * samples),
        _PHOTOMETRIC: shorts(2 if samples > 2 else 1),
        _SAMPLES: shorts(samples),
        _KIND: shorts(*[1] * samples),
    }
    if differenced:
        changes[_PREDICTOR] = shorts(2)
    if samples in (2, 4):
        changes[_EXTRA] = shorts(_ALPHA)
    return _with_directory(grey, {**_read_directory(grey)[1], **changes})


def with_metadata(pixels: bytes, shell: bytes) -> bytes:
    """Put metadata into a TIFF file; Pillow loses EXIF, or stops, when it compresses.

    Args:
        pixels: A TIFF file without metadata, in strips.
        shell: An uncompressed TIFF file of any size, written by the same program, that has the metadata.

    Returns:
        The whole file.
    """
    order, entries = _read_directory(pixels)
    base = shell + b"\0" * (len(shell) % 2)
    kind, count, content = entries[_STRIPS]
    offsets = struct.unpack(f"{order}{count}{'H' if kind == 3 else 'I'}", content)
    entries[_STRIPS] = 4, count, struct.pack(f"{order}{count}I", *(len(base) + offset for offset in offsets))
    kept = {tag: entry for tag, entry in _read_directory(shell)[1].items() if tag not in _STRUCTURE}
    return _with_directory(base + pixels, {**kept, **entries})


def _grey_part(data: bytes, plane: int, planes: int, channels: int, width: int, tile: int) -> bytes:
    """A file of the same pixel data whose directory speaks of one grey channel."""
    order, entries = _read_directory(data)

    def number(value: int) -> tuple[int, int, bytes]:
        return 4, 1, struct.pack(f"{order}I", value)

    for tag in (_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES):
        if tag in entries:
            kind, count, content = entries[tag]
            share = count // planes
            piece = content[plane * share * _SIZES[kind] : (plane + 1) * share * _SIZES[kind]]
            entries[tag] = kind, share, piece
    for tag in (_ORIENTATION, _EXTRA, _KIND, _PREDICTOR):
        entries.pop(tag, None)
    entries |= {
        _WIDTH: number(width * channels),
        _BITS: number(16),
        _PHOTOMETRIC: number(1),
        _SAMPLES: number(1),
        _PLANAR: number(1),
    }
    if _TILE_WIDTH in entries:
        entries[_TILE_WIDTH] = number(tile * channels)
    for tag in (_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR):
        entries[tag] = 3, 1, struct.pack(f"{order}H", struct.unpack(f"{order}I", entries[tag][2])[0])
    return _with_directory(data, entries)


def _order(data: bytes) -> str:
    """Byte order for `struct`."""
    return "<" if data[:2] == b"II" else ">"


def _read_directory(data: bytes) -> tuple[str, Entries]:
    """Byte order, and the entries of the first directory."""
    order, entries = _order(data), {}
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for position in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, position)
        size = length * _SIZES.get(kind, 0)
        place = position + 8 if size <= 4 else struct.unpack_from(f"{order}I", data, position + 8)[0]
        if place + size > len(data):
            raise ValueError("the file is cut off")
        if kind in _SIZES:
            entries[tag] = kind, length, data[place : place + size]
    return order, entries


def _with_directory(data: bytes, entries: Entries) -> bytes:
    """The file with another first (and only) directory, appended at its end."""
    order = _order(data)
    padded = data + b"\0" * (len(data) % 2)
    start = len(padded)
    behind = start + 2 + 12 * len(entries) + 4
    directory, contents = struct.pack(f"{order}H", len(entries)), b""
    for tag in sorted(entries):
        kind, count, content = entries[tag]
        directory += struct.pack(f"{order}HHI", tag, kind, count)
        if len(content) <= 4:
            directory += content.ljust(4, b"\0")
        else:
            directory += struct.pack(f"{order}I", behind + len(contents))
            contents += content + b"\0" * (len(content) % 2)
    return (
        padded[:4] + struct.pack(f"{order}I", start) + padded[8:] + directory + struct.pack(f"{order}I", 0) + contents
    )
