"""StyleGAN1's generator (Karras et al., A style-based generator architecture for GANs, CVPR 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblurkit.nets.stylegan.generator import SMALLEST, Generator, ScaledLinear, check_counts, normalised, sides_of
from deblurkit.ops.upfirdn import biased_act, filter_taps, upfirdn2d

FUSED = 128
"""Side from which the published networks double the size and convolve in one operation."""
MAPPING_RATE = 0.01
"""The mapping network learns so much slower."""
HE_GAIN = 2**0.5
"""Keeps the variance through a leaky ReLU; it stands in the weights' scale, and the activation has none."""
BLUR = (1.0, 2.0, 1.0)


class StyleGAN1(Generator):
    """Constant, then two convolutions per resolution, each normalised and scaled by a style; RGB only at the end.

    Args:
        channels: Features at 4, 8, 16, ... pixels; their number sets the resolution.
        style: Length of a style vector.
        inputs: Length of z.
        depth: Layers of the mapping network.

    Raises:
        ValueError: If a size is impossible.
    """

    preset = "stylegan1"

    def __init__(self, *, channels: Sequence[int], style: int = 512, inputs: int = 512, depth: int = 8) -> None:
        super().__init__()
        sides = sides_of(channels)
        check_counts(style=style, inputs=inputs, depth=depth)
        self.channels = tuple(channels)
        self.style, self.inputs, self.depth = style, inputs, depth
        self.resolution = sides[-1]
        self.latents = 2 * len(sides)
        self.noise_sizes = tuple(side for side in sides for _ in range(2))
        self.mapping = nn.ModuleList(
            ScaledLinear(inputs if layer == 0 else style, style, rate=MAPPING_RATE, gain=HE_GAIN)
            for layer in range(depth)
        )
        first = self.channels[0]
        self.constant = nn.Parameter(torch.ones(1, first, SMALLEST, SMALLEST))
        self.convolutions = nn.ModuleList([ScaledConv(first, first, 3, gain=HE_GAIN)])
        for before, count, side in zip(self.channels, self.channels[1:], sides[1:], strict=False):
            self.convolutions.append(UpConv(before, count, side))
            self.convolutions.append(ScaledConv(count, count, 3, gain=HE_GAIN))
        self.epilogues = nn.ModuleList(Epilogue(count, style) for count in self.channels for _ in range(2))
        self.to_rgb = ScaledConv(self.channels[-1], 3, 1, gain=1.0)
        self.rgb_bias = nn.Parameter(torch.zeros(3))
        self.register_buffer("mean_style", torch.zeros(style))
        self._hold_noises()

    @classmethod
    def published(cls, resolution: int, depth: int = 8) -> StyleGAN1:
        """The published sizes."""
        levels = int(math.log2(resolution)) - 1
        return cls(channels=[min(16384 // (SMALLEST * 2**level), 512) for level in range(levels)], depth=depth)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"channels": list(self.channels), "style": self.style, "inputs": self.inputs, "depth": self.depth}

    def map(self, z: Tensor) -> Tensor:
        """(B, Z) to styles (B, D)."""
        x = normalised(z)
        for layer in self.mapping:
            x = biased_act(layer(x), None, gain=1.0)
        return x

    def forward(self, w: Tensor, noises: Sequence[Tensor]) -> Tensor:
        """(B, n, D) styles and the noise maps to (B, 3, R, R); every layer has a style and a noise map."""
        x = self.constant.expand(w.shape[0], -1, -1, -1)
        for index, epilogue in enumerate(self.epilogues):
            if index:
                x = self.convolutions[index - 1](x)
            x = epilogue(x, w[:, index], noises[index])
        return self.to_rgb(x) + self.rgb_bias.view(-1, 1, 1)


class ScaledConv(nn.Module):
    """A convolution whose weights are kept near unit variance and scaled when used (equalised learning rate)."""

    def __init__(self, inputs: int, outputs: int, size: int, *, gain: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.scale = gain / (inputs * size**2) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, r, r) to (B, O, r, r)."""
        return functional.conv2d(x, self.weight * self.scale, padding=self.weight.shape[-1] // 2)


class UpConv(ScaledConv):
    """Doubles the size, convolves, and blurs.

    The published networks repeat every pixel and convolve where the picture stays below ``FUSED`` pixels, and use a
    transposed convolution from there on, with the 3x3 kernel spread to 4x4 by summing four shifted copies. Repeating
    pixels is the same transposed convolution with the kernel turned by 180 degrees, at under half the cost.
    """

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__(inputs, outputs, 3, gain=HE_GAIN)
        self.turned = side < FUSED

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, r, r) to (B, O, 2 r, 2 r)."""
        weight = (self.weight * self.scale).transpose(0, 1)
        if self.turned:
            weight = weight.flip((2, 3))
        weight = functional.pad(weight, (1, 1, 1, 1))
        weight = weight[..., 1:] + weight[..., :-1]
        weight = weight[..., 1:, :] + weight[..., :-1, :]
        x = functional.conv_transpose2d(x, weight, stride=2, padding=1)
        return upfirdn2d(x, filter_taps(BLUR, like=x), pad=(1, 1, 1, 1))


class Epilogue(nn.Module):
    """What follows every convolution: bias, noise, activation, instance norm, style."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.noise_strength = nn.Parameter(torch.zeros(channels))
        self.affine = ScaledLinear(style, 2 * channels)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """(B, C, r, r) features and (B, D) styles to (B, C, r, r)."""
        x = x + self.noise_strength.view(-1, 1, 1) * noise
        x = functional.instance_norm(biased_act(x, self.bias, gain=1.0))
        scale, shift = self.affine(w)[:, :, None, None].chunk(2, 1)
        return x * (scale + 1) + shift
