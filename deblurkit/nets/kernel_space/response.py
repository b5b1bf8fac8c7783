"""The camera's response as a part of the blur: what was blurred was light, not the numbers in the file."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

NUMBERS = 4
"""Numbers of a code that say what the response is: log gamma, excess light where saturated, two for the nets."""
SATURATED = 0.97
"""From here to 1 a pixel counts more and more as saturated."""
DARKEST = 1e-4
"""Light below this is raised to it before the tone curve, whose slope has no limit at 0."""


class Response(nn.Module):
    """Light from pictures and pictures from light, conditioned on the numbers u (B, NUMBERS) of a code.

    ``light = picture ** exp(u0) + u1 * (saturated, weighed by a net)`` before the convolution, ``min(light, 1) **
    exp(-u0)`` plus a small net after it. Zeros mean a linear camera, for which all this is the identity.
    """

    def __init__(self, hidden: int) -> None:
        """Args: hidden: Channels of the nets."""
        super().__init__()
        self.highlights = _Conditioned(4, hidden)
        self.residual = _Conditioned(3, hidden)

    @property
    def _learning(self) -> bool:
        """Whether the nets have to take part even where they make no difference."""
        return self.training and torch.is_grad_enabled()

    def excess(self, picture: Tensor, numbers: Tensor) -> Tensor | None:
        """Where, and how strongly, u1 adds light to a picture (B, C, H, W); None where it adds none anyway."""
        saturated = ((picture - SATURATED) / (1 - SATURATED)).clamp(0, 1)
        if not (self._learning or saturated.any()):
            return None
        maps = torch.stack([picture.clamp(0, 1), saturated, _mean_around(saturated, 2), _mean_around(saturated, 7)], 2)
        return saturated * (1 + self.highlights(maps, numbers)).clamp(0, 8)

    def light(self, picture: Tensor, numbers: Tensor, excess: Tensor | None) -> Tensor:
        """Light (B, C, H, W) that made a picture in [0, 1]; more than 1 where it is saturated, see :meth:`excess`."""
        u = numbers.view(len(numbers), -1, 1, 1)
        light = _power(picture, u[:, :1].exp())
        return light if excess is None else light + u[:, 1:2] * excess

    def tone(self, light: Tensor, numbers: Tensor) -> Tensor:
        """The picture (B, C, H, W) that the tone curve alone makes of light."""
        return _power(light.clamp_max(1), (-numbers[:, :1]).exp().view(-1, 1, 1, 1))

    def picture(self, light: Tensor, sharp: Tensor, numbers: Tensor) -> Tensor:
        """The picture (B, C, H, W) that a camera makes of light; ``sharp`` is the sharp one's part of that size."""
        picture = self.tone(light, numbers)
        if not (self._learning or numbers.any()):
            return picture
        gate = numbers.square().sum(1).clamp_max(1).view(-1, 1, 1, 1)
        rest = self.residual(torch.stack([picture, light, sharp], 2), numbers)
        return torch.where(gate > 0, picture + gate * 0.1 * rest, picture)


class _Conditioned(nn.Module):
    """A small net on every channel by itself, its features scaled and shifted by the code; gives 0 at first."""

    def __init__(self, maps: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(maps, hidden, 3, padding=1)
        self.second = nn.Conv2d(hidden, hidden, 3, padding=2, dilation=2)
        self.third = nn.Conv2d(hidden, hidden, 3, padding=4, dilation=4)
        self.last = nn.Conv2d(hidden, 1, 3, padding=1)
        self.film = nn.Linear(NUMBERS, 4 * hidden)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(cast(Tensor, self.last.bias))

    def forward(self, maps: Tensor, numbers: Tensor) -> Tensor:
        """(B, C, maps, H, W) to (B, C, H, W)."""
        batch, channels = maps.shape[:2]
        scale1, shift1, scale2, shift2 = self.film(numbers).repeat_interleave(channels, 0)[..., None, None].chunk(4, 1)
        x = functional.leaky_relu(self.first(maps.flatten(0, 1)), 0.1)
        x = functional.leaky_relu(self.second(x) * (1 + scale1) + shift1, 0.1)
        x = functional.leaky_relu(self.third(x) * (1 + scale2) + shift2, 0.1)
        return cast(Tensor, self.last(x)).view(batch, channels, *maps.shape[-2:])


def _mean_around(x: Tensor, radius: int) -> Tensor:
    """Mean over a square of (B, C, H, W), and over less of it at the border."""
    side = 2 * radius + 1
    x = functional.avg_pool2d(x, (side, 1), 1, (radius, 0), count_include_pad=False)
    return functional.avg_pool2d(x, (1, side), 1, (0, radius), count_include_pad=False)


def _power(x: Tensor, exponent: Tensor) -> Tensor:
    """Raise to a power; x itself, whatever its sign, where the exponent is 1."""
    return torch.where(exponent == 1, x, x.clamp_min(DARKEST) ** exponent)
