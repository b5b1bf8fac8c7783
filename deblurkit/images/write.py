"""Writing pictures as they came: same channels, same depth, same profile, or not at all."""

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from deblurkit.errors import UsageError
from deblurkit.files import atomic_write
from deblurkit.images import png16, tiff
from deblurkit.images.find import SUFFIXES
from deblurkit.images.picture import Metadata, Picture

QUALITY = 95
"""Of JPEG and lossy WebP files, 0 to 100."""

_MAX_DEPTH = {".png": 16, ".tif": 32, ".tiff": 32}
_TIFF_COMPRESSIONS = ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "zstd")
_JPEG_SEGMENT = 65000
_ORIENTATION, _XMP, _IPTC = 274, 700, 33723


def write_image(path: Path, pixels: Tensor, like: Picture, overwrite: bool) -> tuple[str, ...]:
    """Write a picture with the depth, transparency and metadata of another one, atomically.

    Values are clamped to [0, 1] and rounded to the nearest step; NaN becomes 0. The format follows from the suffix:
    PNG keeps 8 and 16 bits, TIFF also floating point; JPEG (full colour resolution) and WebP have 8 bits and are
    written with quality 95 (WebP without loss where `like` was a lossless WebP); JPEG and BMP put transparent pictures
    on white. What a format cannot hold is said in the returned notes.

    Args:
        path: The file; its suffix chooses the format.
        pixels: (1, C, H, W), C as in `like`.
        like: The picture that this one was made from.
        overwrite: Whether an existing file may be replaced.

    Returns:
        What was lost, in sentences; mostly empty.

    Raises:
        UsageError: The suffix is unknown, or the file exists and may not be replaced.
        RunError: The system refuses to write.
        ValueError: `pixels` doesn't fit `like`.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: deblurkit writes {', '.join(SUFFIXES)}; choose one of these endings.")
    if pixels.shape[:2] != like.pixels.shape[:2] or (like.alpha is not None and pixels.shape[-2:] != like.size):
        raise ValueError(f"pixels of shape {tuple(pixels.shape)} do not fit a picture of {tuple(like.pixels.shape)}")
    notes = []
    planes = torch.nan_to_num(pixels[0].detach().to("cpu", torch.float32), nan=0.0).clamp(0, 1)
    if like.alpha is not None:
        alpha = like.alpha[0]
        if suffix in (".jpg", ".jpeg", ".bmp"):
            planes = planes * alpha + (1 - alpha)
            notes.append(f"{path}: {suffix} has no transparency; the picture was put on white.")
        else:
            planes = torch.cat([planes, alpha])
    depth = min(like.depth, _MAX_DEPTH.get(suffix, 8))
    if depth == 32 and len(planes) > 1:
        depth = 16
    if depth < like.depth:
        notes.append(f"{path}: was written with {depth} bits a channel, its original has {like.depth}.")
    stored = _quantised(planes, depth)
    atomic_write(path, lambda file: _save(file, suffix, stored, like.metadata), overwrite)
    return tuple(notes)


def viewable(planes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(C, H, W) in [0, 1] as (H, W), or (H, W, 3), in 256 steps, to be looked at; what lies beyond is clipped."""
    steps = np.rint(np.clip(planes, 0.0, 1.0) * 255.0).astype(np.uint8)
    return steps[0] if len(steps) == 1 else np.moveaxis(steps, 0, -1)


def _quantised(planes: Tensor, depth: int) -> NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]:
    """(C, H, W) in [0, 1] to (H, W, C) in whole steps, or floating point."""
    values = planes.permute(1, 2, 0).contiguous()
    if depth == 32:
        return values.numpy()
    steps = (values * float(2**depth - 1)).round_().numpy()
    return steps.astype(np.uint8) if depth == 8 else steps.astype(np.uint16)


def _save(file: BinaryIO, suffix: str, stored: NDArray[np.generic], metadata: Metadata) -> None:
    """Encode into an open file."""
    if suffix in (".tif", ".tiff"):
        file.write(_tiff(stored, metadata))
    elif suffix == ".png":
        file.write(_png(stored, metadata))
    elif suffix == ".webp":
        lossless = metadata.compression == "lossless"
        image = _image(stored)
        exif, profile = metadata.exif, _profile(metadata, "RGB")
        image.save(
            file,
            "WEBP",
            lossless=lossless,
            quality=QUALITY,
            exact=True,
            exif=exif,
            icc_profile=profile,
            xmp=metadata.xmp,
        )
    elif suffix == ".bmp":
        _image(stored).save(file, "BMP", **_resolution(metadata))
    else:
        _save_jpeg(file, _image(stored), metadata)


