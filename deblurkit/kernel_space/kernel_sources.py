"""Kernels to train on: files, or random trajectories without end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from deblurkit.errors import UsageError
from deblurkit.kernel_space.draws import generator, whole
from deblurkit.kernel_space.settings import TRAJECTORIES
from deblurkit.kernel_space.trajectories import random_kernels
from deblurkit.kernels import KERNEL_SUFFIXES, read_kernel

BLOCK = 64
"""Random kernels are drawn so many at a time, which is much faster than one by one."""
POOL = 16 * BLOCK
"""So many are drawn before they come again in another orientation: drawing a kernel costs more than learning from it,
and its mirror images and transposes are as good as new ones."""
ORIENTATIONS = 8
PERIOD = POOL * ORIENTATIONS


class KernelSource(ABC):
    """Kernels by number.

    Attributes:
        window: Side of all of them, odd.
        names: Of what they come from.
    """

    window: int
    names: list[str]

    @abstractmethod
    def take(self, seed: int, purpose: str, numbers: range) -> Tensor:
        """The kernels (N, 1, window, window) of some examples of a purpose."""


class Trajectories(KernelSource):
    """Random camera shakes without end: each is seen once in every orientation, and never again."""

    def __init__(self, window: int, shift: float) -> None:
        self.window = window
        self.shift = shift
        self.names = [f"{TRAJECTORIES}-{window}"]
        self._block = lru_cache(maxsize=2 * POOL // BLOCK)(self._draw)

    def take(self, seed: int, purpose: str, numbers: range) -> Tensor:
        """See :meth:`KernelSource.take`."""
        return torch.stack([self._one(seed, purpose, number) for number in numbers])

    def _one(self, seed: int, purpose: str, number: int) -> Tensor:
        period, rest = divmod(number, PERIOD)
        turn, index = divmod(rest, POOL)
        kernel = self._block(seed, purpose, period * (POOL // BLOCK) + index // BLOCK)[index % BLOCK]
        return oriented(kernel, (turn + index) % ORIENTATIONS)

    def _draw(self, seed: int, purpose: str, block: int) -> Tensor:
        return random_kernels(BLOCK, self.window, generator=generator(seed, purpose, block), shift=self.shift)


class KernelFiles(KernelSource):
    """A few kernels, every one equally often, in windows of one size."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the kernels.

        Raises:
            KernelError: If one is no kernel.
        """
        kernels = [read_kernel(path).kernel for path in paths]
        self.window = max(side for kernel in kernels for side in kernel.shape[-2:])
        self.kernels = torch.cat([centred(kernel, self.window) for kernel in kernels])
        self.names = [path.name for path in paths]

    def take(self, seed: int, purpose: str, numbers: range) -> Tensor:
        """See :meth:`KernelSource.take`."""
        return self.kernels[[whole(generator(seed, purpose, number), len(self.kernels)) for number in numbers]]


class Mixture(KernelSource):
    """Several sources, every one equally often."""

    def __init__(self, sources: Sequence[KernelSource]) -> None:
        self.sources = list(sources)
        self.window = max(source.window for source in sources)
        self.names = [name for source in sources for name in source.names]

    def take(self, seed: int, purpose: str, numbers: range) -> Tensor:
        """See :meth:`KernelSource.take`."""
        chosen = [whole(generator(seed, f"{purpose} source", number), len(self.sources)) for number in numbers]
        taken = [
            self.sources[which].take(seed, f"{purpose} {which}", range(number, number + 1))
            for which, number in zip(chosen, numbers, strict=True)
        ]
        return torch.cat([centred(kernel, self.window) for kernel in taken])


def find_kernels(names: Sequence[Path], *, window: int, shift: float) -> KernelSource:
    """Make one source of what the user names.

    Args:
        names: Kernel files, folders of them, or the word ``trajectories``.
        window: Side of the trajectories.
        shift: Their largest offset in pixels.

    Raises:
        UsageError: A name does not exist, or a folder holds no kernel.
        KernelError: A file is no kernel.
    """
    sources: list[KernelSource] = []
    paths: list[Path] = []
    for name in names:
        if str(name) == TRAJECTORIES and not name.exists():
            sources.append(Trajectories(window, min(shift, window // 2)))
        elif name.is_dir():
            inside = sorted(path for path in name.iterdir() if path.suffix.lower() in KERNEL_SUFFIXES)
            # the picture of a kernel stands beside its numbers
            inside = [path for path in inside if path.suffix == ".npy" or path.with_suffix(".npy") not in inside]
            if not inside:
                raise UsageError(f"{name}: holds no kernels; give a folder of {', '.join(KERNEL_SUFFIXES)} files.")
            paths += inside
        else:
            paths.append(name)
    if paths:
        sources.append(KernelFiles(paths))
    return sources[0] if len(sources) == 1 else Mixture(sources)


def centred(kernel: Tensor, window: int) -> Tensor:
    """Kernels (N, 1, h, w) of odd sides in the middle of a larger window."""
    height, width = kernel.shape[-2:]
    down, across = (window - height) // 2, (window - width) // 2
    return functional.pad(kernel, [across, across, down, down])


def oriented(pictures: Tensor, which: int) -> Tensor:
    """One of the 8 mirror images and transposes (..., H, W): 0 is the picture itself."""
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if which & bit]
    pictures = pictures.flip(axes) if axes else pictures
    return pictures.mT if which & 4 else pictures
