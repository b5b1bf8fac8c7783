"""The manifold of a generator as image prior: x = G(w), w on spheres (Tran et al., CVPR 2021, section 3.3).

The search is that of PULSE (Menon et al., CVPR 2020): whitened styles and noise maps move on the spheres on which they
were drawn, GEOCROSS keeps the styles of the layers together.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from deblurkit.checkpoints.layouts import open_generator
from deblurkit.core import ImagePrior, Observation
from deblurkit.core.image_prior import extend, inner
from deblurkit.errors import RunError, UsageError
from deblurkit.files import version_of
from deblurkit.image_priors.framing import framed
from deblurkit.image_priors.landmarks import aligned
from deblurkit.image_priors.plugin import StyleGANParams
from deblurkit.nets.stylegan.generator import Gaussian, Generator
from deblurkit.nets.stylegan.styles import styles_of
from deblurkit.ops.resample import resample_image

EXCESS = 0.05
"""Slope of the picture's values beyond [0, 1]: a generator overshoots a little, and gradients should still pass."""
GLANCE = 16
"""Side to which pictures are shrunk when starts are compared: what blur leaves of a picture is its coarse content."""
CHUNK = 8
"""Pictures that a generator makes at once when starts are compared."""


class StyleGANManifold(ImagePrior[StyleGANParams]):
    """What a generator makes of styles and noise maps, in the frame of the blurry picture.

    Beyond that frame there is only a repetition of the border, so pixels that were blurred with what lies out there
    are not believed.

    Raises:
        UsageError: If no generator is named, or the file is none.
    """

    def __init__(
        self, params: StyleGANParams, observation: Observation, *, margin: tuple[int, int], generator: torch.Generator
    ) -> None:
        super().__init__(params, observation, margin=margin, generator=generator)
        self.frame = observation.size
        # a frozen generator is nothing that an optimizer may move, so it is kept out of the module's parameters
        self._network = (_generator_for(params, observation.y.device, observation.y.dtype),)
        self._gaussian = (styles_of(self.network, params.style_samples),)
        count = self.latent_shape[0]
        latent = torch.cat([self._start(observation.start[i : i + 1]) for i in range(count)])
        self.latent = nn.Parameter(latent / params.pace)
        self.fixed = self._draw_noises(observation.y)
        self.places = [place for place in range(len(self.fixed)) if self._is_searched(place)]
        self.searched = nn.ParameterList(self.fixed[place] / params.pace for place in self.places)
        self.radii = [length(parameter.detach()) for parameter in self.parameters()]

    @classmethod
    def check(cls, params: StyleGANParams) -> None:
        """Read the generator, which is kept."""
        _generator_for(params, torch.device("cpu"), torch.float32)

    @classmethod
    def admit(cls, params: StyleGANParams, y: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """The picture aligned, or square and of the generator's size."""
        side = _generator_for(params, torch.device("cpu"), torch.float32).resolution
        if params.align != Path():
            return aligned(y, valid, side, params.align)
        return framed(y, valid, side, params.picture)

    @property
    def network(self) -> Generator:
        """The generator, frozen."""
        return self._network[0]

    @property
    def gaussian(self) -> Gaussian:
        """The distribution of its styles."""
        return self._gaussian[0]

    def styles(self) -> Tensor:
        """The styles (B, n, D)."""
        return self._styled(self.params.pace * self.latent)

    def forward(self) -> Tensor:
        """The generator's picture in the observation's frame, and its border repeated over the margin."""
        return extend(self._shown(self.styles(), self._noises()), self.margin)

    def energy(self, x: Tensor) -> Tensor:
        """GEOCROSS of the styles, times its weight, (B,); the image does not matter."""
        if not self.params.cross or self.params.latent == "w":
            return super().energy(x)
        return self.params.cross * geocross(self.styles())

    def believed(self, observation: Observation) -> Observation:
        """The mask at 0 wherever the blur reaches beyond the frame.

        Raises:
            RunError: If nothing is left.
        """
        rows, columns = self.margin
        inside = torch.zeros_like(observation.mask)
        inside[..., rows : self.frame[0] - rows, columns : self.frame[1] - columns] = 1
        mask = observation.mask * inside
        if not bool(mask.any()):
            kernel, why = f"a kernel of {2 * columns + 1}x{2 * rows + 1} pixels", ""
            if bool(inside.any()):
                why = ", as what it leaves is saturated or missing"
            raise RunError(
                f"{kernel} leaves nothing of a picture of {self.frame[1]}x{self.frame[0]} that the generator could "
                f"explain{why}; use {'another picture, or ' if why else ''}a smaller kernel (--kernel-size) or a "
                "larger picture"
            )
        return Observation(observation.y, mask, observation.saturated * inside, observation.noise)

    @torch.no_grad()
    def project(self) -> None:
        """Bring every style vector and noise map back to the sphere on which it was drawn."""
        if not self.params.sphere:
            return
        for parameter, radius in zip(self.parameters(), self.radii, strict=True):
            parameter.mul_(radius / length(parameter))

    def fit(self, x: Tensor) -> None:
        """Search for the picture on the manifold that is nearest to ``x``: inversion, ``fit_steps`` Adam steps."""
        target = inner(x, self.frame)
        with torch.no_grad():
            latent = torch.cat([self._start(target[i : i + 1]) for i in range(len(target))])
            self.latent.copy_(latent / self.params.pace)
            self.radii[0] = length(self.latent)
        adam = torch.optim.Adam(self.parameters(), lr=self.params.fit_lr)
        for _ in range(self.params.fit_steps):
            adam.zero_grad(set_to_none=True)
            shown = self._shown(self.styles(), self._noises())
            ((shown - target).square().mean((1, 2, 3)) + self.energy(x)).sum().backward()
            adam.step()
            self.project()

    def refine(self, objective: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """Pivotal tuning (Roich et al., 2021): styles and noise stay, the generator's own weights move a little."""
        if not self.params.tune_steps:
            return
        with torch.no_grad():
            pivot = self()
        network = copy.deepcopy(self.network).requires_grad_(True)
        self._network = (network,)
        adam = torch.optim.Adam(network.parameters(), lr=self.params.tune_lr)
        for _ in range(self.params.tune_steps):
            adam.zero_grad(set_to_none=True)
            x = self()
            loss = objective(x) + self.params.tune_stay * (x - pivot).square().mean((1, 2, 3)).sum()
            loss.backward()
            adam.step()
            yield loss.detach()

    def _styled(self, v: Tensor) -> Tensor:
        """Styles (B, n, D) of whitened ones (B, n or 1, D), truncated."""
        w = self.gaussian.style(v).expand(-1, self.network.latents, -1)
        if self.params.truncation == 1.0:
            return w
        layers = torch.arange(w.shape[1], device=w.device).view(1, -1, 1)
        nearer = torch.lerp(self.network.mean_style.expand_as(w), w, self.params.truncation)
        count = self.params.truncated_layers or w.shape[1]
        return torch.where(layers < count, nearer, w)

    def _shown(self, styles: Tensor, noises: list[Tensor]) -> Tensor:
        """The generator's picture in the observation's size and channels, (B, C, H, W), in [0, 1] but for a little."""
        x = (self.network(styles, noises) + 1) / 2
        if self.latent_shape[1] == 1:
            x = x.mean(1, keepdim=True)
        x = resample_image(x, self.frame)
        inside = x.clamp(0.0, 1.0)
        return inside + EXCESS * (x - inside)

    def _noises(self) -> list[Tensor]:
        searched = dict(zip(self.places, self.searched, strict=True))
        return [
            self.params.pace * searched[place] if place in searched else noise for place, noise in enumerate(self.fixed)
        ]

    @torch.no_grad()
    def _start(self, y: Tensor) -> Tensor:
        """The whitened style (1, n or 1, D) whose picture is nearest to ``y`` (1, C, H, W) of some that are drawn."""
        count, rows = self.params.candidates, 1 if self.params.latent == "w" else self.network.latents
        shape = (1, rows, self.network.style) if count == 1 else (count, 1, self.network.style)
        drawn = torch.randn(shape, generator=self.generator, dtype=torch.float32).to(y)
        if count == 1:
            return drawn
        size = tuple(min(side, GLANCE) for side in self.frame)
        glance = resample_image(y, (size[0], size[1]))
        noises = self.network.own_noises()
        errors = [
            (resample_image(self._shown(self._styled(some), noises), (size[0], size[1])) - glance)
            .square()
            .mean((1, 2, 3))
            for some in drawn.split(CHUNK)
        ]
        return drawn[int(torch.cat(errors).argmin())][None].expand(-1, rows, -1).clone()

    def _draw_noises(self, like: Tensor) -> list[Tensor]:
        """The noise maps (B, 1, r, r) as they are at the start."""
        kind = self.params.noise
        maps = []
        for place, (side, own) in enumerate(zip(self.network.noise_sizes, self.network.own_noises(), strict=True)):
            drawn = torch.randn((self.latent_shape[0], 1, side, side), generator=self.generator).to(like)
            if kind == "zero" or place in self.params.zero_noises:
                maps.append(torch.zeros_like(drawn))
            else:
                maps.append(own.expand_as(drawn) if kind == "own" else drawn)
        return maps

    def _is_searched(self, place: int) -> bool:
        """Whether the noise map of that number is searched for."""
        coarse = place < self.params.trainable_noises and place not in self.params.zero_noises
        return self.params.noise == "trainable" and coarse


def geocross(w: Tensor) -> Tensor:
    """How far the styles (B, n, D) of the layers are apart, as angles, (B,) (GEOCROSS of PULSE).

    The mean over all ordered pairs of D times the squared angle, over (n - 2) / 2. What counts as the angle is
    2 atan2(|a - b|, |a + b|), which it is for vectors of one length; of others it sees the lengths too.
    """
    first, second = w[:, :, None], w[:, None]
    apart = ((first - second).square().sum(-1) + 1e-9).sqrt()
    together = ((first + second).square().sum(-1) + 1e-9).sqrt()
    angle = 2 * torch.atan2(apart, together)
    return w.shape[-1] * angle.square().mean((1, 2)) / max((w.shape[1] - 2) / 2, 1.0)


def length(x: Tensor) -> Tensor:
    """Norm of every style vector (B, n, D), or of every noise map (B, 1, r, r); dimensions are kept."""
    dims = (2,) if x.ndim == 3 else (2, 3)
    return (x.square().sum(dims, keepdim=True) + 1e-9).sqrt()


def _generator_for(params: StyleGANParams, device: torch.device, dtype: torch.dtype) -> Generator:
    """The generator that the parameters name, which must have the noise maps that they name."""
    network = generator_on(params.weights, device, dtype)
    count = len(network.noise_sizes)
    if params.zero_noises and max(params.zero_noises) >= count:
        raise UsageError(
            f"image_prior.zero_noises: there is no noise map {max(params.zero_noises)}, as the generator has {count}; "
            f"give numbers from 0 to {count - 1}"
        )
    return network


def generator_on(path: Path, device: torch.device, dtype: torch.dtype) -> Generator:
    """The generator of a file, on a device; kept, as every start asks for it."""
    if path == Path():
        raise UsageError(
            "image_prior.weights: the stylegan prior needs a generator of the picture's domain; name its file with "
            "--image-prior.weights, any StyleGAN or StyleGAN2 checkpoint will do"
        )
    return _moved(path, version_of(path), device, dtype)


@lru_cache(maxsize=2)
def _opened(path: Path, version: tuple[int, int, int]) -> Generator:
    del version  # a file that was written anew is read anew
    return open_generator(path)


@lru_cache(maxsize=2)
def _moved(path: Path, version: tuple[int, int, int], device: torch.device, dtype: torch.dtype) -> Generator:
    network = _opened(path, version)
    if network.mean_style.device == device and network.mean_style.dtype == dtype:
        return network
    return copy.deepcopy(network).to(device, dtype)