def _save_jpeg(file: BinaryIO, image: Image.Image, metadata: Metadata) -> None:
    """JPEG; its segments hold 64 kB, so that longer EXIF or XMP blocks (of other formats) stay behind."""
    image.save(
        file,
        "JPEG",
        quality=QUALITY,
        subsampling=0,
        optimize=image.width * image.height < 4_000_000,  # a second pass over a large picture is not worth 2 %
        icc_profile=_profile(metadata, image.mode),
        exif=metadata.exif if len(metadata.exif) < _JPEG_SEGMENT else b"",
        xmp=metadata.xmp if len(metadata.xmp) < _JPEG_SEGMENT else b"",
        comment=metadata.comment[:_JPEG_SEGMENT],
        **_resolution(metadata),
    )


def _png(stored: NDArray[np.generic], metadata: Metadata) -> bytes:
    """PNG; with 16 bits and several channels, Pillow writes all but the pixels."""
    deep = stored.dtype == np.uint16
    image = _image(np.zeros((1, 1, stored.shape[2]), np.uint8) if deep else stored)
    info = PngInfo()
    for name, content in metadata.chunks:
        info.add(name, content)
    for key, value in metadata.text.items():
        info.add_text(key, value)
    if metadata.xmp:
        info.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
    buffer = io.BytesIO()
    profile = _profile(metadata, image.mode)
    image.save(buffer, "PNG", pnginfo=info, icc_profile=profile, exif=metadata.exif, **_resolution(metadata))
    return png16.encode(stored.astype(np.uint16), buffer.getvalue()) if deep else buffer.getvalue()


def _tiff(stored: NDArray[np.generic], metadata: Metadata) -> bytes:
    """TIFF; with 16 bits and several channels, written as grey and made colour."""
    channels = stored.shape[2]
    compression = metadata.compression if metadata.compression in _TIFF_COMPRESSIONS else "tiff_adobe_deflate"
    if stored.dtype == np.uint16 and channels > 1:
        differenced = compression not in ("raw", "packbits")  # TIFF 6.0 knows differences only before real compression
        grey = _tiff_file(Image.fromarray(tiff.as_grey(stored.astype(np.uint16), differenced)), compression)
        pixels = tiff.as_colour(grey, stored.shape[1], channels, differenced)
    else:
        pixels = _tiff_file(_image(stored), compression)
    tags = Image.Exif()  # in a TIFF file all of these are entries of one directory
    tags.load(metadata.exif)
    tags.pop(_ORIENTATION, None)
    tags.update({tag: value for tag, value in ((_XMP, metadata.xmp), (_IPTC, metadata.iptc)) if value})
    shell, mode = io.BytesIO(), "L" if channels < 3 else "RGB"
    profile = _profile(metadata, mode)
    Image.new(mode, (1, 1)).save(shell, "TIFF", exif=tags, icc_profile=profile, **_resolution(metadata))
    return tiff.with_metadata(pixels, shell.getvalue())


def _tiff_file(image: Image.Image, compression: str) -> bytes:
    """A TIFF file of nothing but pixels."""
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", compression=None if compression == "raw" else compression)
    return buffer.getvalue()


def _image(stored: NDArray[np.generic]) -> Image.Image:
    """A Pillow image of (H, W, C); two channels are grey and alpha."""
    return Image.fromarray(stored[..., 0] if stored.shape[2] == 1 else stored)


def _profile(metadata: Metadata, mode: str) -> bytes:
    """The colour profile, if it is one for the colours that are written."""
    space = b"GRAY" if mode in ("L", "LA", "I;16", "F") else b"RGB "
    return metadata.icc if metadata.icc[16:20] == space else b""


def _resolution(metadata: Metadata) -> dict[str, tuple[float, float]]:
    """The argument for Pillow, absent where the resolution is unknown."""
    return {"dpi": metadata.dpi} if metadata.dpi != (0.0, 0.0) else {}
