"""The door of the functions in this package: what an image and a kernel look like."""

from torch import Tensor

from deblurkit.errors import KernelError


def require_image(x: Tensor, name: str) -> None:
    """Refuse anything but ``(B, C, H, W)`` floating point with at least one pixel.

    Args:
        x: The tensor to look at.
        name: What the caller calls it; starts the message.

    Raises:
        ValueError: The tensor has another layout.
    """
    if x.ndim != 4 or not x.is_floating_point() or x.numel() == 0:
        raise ValueError(f"{name}: needs a floating point tensor (B, C, H, W), got {tuple(x.shape)} {x.dtype}")


def require_kernel(kernel: Tensor, name: str) -> None:
    """Refuse anything but ``(B, 1, h, w)`` floating point with odd sides.

    Args:
        kernel: The tensor to look at.
        name: What the caller calls it; starts the message.

    Raises:
        ValueError: The tensor has another layout.
        KernelError: A side is even, so the kernel has no centre.
    """
    if kernel.ndim != 4 or kernel.shape[1] != 1 or not kernel.is_floating_point() or kernel.numel() == 0:
        raise ValueError(
            f"{name}: needs a floating point tensor (B, 1, h, w), got {tuple(kernel.shape)} {kernel.dtype}"
        )
    if kernel.shape[-2] % 2 == 0 or kernel.shape[-1] % 2 == 0:
        raise KernelError(f"{name}: {kernel.shape[-2]}x{kernel.shape[-1]} has no centre; pad it to odd sides")


def require_pair(x: Tensor, kernel: Tensor) -> None:
    """Refuse an image and a kernel that cannot be convolved: layouts as above, one kernel for all or one each.

    Args:
        x: Images ``(B, C, H, W)``.
        kernel: Kernels ``(B, 1, h, w)`` or ``(1, 1, h, w)``.

    Raises:
        ValueError: A layout is wrong or the batches do not match.
        KernelError: A kernel side is even.
    """
    require_image(x, "image")
    require_kernel(kernel, "kernel")
    if kernel.shape[0] not in (1, x.shape[0]):
        raise ValueError(f"kernel: {kernel.shape[0]} kernels do not fit {x.shape[0]} images; give one, or one each")
