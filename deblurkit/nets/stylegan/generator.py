"""What every style-based generator is to the rest of the house: z -> w -> picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

INVERSE_SLOPE = 5.0
"""A leaky ReLU of this slope undoes one of slope 0.2, up to a positive factor."""
SMALLEST = 4
"""Side of the constant that every picture begins with."""
LEVELS = 11
"""Resolutions that a generator may have; 9 of them are 1024 pixels."""

AVERAGED = 16384
"""Styles whose mean stands for an average style that a checkpoint lacks."""
AVERAGED_CHUNK = 4096


@dataclass(frozen=True)
class Gaussian:
    """What the mapping network's output looks like before its last activation (Menon et al., PULSE, CVPR 2020).

    Styles are ``leaky_relu(std * v + mean, 0.2)`` with v about standard normal.

    Attributes:
        mean: (D,), of ``leaky_relu(w, 5)``.
        std: (D,), likewise.
        samples: How many styles it was measured on.
    """

    mean: Tensor
    std: Tensor
    samples: int

    def style(self, v: Tensor) -> Tensor:
        """The styles (..., D) of whitened ones (..., D)."""
        return nn.functional.leaky_relu(self.std * v + self.mean, 1 / INVERSE_SLOPE)

    def whitened(self, w: Tensor) -> Tensor:
        """The inverse of :meth:`style`, (..., D)."""
        return (nn.functional.leaky_relu(w, INVERSE_SLOPE) - self.mean) / self.std


class Generator(nn.Module):
    """A picture from one style vector a layer.

    Attributes:
        preset: Name of the structure, as files have it.
        resolution: Side of the pictures, a power of two.
        inputs: Length of z.
        style: Length D of a style vector w.
        latents: Style vectors that a picture takes, n.
        noise_sizes: Side of every noise map, coarse to fine.
        mean_style: (D,), the average of the mapping network's output, which truncation leans on; a buffer.
        gaussian: The distribution of styles, where it has been measured.
    """

    preset: ClassVar[str]
    resolution: int
    inputs: int
    style: int
    latents: int
    noise_sizes: tuple[int, ...]
    mean_style: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.gaussian: Gaussian | None = None

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, of JSON's types."""
        raise NotImplementedError

    def map(self, z: Tensor) -> Tensor:
        """The mapping network: (B, Z) normal numbers to styles (B, D)."""
        raise NotImplementedError

    def forward(self, w: Tensor, noises: Sequence[Tensor]) -> Tensor:
        """The synthesis network.

        Args:
            w: Styles (B, n, D).
            noises: One map (B or 1, 1, r, r) for every r of ``noise_sizes``.

        Returns:
            (B, 3, R, R), about [-1, 1].
        """
        raise NotImplementedError

    def own_noises(self) -> list[Tensor]:
        """The noise maps (1, 1, r, r) that came with the weights."""
        return [self.get_buffer(f"noise_{index}") for index in range(len(self.noise_sizes))]

    def _hold_noises(self) -> None:
        """Draw the noise maps that a file may overwrite."""
        for index, side in enumerate(self.noise_sizes):
            self.register_buffer(f"noise_{index}", torch.randn(1, 1, side, side))

    @torch.no_grad()
    def measure(self, samples: int, generator: torch.Generator, chunk: int = 8192) -> Gaussian:
        """Measure the distribution of styles on random z, in chunks, so that memory stays bounded.

        Args:
            samples: How many.
            generator: On the CPU.
            chunk: How many at once.
        """
        total = torch.zeros(self.style, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for start in range(0, samples, chunk):
            z = torch.randn(min(chunk, samples - start), self.inputs, generator=generator)
            linear = nn.functional.leaky_relu(self.map(z.to(self.mean_style)), INVERSE_SLOPE).cpu().double()
            total += linear.sum(0)
            squares += linear.square().sum(0)
        mean = total / samples
        std = (squares / samples - mean.square()).clamp_min(1e-12).sqrt()
        return Gaussian(mean.to(self.mean_style), std.to(self.mean_style), samples)

    @torch.no_grad()
    def measure_mean(self, generator: torch.Generator) -> Tensor:
        """The mean (D,) of :data:`AVERAGED` random styles, for weights that came without their average style.

        Args:
            generator: On the CPU.
        """
        total = torch.zeros(self.style, dtype=torch.float64)
        for _ in range(AVERAGED // AVERAGED_CHUNK):
            z = torch.randn(AVERAGED_CHUNK, self.inputs, generator=generator)
            total += self.map(z.to(self.mean_style)).cpu().double().sum(0)
        return (total / AVERAGED).to(self.mean_style)


def sides_of(channels: Sequence[int]) -> list[int]:
    """Side of the features at every level: 4, 8, 16, ...

    Raises:
        ValueError: If the numbers of channels describe no network.
    """
    listed = isinstance(channels, list | tuple) and 1 <= len(channels) <= LEVELS
    if not listed or not all(_is_count(number) for number in channels):
        raise ValueError(f"channels: needs 1 to {LEVELS} whole numbers of at least 1, got {channels!s:.60}")
    return [SMALLEST * 2**level for level in range(len(channels))]


def check_counts(**counts: int) -> None:
    """Refuse lengths and numbers of layers that are none.

    Raises:
        ValueError: With the name of the first that is no whole number of at least 1.
    """
    for name, count in counts.items():
        if not _is_count(count):
            raise ValueError(f"{name}: needs a whole number of at least 1, got {count!s:.60}")


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1


def normalised(z: Tensor) -> Tensor:
    """Each row of (B, Z) divided by its root mean square."""
    return z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def arranged(x: Tensor) -> Tensor:
    """(B, C, H, W) in the order of memory in which convolutions are quickest, and which they hand on."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


class ScaledLinear(nn.Module):
    """A linear layer whose weights are kept near unit variance and scaled when used (equalised learning rate).

    Args:
        inputs: Length of the input.
        outputs: Length of the output.
        bias: Start value of the bias.
        rate: Factor on weights and bias, by which they learn slower (``lr_mul``).
        gain: Factor on the weights alone.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale = gain * rate / inputs**0.5
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        return nn.functional.linear(x, self.weight * self.scale, self.bias * self.rate)
