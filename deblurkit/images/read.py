"""Reading pictures: the door through which files of strangers come in."""

import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from torch import Tensor

from deblurkit.errors import DeblurkitError, ImageError, UsageError
from deblurkit.images import png16, tiff
from deblurkit.images.metadata import read_metadata, upright
from deblurkit.images.picture import Metadata, Picture

MAX_PIXELS = 200_000_000
"""Largest picture that is decoded, in pixels, unless the caller allows more: a guard against decompression bombs."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")  # multi-picture JPEG comes through JPEG
_SIGNATURES = (b"\x89PNG", b"II*\0", b"MM\0*", b"\xff\xd8\xff")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_OTHERS = {
    b"GIF8": "a GIF", b"8BPS": "a Photoshop file", b"v/1\x01": "an OpenEXR picture",
    b"II+\0": "a BigTIFF", b"MM\0+": "a BigTIFF", b"\0\0\0\x0cjP": "a JPEG 2000", b"\xff\x0a": "a JPEG XL",
}  # fmt: skip
_DNG_VERSION = 50706

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints what Pillow logs

_Stored = tuple[NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32], int, tuple[str, ...]]
"""Pixels (H, W, C) as stored, bits a channel, notes."""


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a PNG, TIFF, JPEG, WebP or BMP file.

    What a file is, its content says, not its suffix. The EXIF orientation is applied. 16-bit grey and colour keep all
    their bits. Palettes become RGB (grey, if all their colours are), one bit becomes grey, CMYK becomes RGB by its
    colour profile; a colour that stands for "transparent" becomes an alpha channel. Grey floating-point TIFF is read if
    all values lie in [0, 1]. Of several frames or pages the first one is read, with a note.

    Args:
        path: The file.
        max_pixels: Refuse larger pictures, before anything is decoded.

    Returns:
        The picture.

    Raises:
        UsageError: The file is missing, or is not a picture at all.
        ImageError: The picture is damaged, too large, or of a kind that would lose something in reading.
    """
    data = _read_bytes(path)
    with _pillow(), _explained(path):
        if not _is_picture(data):
            raise _not_a_picture(path, data)
        if (layout := tiff.read_layout(data)) is not None:
            _guard(path, (layout.width, layout.height), max_pixels)
            image = Image.open(io.BytesIO(layout.parts[0]), formats=("TIFF",))
            orientation = layout.orientation
            stored: _Stored = _tiff_colour(layout), 16, ()
        else:
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
            _guard(path, image.size, max_pixels)
            frames = getattr(image, "n_frames", 1)
            if png16.is_deep_colour(data[:26]):
                stored = _with_key(*png16.decode(data)), 16, ()
            else:
                stored = _decode(path, image)
            image.load()  # what stands behind the pixels: text, EXIF
            orientation = image.getexif().get(0x112, 1)
            if frames > 1 and image.format != "MPO":
                stored = *stored[:2], (*stored[2], f"{path}: holds {frames} frames; only the first one is deblurred.")
        metadata = read_metadata(image, data)
        return _picture(path, image, stored, orientation, metadata)


def _picture(path: Path, image: Image.Image, stored: _Stored, orientation: int, metadata: Metadata) -> Picture:
    """Turn stored pixels into tensors, upright."""
    pixels, depth, notes = stored
    channels = pixels.shape[2]
    planes = upright(torch.from_numpy(_signed(pixels)).permute(2, 0, 1)[None], orientation)
    colours = channels - 1 if channels in (2, 4) else channels
    if image.mode in ("CMYK", "LAB"):
        metadata = replace(metadata, icc=b"")  # the profile described the colours before conversion
    scale = {8: 255.0, 16: 65535.0, 32: 1.0}[depth]
    return Picture(
        path=path,
        pixels=_as_float(planes[:, :colours], scale),
        alpha=_as_float(planes[:, colours:], scale) if colours < channels else None,
        depth=depth,
        format={"MPO": "JPEG"}.get(image.format or "", image.format or ""),
        metadata=metadata,
        notes=notes,
    )


def _signed(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """A writable array of a type that torch computes with."""
    return pixels.astype(np.int32) if pixels.dtype == np.uint16 else np.array(pixels)


def _as_float(planes: Tensor, scale: float) -> Tensor:
    """Contiguous float32 in [0, 1]."""
    return planes.to(torch.float32, memory_format=torch.contiguous_format).contiguous().div_(scale)


def _decode(path: Path, image: Image.Image) -> _Stored:
    """Let Pillow decode, into grey or RGB, with or without alpha."""
    tags = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags:
        raise ImageError(f"{path}: is a camera's raw file; develop it to a 16-bit TIFF or PNG first.")
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):
        if max(tags.get(258, (16,))) != 16:
            raise ImageError(f"{path}: has {max(tags[258])} bits a pixel; convert it to a 16-bit PNG or TIFF first.")
        values = np.asarray(image).astype(np.uint16)[..., None]
        values = 65535 - values if tags.get(262) == 0 else values
        key = image.info.get("transparency")
        return _with_key(values, () if key is None else (int(key),)), 16, ()
    if mode == "F":
        return _float_grey(path, image), 32, ()
    if mode == "CMYK":
        note = f"{path}: is CMYK and was converted to RGB; the result is RGB."
        return np.asarray(_from_cmyk(image)), 8, (note,)
    if mode in ("I", "LAB", "HSV"):
        raise ImageError(
            f"{path}: has pixels of a kind ({mode}) that is not supported; convert it to RGB or grey first."
        )
    pixels = np.asarray(_plain(image))
    return (pixels[..., None] if pixels.ndim == 2 else pixels), 8, ()


