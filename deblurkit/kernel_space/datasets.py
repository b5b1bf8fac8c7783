"""Examples to train on: crops of pairs, or crops of sharp pictures that are blurred on the fly.

Example number n of a purpose (training, validation, ...) is drawn from a generator of its own (see
:mod:`deblurkit.kernel_space.draws`), so that it depends neither on the process that draws it nor on what came before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from deblurkit.errors import DeblurkitError, RunError
from deblurkit.images import read_image
from deblurkit.kernel_space.draws import generator, uniform, whole
from deblurkit.kernel_space.exposure import expose
from deblurkit.kernel_space.kernel_sources import ORIENTATIONS, KernelSource, oriented
from deblurkit.kernel_space.pairs import Pair
from deblurkit.kernel_space.textures import texture

GAMMA = 2.2
ATTEMPTS = 1000

Warn = Callable[[str], None]


class Example(NamedTuple):
    """One example on its way to a batch; pictures are (C, H, W) float32 in [0, 1].

    Attributes:
        sharp: The sharp crop; with a margin where it is still to be blurred.
        blurry: The blurry crop, or an empty tensor where it is still to be made.
        kernel: (1, w, w), or empty.
        light: Gamma and gain of the exposure.
        noise: What is added to the blurry picture (C, H, W), or empty.
    """

    sharp: Tensor
    blurry: Tensor
    kernel: Tensor
    light: Tensor
    noise: Tensor


NOTHING = torch.empty(0)


class PictureStore:
    """Pictures by number, decoded when they are needed and kept in memory while there is room.

    A file that turns out to be damaged is reported once and passed over from then on.

    Args:
        paths: The files.
        limit: Bytes that decoded pictures may take.
        grey: Whether to turn them into grey.
        warn: Told about damaged files.
    """

    def __init__(self, paths: Sequence[Path], *, limit: float, grey: bool, warn: Warn) -> None:
        self.paths = list(paths)
        self.grey = grey
        self.warn = warn
        self.bad: set[int] = set()
        self._kept: dict[int, Tensor] = {}
        self._room = limit

    def __len__(self) -> int:
        return len(self.paths)

    def get(self, index: int) -> Tensor | None:
        """Picture (C, H, W), uint8 or (of more than 8 bits) float32 in [0, 1]; None if it cannot be decoded."""
        if index in self._kept:
            return self._kept[index]
        if index in self.bad:
            return None
        try:
            picture = read_image(self.paths[index])
        except DeblurkitError as error:
            if index not in self.bad:
                self.bad.add(index)
                self.warn(f"{str(error).rstrip('.')}. It is left out of the training.")
            return None
        pixels = picture.pixels[0].mean(0, keepdim=True) if self.grey else picture.pixels[0]
        if picture.depth == 8:
            pixels = (pixels * 255).round().to(torch.uint8)
        self.keep(index, pixels)
        return pixels

    def keep(self, index: int, pixels: Tensor) -> None:
        """Remember a decoded picture, if there is room."""
        size = pixels.numel() * pixels.element_size()
        if size <= self._room and index not in self._kept:
            self._room -= size
            self._kept[index] = pixels


class TextureStore(PictureStore):
    """Sharp pictures and, after them, synthetic textures, which are always kept."""

    def __init__(self, paths: Sequence[Path], textures: Sequence[tuple[int, int, int]], **settings: object) -> None:
        """Paint the textures; each is (seed, number, side)."""
        super().__init__(paths, **settings)  # type: ignore[arg-type]
        for seed, number, side in textures:
            pixels = texture(side, generator=generator(seed, "texture", number))
            if self.grey:
                pixels = pixels.float().mean(0, keepdim=True).round().to(torch.uint8)
            self._kept[len(self.paths)] = pixels
            self.paths.append(Path(f"texture-{seed}-{number}"))


class Data(ABC):
    """A source of examples.

    Attributes:
        names: Of all pictures, to recognise the same data again.
        content: How much there is, in words.
        crop: Side of the examples in pixels.
    """

    names: list[str]
    content: str
    crop: int

    @abstractmethod
    def draw(self, seed: int, purpose: str, number: int) -> Example:
        """Draw one example, on the CPU; may be called from several threads.

        Raises:
            RunError: If there is no picture that can be decoded.
        """

    def collate(self, examples: Sequence[Example], device: torch.device) -> tuple[Tensor, Tensor]:
        """Sharp and blurry pictures (B, C, crop, crop) on a device."""
        sharp = torch.stack([example.sharp for example in examples]).to(device, non_blocking=True)
        return sharp, torch.stack([example.blurry for example in examples]).to(device, non_blocking=True)


class PairData(Data):
    """Aligned crops of pairs.

    Args:
        pairs: The pairs, of checked headers; every picture is at least as large as the crop.
        crop: Side of the crops.
        flips: Whether to mirror and transpose at random.
        limit: Bytes of decoded pictures to keep.
        grey: Whether to turn them into grey.
        warn: Told about damaged files.
    """

    def __init__(self, pairs: Sequence[Pair], *, crop: int, flips: bool, limit: float, grey: bool, warn: Warn) -> None:
        self.names = [pair.name for pair in pairs]
        self.content = f"{len(pairs)} pairs"
        self.crop = crop
        self.flips = flips
        paths = [path for pair in pairs for path in (pair.sharp, pair.blurry)]
        self.store = PictureStore(paths, limit=limit, grey=grey, warn=warn)

    def draw(self, seed: int, purpose: str, number: int) -> Example:
        """See :meth:`Data.draw`."""
        source = generator(seed, purpose, number)
        for _ in range(ATTEMPTS):
            index = whole(source, len(self.names))
            sharp, blurry = self.store.get(2 * index), self.store.get(2 * index + 1)
            if sharp is not None and blurry is not None:
                break
            if 2 * len(self.store.bad) >= len(self.store):
                _check_any_left(self.names, self.store, each=2)
        else:
            raise RunError("Almost no picture can be decoded; see the warnings, and mend the training data.")
        two = torch.stack([_unit(one) for one in _cut([sharp, blurry], self.crop, source)])
        two = oriented(two, whole(source, ORIENTATIONS)) if self.flips else two
        return Example(two[0], two[1], NOTHING, NOTHING, NOTHING)


@dataclass(frozen=True)
class Exposure:
    """How sharp pictures are blurred on the fly.

    Attributes:
        gamma_share: Share blurred in light of gamma 2.2 instead of in pixel values.
        saturated_share: Share that is overexposed.
        gain: Largest factor of the overexposure.
        noise: Largest standard deviation of noise.
    """

    gamma_share: float = 0.0
    saturated_share: float = 0.0
    gain: float = 1.0
    noise: float = 0.0


class BlurData(Data):
    """Crops of sharp pictures, blurred on the fly.

    Args:
        store: The sharp pictures.
        kernels: What to blur them with.
        exposure: Camera response, overexposure, noise.
        crop: Side of the crops; pictures are larger by the kernels' window less one.
        flips: Whether to mirror and transpose the sharp pictures at random.
    """

    def __init__(
        self, store: PictureStore, kernels: KernelSource, exposure: Exposure, *, crop: int, flips: bool
    ) -> None:
        self.names = [*(path.name for path in store.paths), *kernels.names]
        self.content = f"{len(store)} pictures"
        self.store = store
        self.kernels = kernels
        self.exposure = exposure
        self.crop = crop
        self.flips = flips

    def draw(self, seed: int, purpose: str, number: int) -> Example:
        """See :meth:`Data.draw`."""
        source = generator(seed, purpose, number)
        for _ in range(ATTEMPTS):
            picture = self.store.get(whole(source, len(self.store)))
            if picture is not None:
                break
            _check_any_left(self.names[: len(self.store)], self.store, each=1)
        else:
            raise RunError("Almost no picture can be decoded; see the warnings, and mend the training data.")
        (scene,) = _cut([picture], self.crop + self.kernels.window - 1, source)
        scene = _unit(scene)
        scene = oriented(scene, whole(source, ORIENTATIONS)) if self.flips else scene
        how = self.exposure
        gamma = GAMMA if uniform(source) < how.gamma_share else 1.0
        gain = uniform(source, 1.0, how.gain) if uniform(source) < how.saturated_share else 1.0
        noise = NOTHING
        if how.noise:
            sigma = uniform(source, 0.0, how.noise)
            noise = sigma * torch.randn(scene.shape[0], self.crop, self.crop, generator=source)
        kernel = self.kernels.take(seed, f"{purpose} kernels", range(number, number + 1))[0]
        return Example(scene, NOTHING, kernel, torch.tensor([gamma, gain]), noise)

    def collate(self, examples: Sequence[Example], device: torch.device) -> tuple[Tensor, Tensor]:
        """Blur and expose a batch on the device."""
        scene, kernels, light = (
            torch.stack(parts).to(device, non_blocking=True)
            for parts in (
                [example.sharp for example in examples],
                [example.kernel for example in examples],
                [example.light for example in examples],
            )
        )
        sharp, blurry = expose(scene, kernels, gamma=light[:, 0], gain=light[:, 1])
        if self.exposure.noise:
            noise = torch.stack([example.noise for example in examples]).to(device, non_blocking=True)
            blurry = (blurry + noise).clamp(0, 1)
        return sharp, blurry


def _check_any_left(names: Sequence[str], store: PictureStore, *, each: int) -> None:
    """Give up when every example has a damaged picture."""
    left = [index for index in range(len(names)) if not store.bad & set(range(each * index, each * index + each))]
    if not left:
        raise RunError(
            f"None of the {len(names)} examples can be decoded; see the warnings, and mend the training data."
        )


def _cut(pictures: Sequence[Tensor | None], side: int, source: torch.Generator) -> list[Tensor]:
    """The same random square of some pictures of one size."""
    present = [picture for picture in pictures if picture is not None]
    height, width = present[0].shape[-2:]
    top, left = whole(source, height - side + 1), whole(source, width - side + 1)
    return [picture[..., top : top + side, left : left + side] for picture in present]


def _unit(pixels: Tensor) -> Tensor:
    """As float32 in [0, 1]."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
