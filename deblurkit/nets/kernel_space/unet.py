"""The U-Net of the published kernel space, into whose narrowest place the code goes (Tran et al., CVPR 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HALVINGS = 5


class UNet(nn.Module):
    """Five halvings and as many doublings, without norms; the code joins the features at the narrowest place.

    It is appended behind them, and a ReLU follows, so that negative entries of the code say nothing.

    Args:
        features: Channels of input and output; the narrowest place has eight times as many.
        code: Channels of the code.
    """

    def __init__(self, features: int, code: int) -> None:
        super().__init__()
        widths = [features * width for width in (1, 1, 2, 4, 8, 8)]
        inner: Scale | None = None
        for index in reversed(range(HALVINGS)):
            inner = Scale(widths[index], widths[index + 1], code=code, inner=inner, outermost=index == 0)
        assert inner is not None
        self.model = inner

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Blur features (B, C, H, W), sides multiples of 32, by a code (B, D, H/32, W/32), into (-1, 1)."""
        blurred: Tensor = self.model(x, code)
        return blurred


class Scale(nn.Module):
    """One halving and one doubling around the next scale; all but the outermost append their input behind their output.

    Args:
        outer: Channels outside.
        inner_width: Channels inside.
        code: Channels of the code, which only the innermost scale looks at.
        inner: The next scale; ``None`` makes this one the innermost.
        outermost: Whether this one ends in a bias and tanh.
    """

    def __init__(self, outer: int, inner_width: int, *, code: int, inner: Scale | None, outermost: bool) -> None:
        super().__init__()
        self.outermost = outermost
        down = nn.Conv2d(outer, inner_width, 4, stride=2, padding=1, bias=False)
        # in place: the appended input meets a ReLU next, to which the leak makes no difference
        self.down = nn.Sequential(down) if outermost else nn.Sequential(nn.LeakyReLU(0.2, inplace=True), down)
        self.submodule = inner
        joined = inner_width + (inner_width if inner is not None else code)
        up = nn.ConvTranspose2d(joined, outer, 4, stride=2, padding=1, bias=outermost)
        self.up = nn.Sequential(nn.ReLU(inplace=True), up)
        if outermost:
            self.up.append(nn.Tanh())

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Map (B, outer, H, W) to the same, or to (B, 2 outer, H, W) where the input is appended."""
        deep = self.down(x)
        deep = torch.cat([deep, code], dim=1) if self.submodule is None else self.submodule(deep, code)
        out: Tensor = self.up(deep)
        return out if self.outermost else torch.cat([out, x], dim=1)
