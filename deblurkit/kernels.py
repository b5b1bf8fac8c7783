"""Blur kernels in and out of files.

Everywhere in deblurkit a kernel is (B, 1, h, w), at least 0, of sum 1, with odd sides, its anchor in the middle, and
stands for true convolution: y[p] = Σ k[j] · x[p - j].
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from deblurkit.errors import KernelError
from deblurkit.files import atomic_write

KERNEL_SUFFIXES = (".npy", ".png", ".tif", ".tiff", ".mat")
"""Endings of the files that `read_kernel` reads, in lower case."""

_MAX_BYTES, _MAX_SIDE = 64_000_000, 4096
_NAMES = ("kernel", "k", "psf", "PSF", "f", "h")
_NEGATIVE = 0.01
_VIEW_SIDE = 128
_ENLARGED = "deblurkit:enlarged"


@dataclass(frozen=True, eq=False)
class LoadedKernel:
    """A kernel read from a file.

    Attributes:
        kernel: (1, 1, h, w) float32, at least 0, sum 1, odd sides.
        notes: What was changed in reading, in sentences.
    """

    kernel: Tensor
    notes: tuple[str, ...]


def read_kernel(path: Path, flip: bool = False) -> LoadedKernel:
    """Read a kernel from a ``.npy``, ``.png``, ``.tif`` or ``.mat`` file.

    It is normalised to sum 1. An even side gets a line of zeros at its end, so that the anchor that MATLAB, NumPy and
    SciPy give an even kernel (index n // 2) becomes the middle. Negative values down to a hundredth of the peak are
    taken for rounding and set to 0. From a ``.mat`` file comes its only numeric matrix, or the one named ``kernel``,
    ``k``, ``psf``, ``PSF``, ``f`` or ``h``. The enlarged ``.kernel.png`` of `write_kernel` is brought back to its size.

    Args:
        path: The file.
        flip: Turn the kernel by 180°: for files of tools that correlate instead of convolving.

    Returns:
        The kernel, and what was changed.

    Raises:
        KernelError: The file is missing, cannot be read, or holds no kernel.
    """
    suffix = path.suffix.lower()
    if suffix not in KERNEL_SUFFIXES:
        raise KernelError(f"{path}: kernels are read from {', '.join(KERNEL_SUFFIXES)} files; convert it to .npy.")
    data = _read_bytes(path)
    notes: list[str] = []
    if suffix == ".npy":
        values = _from_numpy(path, data)
    elif suffix == ".mat":
        values = _from_matlab(path, data)
    else:
        values = _from_picture(path, data, notes)
    kernel = _checked(path, values, notes)
    tensor = torch.from_numpy(kernel.astype(np.float32))[None, None]
    return LoadedKernel(tensor.flip(-2, -1) if flip else tensor, tuple(notes))


def check_kernel_fits(kernel: Tensor, picture_size: tuple[int, int]) -> None:
    """Refuse a kernel that is larger than the picture it should have blurred.

    Args:
        kernel: (B, 1, h, w).
        picture_size: Height and width of the picture in pixels.

    Raises:
        KernelError: It is larger.
    """
    (kernel_height, kernel_width), (height, width) = kernel.shape[-2:], picture_size
    if kernel_height > height or kernel_width > width:
        raise KernelError(
            f"The kernel ({kernel_width} × {kernel_height}) is larger than the picture ({width} × {height} pixels); "
            "give the kernel of this picture."
        )


def write_kernel(path: Path, view: Path, kernel: Tensor, overwrite: bool) -> None:
    """Write a kernel twice, atomically: as numbers, and as a picture to look at.

    The numbers are a ``.npy`` array (h, w), float32, sum 1, as used: anchor in the middle, for true convolution. The
    picture is scaled to its peak and enlarged, each value to a square, until its longer side has about 128 pixels.

    Args:
        path: The ``.npy`` file.
        view: The ``.png`` file.
        kernel: (1, 1, h, w), finite, at least 0, not all 0.
        overwrite: Whether existing files may be replaced.

    Raises:
        UsageError: A file exists and may not be replaced.
        RunError: The system refuses to write.
        ValueError: `kernel` is no kernel.
    """
    values = kernel.detach().to("cpu", torch.float64).numpy()
    if values.ndim != 4 or values.shape[:2] != (1, 1) or not np.isfinite(values).all():
        raise ValueError(f"kernel must be finite and of shape (1, 1, h, w), got {tuple(kernel.shape)}")
    values = values[0, 0]
    if values.min() < 0 or values.sum() <= 0:
        raise ValueError("kernel must be at least 0 and not all 0")
    numbers = (values / values.sum()).astype(np.float32)
    factor = max(1, -(-_VIEW_SIDE // max(values.shape)))
    grey = np.rint(values / values.max() * 255).astype(np.uint8).repeat(factor, 0).repeat(factor, 1)
    info = PngInfo()
    info.add_text(_ENLARGED, str(factor))
    atomic_write(path, lambda file: np.save(file, numbers, allow_pickle=False), overwrite)
    atomic_write(view, lambda file: Image.fromarray(grey).save(file, "PNG", pnginfo=info), overwrite)


def _checked(path: Path, values: NDArray[np.generic], notes: list[str]) -> NDArray[np.float64]:
    """Make a kernel of an array, or say why it is none."""
    if values.dtype.kind not in "buif":
        raise KernelError(f"{path}: holds {values.dtype} values and no kernel; save real numbers.")
    shape = " × ".join(map(str, values.shape)) or "a single number"
    while values.ndim > 2 and 1 in (values.shape[0], values.shape[-1]):
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2 or values.size == 0:
        raise KernelError(f"{path}: holds an array of shape {shape}; a kernel has two dimensions.")
    if max(values.shape) > _MAX_SIDE:
        raise KernelError(f"{path}: is {shape}, larger than any kernel; name the kernel's file.")
    kernel = values.astype(np.float64)
    if not np.isfinite(kernel).all():
        raise KernelError(f"{path}: holds values that are not finite (NaN or infinite); a kernel has none.")
    if kernel.max() <= 0:
        raise KernelError(f"{path}: has no value above 0; a kernel has some.")
    if kernel.min() < -_NEGATIVE * kernel.max():
        raise KernelError(f"{path}: has negative values (down to {kernel.min():.3g}); a blur kernel has none.")
    kernel = np.maximum(kernel / kernel.max(), 0)
    odd = tuple(side + 1 - side % 2 for side in kernel.shape)
    if odd != kernel.shape:
        notes.append(
            f"{path}: is {kernel.shape[1]} × {kernel.shape[0]} and was padded to {odd[1]} × {odd[0]}, "
            "for a kernel needs a middle."
        )
        kernel = np.pad(kernel, [(0, new - old) for old, new in zip(kernel.shape, odd, strict=True)])
    return kernel / kernel.sum()


def _read_bytes(path: Path) -> bytes:
    """The whole file."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise KernelError(f"{path}: is larger than any kernel file; name the kernel's file.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise KernelError(f"{path}: does not exist; check the name.") from error
    except OSError as error:
        raise KernelError(f"{path}: cannot be read ({error.strerror or error}); check the file.") from error


def _from_numpy(path: Path, data: bytes) -> NDArray[np.generic]:
    """The array of a ``.npy`` file; objects, which could run code, are refused."""
    if data.startswith(b"PK"):
        raise KernelError(f"{path}: is an .npz archive; save the one kernel with numpy.save.")
    if not data.startswith(b"\x93NUMPY"):
        raise KernelError(f"{path}: is no NumPy file; save the kernel with numpy.save.")
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError, SyntaxError, TypeError) as error:
        reason = "it holds Python objects" if "Object arrays" in str(error) else "it is damaged"
        raise KernelError(f"{path}: cannot be read, for {reason}; save the kernel anew with numpy.save.") from error


