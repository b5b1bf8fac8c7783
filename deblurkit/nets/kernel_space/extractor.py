"""G of the compact space: the code that re-blurs best, by regression in the light that the camera saw."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from deblurkit.nets.kernel_space.kernel_decoder import KernelDecoder
from deblurkit.nets.kernel_space.regression import Blurred, Regression, polish, regress
from deblurkit.nets.kernel_space.response import NUMBERS, Response


@torch.no_grad()
def extract_codes(decoder: KernelDecoder, response: Response | None, sharp: Tensor, blurry: Tensor) -> Tensor:
    """The codes (B, K + NUMBERS), or (B, K) without a response, of pictures (B, C, H, W)."""
    if response is None:
        return _kernel_code(decoder, Blurred.of(sharp, blurry, decoder.window))
    code = _kernel_code(decoder, Blurred.of(sharp, blurry, decoder.window))
    return functional.pad(code, (0, NUMBERS))


def _kernel_code(decoder: KernelDecoder, pair: Blurred) -> Tensor:
    system = Regression(pair, *decoder.linear())
    return polish(system, regress(system), decoder)
