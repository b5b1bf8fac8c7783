"""The loss of one step's examples, in each of the two stages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from deblurkit.kernel_space.draws import everywhere, generator, normal
from deblurkit.kernel_space.feed import Feed, numbers_of
from deblurkit.kernel_space.kernel_sources import centred
from deblurkit.kernel_space.losses import picture_loss
from deblurkit.kernel_space.prepare import Material
from deblurkit.kernel_space.settings import TrainParams
from deblurkit.kernel_space.world import World
from deblurkit.nets.kernel_space.space import ConvolutionalSpace, KernelSpace

CHUNK = 32
"""Kernels that go through the loss together."""


class BatchLoss:
    """Draws this process's examples of a step, and compares them with what the space makes of them.

    Args:
        space: The space that is trained.
        material: Where the examples come from.
        params: The settings.
        world: The processes that train together.
    """

    def __init__(self, space: KernelSpace, material: Material, params: TrainParams, world: World) -> None:
        self.space = space
        self.material = material
        self.params = params
        self.world = world
        self.feed = Feed(material.training, params, world) if material.training and params.iterations else None

    def on_kernels(self, step: int) -> Tensor:
        """The loss of a step on kernels alone, a scalar."""
        assert isinstance(self.space, ConvolutionalSpace)
        params, device = self.params, self.world.device
        numbers = numbers_of(step, params.kernel_batch, self.world)
        kernels = self.material.kernels.take(params.seed, "kernel stage", numbers)
        kernels = centred(kernels, self.space.window).to(device)
        # a loss may draw noise from the global generator, and it has to be the same however a batch is divided
        size = math.gcd(params.kernel_batch, CHUNK)
        losses = []
        for start, part in zip(numbers[::size], kernels.split(size), strict=True):
            with self._precision(), everywhere(generator(params.seed, "kernel noise", start), device):
                losses.append(self.space.kernel_loss(part))
        return torch.stack(losses).mean()

    def on_pictures(self, step: int) -> Tensor:
        """The loss of a step on pictures, counted from the first one of that stage, a scalar."""
        assert self.feed is not None
        params, device = self.params, self.world.device
        data, examples = self.feed.take(step)
        sharp, blurry = data.collate(examples, device)
        noise = None
        if params.vae:
            shape = self.space.code_shape((data.crop, data.crop))
            noise = normal(shape, params.seed, "spread", numbers_of(step, params.batch, self.world)).to(device)
        with self._precision():
            return picture_loss(self.space, sharp, blurry, noise, params)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.params.precision == "bfloat16"):
            yield
