"""16-bit colour PNG, which Pillow reduces to 8 bits without a word.

Follows the PNG specification, third edition (W3C 2025): chunks (5), interlacing (8), filters (9).
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_COLOUR_TYPE = {channels: number for number, channels in _CHANNELS.items()}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_STRIP_ROWS = 256


def is_deep_colour(head: bytes) -> bool:
    """Whether the first 26 bytes are those of a PNG file with 16 bits and more than one channel."""
    return head.startswith(SIGNATURE) and len(head) >= 26 and head[24] == 16 and head[25] in (2, 4, 6)


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Go through the chunks of a PNG file.

    Args:
        data: The whole file.

    Yields:
        Name and content of each chunk, up to IEND.

    Raises:
        ValueError: A chunk is cut off, or its checksum is wrong.
    """
    position = len(SIGNATURE)
    while True:
        if position + 12 > len(data):
            raise ValueError("the file is cut off")
        (length,) = struct.unpack_from(">I", data, position)
        name, content = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        if position + 12 + length > len(data):
            raise ValueError("the file is cut off")
        if zlib.crc32(name + content) != struct.unpack_from(">I", data, position + 8 + length)[0]:
            raise ValueError(f"the checksum of its part {name!r} is wrong")
        yield name, content
        if name == b"IEND":
            return
        position += 12 + length


def decode(data: bytes) -> tuple[NDArray[np.uint16], tuple[int, ...]]:
    """Read the pixels of a 16-bit PNG file.

    Args:
        data: The whole file, interlaced or not.

    Returns:
        Pixels (H, W, C), and the one colour that stands for "transparent", empty where there is none.

    Raises:
        ValueError: The file is damaged, or holds no 16-bit picture.
        zlib.error: The compressed data are damaged.
    """
    header, key, packed = b"", b"", []
    for name, content in chunks(data):
        if name == b"IHDR":
            header = content
        elif name == b"tRNS":
            key = content
        elif name == b"IDAT":
            packed.append(content)
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if depth != 16 or colour not in _CHANNELS or interlaced > 1:
        raise ValueError("its header is damaged")
    channels = _CHANNELS[colour]
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(height - y) // dy), -(-(width - x) // dx)) for x, y, dx, dy in passes]
    total = sum(h * (1 + 2 * w * channels) for h, w in sizes if h > 0 and w > 0)
    unpacked = zlib.decompressobj().decompress(b"".join(packed), total)
    if len(unpacked) < total:
        raise ValueError("it holds fewer pixels than it promises")
    pixels, position = np.empty((height, width, channels), np.uint16), 0
    for (x, y, dx, dy), (h, w) in zip(passes, sizes, strict=True):
        if h > 0 and w > 0:
            length = h * (1 + 2 * w * channels)
            rows = np.frombuffer(unpacked, np.uint8, length, position).reshape(h, -1)
            pixels[y::dy, x::dx] = _unfilter(rows, 2 * channels).view(">u2").reshape(h, w, channels)
            position += length
    transparent = struct.unpack(f">{len(key) // 2}H", key) if len(key) == 2 * channels else ()
    return pixels, transparent


def encode(pixels: NDArray[np.uint16], shell: bytes) -> bytes:
    """Write a 16-bit PNG file.

    Args:
        pixels: (H, W, C) with C of 1 (grey), 2 (grey, alpha), 3 (colour) or 4 (colour, alpha).
        shell: A PNG file of any size, whose chunks other than the pixels (text, profile, EXIF …) are taken over.

    Returns:
        The whole file.
    """
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPE[channels], 0, 0, 0)
    parts, written = [SIGNATURE], False
    for name, content in chunks(shell):
        if name == b"IHDR":
            parts += _chunk(name, header)
        elif name != b"IDAT":
            parts += _chunk(name, content)
        elif not written:
            written = True
            for packed in _packed_strips(pixels):
                parts += _chunk(name, packed)
    return b"".join(parts)


def _packed_strips(pixels: NDArray[np.uint16]) -> Iterator[bytes]:
    """Filter and compress, some rows at a time, so that a large picture needs little memory."""
    height, width, channels = pixels.shape
    compressor, step = zlib.compressobj(6), 2 * channels
    above = np.zeros((1, step * (width + 1)), np.int16)
    for start in range(0, height, _STRIP_ROWS):
        strip = pixels[start : start + _STRIP_ROWS].astype(">u2")
        rows = np.pad(strip.view(np.uint8).reshape(len(strip), -1).astype(np.int16), ((0, 0), (step, 0)))
        upper = np.concatenate([above, rows[:-1]])
        filtered = np.full((len(strip), 1 + 2 * width * channels), 4, np.uint8)
        filtered[:, 1:] = (rows[:, step:] - _paeth(rows[:, :-step], upper[:, step:], upper[:, :-step])).astype(np.uint8)
        above = rows[-1:]
        yield compressor.compress(filtered.tobytes())
    yield compressor.flush()


def _unfilter(rows: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Undo the filters of all rows at once.

    A pixel needs its neighbours at the left, above, and above left, so the pixels of one anti-diagonal are independent
    of one another: the picture is laid out by anti-diagonals and they are walked through one by one.

    Args:
        rows: (H, 1 + W·step), each row led by its filter's number.
        step: Bytes a pixel.

    Returns:
        Bytes (H, W·step).
    """
    height, width = len(rows), (rows.shape[1] - 1) // step
    kinds = rows[:, :1]
    if kinds.max() > 4:
        raise ValueError("it uses a filter that does not exist")
    # diagonals[t, y + 1] is pixel (y, t - y - 2); the zeros before the first row and column are part of the format.
    diagonals = np.zeros((height + width + 1, height + 1, step), np.uint8)
    across, down, byte = diagonals.strides
    skewed = np.lib.stride_tricks.as_strided(
        diagonals[2:, 1:], (height, width, step), (across + down, across, byte), writeable=True
    )
    skewed[...] = rows[:, 1:].reshape(height, width, step)
    masks = [kinds == number for number in range(5)]
    for t in range(2, height + width + 1):
        first, last = max(1, t - width), min(height, t - 1)
        inside = slice(first, last + 1)
        left = diagonals[t - 1, inside].astype(np.int16)
        up = diagonals[t - 1, first - 1 : last].astype(np.int16)
        up_left = diagonals[t - 2, first - 1 : last].astype(np.int16)
        sub, above, mean, paeth = (mask[first - 1 : last] for mask in masks[1:])
        guess = left * sub + up * above + ((left + up) >> 1) * mean + _paeth(left, up, up_left) * paeth
        diagonals[t, inside] += guess.astype(np.uint8)
    return np.ascontiguousarray(skewed).reshape(height, width * step)


def _paeth(left: NDArray[np.int16], up: NDArray[np.int16], up_left: NDArray[np.int16]) -> NDArray[np.int16]:
    """The neighbour that is nearest to left + up - up_left; ties in this order (PNG specification, 9.4)."""
    to_left, to_up = np.abs(up - up_left), np.abs(left - up_left)
    to_up_left = np.abs(left + up - 2 * up_left)
    nearest = np.where(to_up <= to_up_left, up, up_left)
    return np.where((to_left <= to_up) & (to_left <= to_up_left), left, nearest)


def _chunk(name: bytes, content: bytes) -> list[bytes]:
    """The four pieces of a chunk."""
    return [struct.pack(">I", len(content)), name, content, struct.pack(">I", zlib.crc32(name + content))]
