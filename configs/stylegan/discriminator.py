"""StyleGAN2's discriminator (Karras et al., CVPR 2020): residual blocks, and one look at the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from deblurkit.nets.stylegan.generator import ScaledLinear
from deblurkit.ops.upfirdn import biased_act, downsample2, filter_taps, upfirdn2d

GROUP = 4
"""Pictures whose spread the discriminator may compare."""


class ScaledConv(nn.Module):
    """A convolution with equalised learning rate, and by choice activation and halving."""

    def __init__(self, inputs: int, outputs: int, side: int, *, down: bool = False, act: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs)) if act else None
        self.scale = (inputs * side**2) ** -0.5
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H, W), or half of that size."""
        weight = self.weight * self.scale
        side = weight.shape[-1]
        if self.down and side == 1:
            x = functional.conv2d(downsample2(x), weight)
        elif self.down:
            blurred = upfirdn2d(x, filter_taps(like=x), pad=(2, 2, 2, 2))
            x = functional.conv2d(blurred, weight, stride=2)
        else:
            x = functional.conv2d(x, weight, padding=side // 2)
        return x if self.bias is None else biased_act(x, self.bias)


class Block(nn.Module):
    """Two convolutions and a shortcut; the size is halved."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = ScaledConv(inputs, inputs, 3)
        self.second = ScaledConv(inputs, outputs, 3, down=True)
        self.skip = ScaledConv(inputs, outputs, 1, down=True, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H / 2, W / 2)."""
        return (self.second(self.first(x)) + self.skip(x)) * 0.5**0.5


class Discriminator(nn.Module):
    """How real pictures look, as one number each.

    Args:
        channels: Features at 4, 8, 16, ... pixels, as the generator's.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        fine = list(reversed(channels))
        self.from_rgb = ScaledConv(3, fine[0], 1)
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in pairwise(fine)))
        last = fine[-1]
        self.conv = ScaledConv(last + 1, last, 3)
        self.hidden = ScaledLinear(last * 16, last)
        self.out = ScaledLinear(last, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, R, R) in [-1, 1] to (B,); B a multiple of the group or below it."""
        x = self.blocks(self.from_rgb(x))
        group = min(GROUP, len(x))
        spread = x.reshape(group, -1, *x.shape[1:]).var(0, unbiased=False).add(1e-8).sqrt().mean((1, 2, 3))
        x = torch.cat([x, spread.repeat(group).view(-1, 1, 1, 1).expand(-1, -1, *x.shape[2:])], 1)
        x = biased_act(self.hidden(self.conv(x).flatten(1)), None)
        return self.out(x)[:, 0]