def _from_matlab(path: Path, data: bytes) -> NDArray[np.generic]:
    """The matrix of a MATLAB file that is, or is called, a kernel."""
    from scipy.io import loadmat

    if data.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise KernelError(f"{path}: is a MATLAB 7.3 file, which is not supported; save it with save(…, '-v7').")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = loadmat(io.BytesIO(data))
    except Exception as error:  # SciPy raises whatever its parser stumbles over
        raise KernelError(f"{path}: is no MATLAB file, or is damaged; save the kernel as .npy.") from error
    matrices = {
        name: value
        for name, value in content.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "buif" and value.ndim == 2 and value.size > 1
    }
    chosen = next((name for name in _NAMES if name in matrices), "")
    if len(matrices) == 1:
        (chosen,) = matrices
    if not chosen:
        names = ", ".join(sorted(name for name in content if not name.startswith("__"))) or "nothing"
        raise KernelError(
            f"{path}: it is not clear which variable is the kernel (it holds {names}); save it alone, as 'kernel'."
        )
    return matrices[chosen]


def _from_picture(path: Path, data: bytes, notes: list[str]) -> NDArray[np.generic]:
    """The grey values of a PNG or TIFF file."""
    if data.startswith(b"\x89PNG") and data[24:26] in (b"\x10\x02", b"\x10\x04", b"\x10\x06"):
        raise KernelError(f"{path}: is a 16-bit picture with colour or transparency; save it as 16-bit grey.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(io.BytesIO(data), formats=("PNG", "TIFF"))
            if max(image.size) <= _MAX_SIDE:
                image.load()
            mode, size, info = image.mode, image.size, image.info
            if max(getattr(image, "tag_v2", {}).get(258, (8,))) > 8 and mode not in (
                "I;16",
                "I;16B",
                "I;16L",
                "F",
                "I",
            ):
                raise KernelError(f"{path}: is a 16-bit colour picture; save it as 16-bit grey.")
            if max(size) > _MAX_SIDE:
                raise KernelError(f"{path}: is {size[0]} × {size[1]} pixels, larger than any kernel; name its file.")
            if mode in ("P", "PA", "LA", "RGBA", "CMYK"):
                image = image.convert("RGBA" if image.has_transparency_data else "RGB")
            elif mode == "1":
                image = image.convert("L")
            values = np.asarray(image)
    except KernelError:
        raise
    except Image.DecompressionBombError as error:
        raise KernelError(f"{path}: is larger than any kernel; name the kernel's file.") from error
    except Exception as error:  # decoders fed with rubbish raise anything
        raise KernelError(f"{path}: cannot be read as a picture; save the kernel as .npy or grey .png.") from error
    if values.ndim == 3:
        if values.shape[2] == 4 and (values[..., 3] != 255).any():
            raise KernelError(f"{path}: is partly transparent; save the kernel as a grey picture.")
        if (values[..., :3] != values[..., :1]).any():
            raise KernelError(f"{path}: is coloured; a kernel is a grey picture.")
        values = values[..., 0]
    factor = int(info[_ENLARGED]) if str(info.get(_ENLARGED, "")).isdecimal() else 1
    if factor > 1:
        notes.append(
            f"{path}: is a picture of a kernel, in 8 bits, enlarged {factor} times; the .npy beside it is exact."
        )
        values = values[factor // 2 :: factor, factor // 2 :: factor]
    return values