def _plain(image: Image.Image) -> Image.Image:
    """Convert 8-bit modes to L, LA, RGB or RGBA."""
    transparent = image.has_transparency_data
    if image.mode in ("1", "L", "LA"):
        return image.convert("LA" if transparent else "L")
    palette = image.mode in ("P", "PA")
    converted = image.convert("RGBA" if transparent else "RGB")
    if palette:
        red, green, blue = (np.asarray(band) for band in converted.split()[:3])
        if np.array_equal(red, green) and np.array_equal(green, blue):
            return converted.convert("LA" if transparent else "L")
    return converted


def _float_grey(path: Path, image: Image.Image) -> NDArray[np.float32]:
    """Floating-point pixels, if they are in the range that is written back."""
    values = np.asarray(image)[..., None]
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise ImageError(f"{path}: has floating-point values outside [0, 1]; scale them into that range first.")
    return values


def _from_cmyk(image: Image.Image) -> Image.Image:
    """Convert by the file's colour profile, or, without a usable one, by the plain formula."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (KeyError, OSError, ImageCms.PyCMSError):
        converted = None
    return image.convert("RGB") if converted is None else converted


def _tiff_colour(layout: tiff.Layout) -> NDArray[np.uint16]:
    """Decode the grey parts of a colour TIFF."""
    return tiff.assemble(layout, [np.asarray(Image.open(io.BytesIO(part))) for part in layout.parts])


def _with_key(pixels: NDArray[np.uint16], key: tuple[int, ...]) -> NDArray[np.uint16]:
    """Add the alpha channel that a transparent colour stands for."""
    if not key:
        return pixels
    opaque = (pixels != np.array(key)).any(axis=2, keepdims=True)
    return np.concatenate([pixels, opaque.astype(np.uint16) * np.uint16(65535)], axis=2)


def _guard(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    """Refuse by the header alone what would not fit into memory."""
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"{path}: is {width} × {height} pixels, more than the {max_pixels / 1e6:.0f} million that are allowed; "
            "crop or shrink it first."
        )
    if width < 1 or height < 1:
        raise ImageError(f"{path}: is empty ({width} × {height} pixels); give a picture with pixels.")


def _read_bytes(path: Path) -> bytes:
    """The whole file."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"{path}: does not exist; check the name.") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path}: is a folder; name a picture file.") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error}); check its permissions.") from error


def _is_picture(data: bytes) -> bool:
    """Whether the file begins as one of the formats does; BMP and WebP begin like other things, so look closer."""
    if data.startswith(b"BM"):
        return int.from_bytes(data[14:18], "little") in _BMP_HEADERS
    return data.startswith(_SIGNATURES) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP")


def _not_a_picture(path: Path, data: bytes) -> DeblurkitError:
    """Say what the file is instead."""
    known = "deblurkit reads PNG, TIFF, JPEG, WebP and BMP"
    kind = next((name for signature, name in _OTHERS.items() if data.startswith(signature)), "")
    if data[4:8] == b"ftyp":
        kind = "a HEIC, AVIF or film file"
    if kind:
        return ImageError(f"{path}: is {kind}; {known}: convert it first.")
    return UsageError(f"{path}: is {'empty' if not data else 'not a picture'}; {known}.")


class _Pillow:
    """Pillow without its own size limit (`_guard` has ours) and without its warnings about odd metadata.

    Both settings are the whole process's, so threads that read at once share them: the first changes them, the last
    puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._settings = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._settings.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
                Image.MAX_IMAGE_PIXELS = None
                self._settings.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._settings.close()


_pillow = _Pillow()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn whatever decoders raise on damaged files into one sentence."""
    try:
        yield
    except (DeblurkitError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: is damaged, or of a kind that is not supported; save it anew as PNG.") from error
    except Exception as error:  # decoders fed with rubbish raise anything: struct, index, key, system errors
        cause = str(error) if isinstance(error, ValueError | OSError) else "its inner structure is broken"
        raise ImageError(f"{path}: is damaged or not supported ({cause.rstrip('.')}); save it anew as PNG.") from error
