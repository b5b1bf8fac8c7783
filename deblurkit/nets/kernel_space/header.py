"""What a kernel space's file says of it, read without torch."""

from importlib.resources import files
from pathlib import Path

from deblurkit.nets import header
from deblurkit.nets.header import Header, Kind

KERNEL_SPACE = Kind(
    "deblurkit-kernel-space",
    "kernel space",
    "make one by deblurkit train-kernel-space, or convert the authors' weights by deblurkit import-weights",
)


def read_header(path: Path) -> Header:
    """Read the header of a kernel space's file.

    Args:
        path: A ``.safetensors`` file; the empty path for the space that comes with deblurkit.

    Raises:
        UsageError: If the file is missing, unreadable, or not a kernel space.
    """
    return header.read_header(space_path(path), KERNEL_SPACE)


def space_path(path: Path) -> Path:
    """The path itself, or that of the space that comes with deblurkit where it is empty."""
    return path if path != Path() else Path(str(files("deblurkit") / "spaces" / "compact.safetensors"))
