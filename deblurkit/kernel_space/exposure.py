"""What a camera makes of a blurred scene: light adds up before the sensor saturates and the tone curve bends it."""

from __future__ import annotations

from torch import Tensor

from deblurkit.ops.convolve import convolve_valid


def expose(scene: Tensor, kernels: Tensor, *, gamma: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Take a sharp and a blurry picture of a scene.

    The light is ``gain * scene ** gamma``, a picture of it ``min(light, 1) ** (1 / gamma)``.

    With gamma and gain 1 the blurry picture is the plain convolution. With a gain above 1 highlights saturate, and the
    blurry picture shows light that the sharp one does not.

    Args:
        scene: (B, C, H + h - 1, W + w - 1) in [0, 1].
        kernels: (B or 1, 1, h, w), odd sides, >= 0, sum 1.
        gamma: (B,), exponent of the tone curve, > 0; 2.2 is about that of sRGB.
        gain: (B,), exposure, > 0.

    Returns:
        Sharp and blurry pictures (B, C, H, W) in [0, 1].

    Raises:
        ValueError: A layout is wrong or the batches do not match.
        KernelError: A kernel is larger than the picture, or a side is even.
    """
    gamma, gain = gamma.view(-1, 1, 1, 1), gain.view(-1, 1, 1, 1)
    light = gain * scene.clamp(0, 1) ** gamma
    top, left = kernels.shape[-2] // 2, kernels.shape[-1] // 2
    sharp = light[..., top : light.shape[-2] - top, left : light.shape[-1] - left]
    blurry = convolve_valid(light, kernels)
    return sharp.clamp(0, 1) ** (1 / gamma), blurry.clamp(0, 1) ** (1 / gamma)
