"""A guess for pixels that were not observed: a start for methods that then ignore it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def fill(y: Tensor, mask: Tensor) -> Tensor:
    """Replace pixels that are not believed by an average of believed ones nearby (push-pull over a pyramid).

    Args:
        y: Pictures (B, C, H, W); what stands under the mask has no influence.
        mask: (B, 1, H, W) in [0, 1], 1 where a pixel is believed.

    Returns:
        (B, C, H, W), equal to ``y`` where the mask is 1; 0 where nothing is believed anywhere.
    """
    if bool((mask > 0).all()):
        return y
    known = y * mask
    height, width = y.shape[-2:]
    if max(height, width) == 1:
        return known
    odd = (0, width % 2, 0, height % 2)
    weight = functional.avg_pool2d(functional.pad(mask, odd), 2)
    mean = functional.avg_pool2d(functional.pad(known, odd), 2) / weight.clamp_min(1e-12)
    coarse = fill(mean, (weight > 0).to(y.dtype))
    guess = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return known + (1 - mask) * guess
