"""StyleGAN2's generator (Karras et al., Analyzing and improving the image quality of StyleGAN, CVPR 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblurkit.nets.stylegan.generator import (
    SMALLEST,
    Generator,
    ScaledLinear,
    arranged,
    check_counts,
    normalised,
    sides_of,
)
from deblurkit.ops.upfirdn import biased_act, filter_taps, upfirdn2d, upsample2

MAPPING_RATE = 0.01
"""The mapping network learns so much slower."""
SLOPE, GAIN = 0.2, 2**0.5
"""Of the activation."""


class StyleGAN2(Generator):
    """Constant, then per resolution two modulated convolutions and a skip to RGB.

    Args:
        channels: Features at 4, 8, 16, ... pixels; their number sets the resolution.
        style: Length of a style vector.
        inputs: Length of z.
        depth: Layers of the mapping network.
        clamp: Largest absolute value of any feature, for networks that were trained in half precision; 0 for none.

    Raises:
        ValueError: If a size is impossible.
    """

    preset = "stylegan2"

    def __init__(
        self, *, channels: Sequence[int], style: int = 512, inputs: int = 512, depth: int = 8, clamp: float = 0.0
    ) -> None:
        super().__init__()
        sides = sides_of(channels)
        check_counts(style=style, inputs=inputs, depth=depth)
        if isinstance(clamp, bool) or not isinstance(clamp, int | float) or not 0 <= clamp < math.inf:
            raise ValueError(f"clamp: needs a finite number of at least 0, got {clamp!s:.60}")
        self.channels = tuple(channels)
        self.style, self.inputs, self.depth, self.clamp = style, inputs, depth, clamp
        self.resolution = sides[-1]
        self.latents = 2 * len(sides)
        self.noise_sizes = (sides[0], *(side for side in sides[1:] for _ in range(2)))
        self.mapping = nn.ModuleList(
            ScaledLinear(inputs if layer == 0 else style, style, rate=MAPPING_RATE) for layer in range(depth)
        )
        self.constant = nn.Parameter(torch.randn(1, self.channels[0], SMALLEST, SMALLEST))
        ahead = (self.channels[0], *self.channels)
        self.layers = nn.ModuleList([StyledConv(ahead[0], ahead[0], style, up=False, clamp=clamp)])
        self.to_rgb = nn.ModuleList([ToRGB(ahead[0], style, clamp=clamp)])
        for before, count in zip(self.channels, self.channels[1:], strict=False):
            self.layers.append(StyledConv(before, count, style, up=True, clamp=clamp))
            self.layers.append(StyledConv(count, count, style, up=False, clamp=clamp))
            self.to_rgb.append(ToRGB(count, style, clamp=clamp))
        self.register_buffer("mean_style", torch.zeros(style))
        self._hold_noises()

    @classmethod
    def published(cls, resolution: int, multiplier: int = 2, depth: int = 8) -> StyleGAN2:
        """The published sizes: ``multiplier`` 2 is config-f, 1 is config-e."""
        base = 16384 * multiplier
        levels = int(math.log2(resolution)) - 1
        return cls(channels=[min(base // (SMALLEST * 2**level), 512) for level in range(levels)], depth=depth)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "channels": list(self.channels),
            "style": self.style,
            "inputs": self.inputs,
            "depth": self.depth,
            "clamp": self.clamp,
        }

    def map(self, z: Tensor) -> Tensor:
        """(B, Z) to styles (B, D)."""
        x = normalised(z)
        for layer in self.mapping:
            x = biased_act(layer(x), None)
        return x

    def forward(self, w: Tensor, noises: Sequence[Tensor]) -> Tensor:
        """(B, n, D) styles and the noise maps to (B, 3, R, R); layer and RGB of one resolution share the last style."""
        x = arranged(self.constant.expand(w.shape[0], -1, -1, -1))
        x = self.layers[0](x, w[:, 0], noises[0])
        rgb = self.to_rgb[0](x, w[:, 1])
        for level in range(1, len(self.channels)):
            first = 2 * level - 1
            x = self.layers[first](x, w[:, first], noises[first])
            x = self.layers[first + 1](x, w[:, first + 1], noises[first + 1])
            rgb = upsample2(rgb) + self.to_rgb[level](x, w[:, first + 2])
        return rgb.contiguous()


class StyledConv(nn.Module):
    """A 3x3 convolution whose input channels a style scales, with demodulation, noise, bias and activation.

    Features are scaled before and after an ordinary convolution, which equals scaling its weights.
    """

    def __init__(self, inputs: int, outputs: int, style: int, *, up: bool, clamp: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(1))
        self.affine = ScaledLinear(style, inputs, bias=1.0)
        self.up, self.clamp = up, clamp

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """(B, I, r, r) features and (B, D) styles to (B, O, r', r'), r' = 2 r where it doubles the size."""
        scale = self.affine(w)
        shrink = (scale.square() @ self.weight.square().sum((2, 3)).t() + 1e-8).rsqrt()
        x = x * scale[:, :, None, None]
        if self.up:
            x = functional.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            x = upfirdn2d(x, filter_taps(gain=4.0, like=x), pad=(1, 1, 1, 1))
        else:
            x = functional.conv2d(x, self.weight, padding=1)
        # the activation's gain is taken before it, where it costs nothing, and what is ours alone is overwritten
        x = torch.addcmul(GAIN * self.bias.view(-1, 1, 1), x, GAIN * shrink[:, :, None, None])
        x = functional.leaky_relu_(x.add_(GAIN * self.noise_strength * noise), SLOPE)
        return x.clamp(-self.clamp, self.clamp) if self.clamp else x


class ToRGB(nn.Module):
    """A 1x1 convolution to three channels whose input channels a style scales."""

    def __init__(self, inputs: int, style: int, *, clamp: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.affine = ScaledLinear(style, inputs, bias=1.0)
        self.gain, self.clamp = inputs**-0.5, clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, I, r, r) features and (B, D) styles to (B, 3, r, r)."""
        weight = self.weight[:, :, 0, 0] * (self.affine(w) * self.gain)[:, None]  # (B, 3, I)
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # in the order of memory, (B, r r, I)
        rgb = torch.bmm(weight, pixels.transpose(1, 2)).unflatten(2, x.shape[2:])
        return biased_act(rgb, self.bias, slope=1.0, gain=1.0, clamp=self.clamp)
