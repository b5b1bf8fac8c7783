"""Random kernels of camera shake, for training and for synthesis: any number of them in one go."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

CONTROLS = 96
"""Steps of a walk."""
SAMPLES = 4
"""Points drawn per step, so that a fast walk leaves no gaps."""


def random_kernels(count: int, window: int, *, generator: torch.Generator, shift: float = 3.0) -> Tensor:
    """Draw camera-shake kernels: walks with inertia, of all sizes from a point to the whole window.

    The model is in the spirit of Boracchi and Foi (Modeling the performance of image restoration from motion blur,
    2012): a point with inertia is pushed about at random and now and then jerked back. Here the extent of the walk is
    drawn first (so that short and long ones are equally well covered), some walks are straight, the light varies along
    the walk, a few do not move at all, and the trace has a thickness between that of a sharp point and a slight
    defocus. A part of the kernels is speckled, as measured kernels are.

    Args:
        count: How many.
        window: Side of the kernels in pixels, odd.
        generator: All randomness comes from here, a CPU generator.
        shift: How far the centre of mass may lie from the window's centre along each axis, in pixels; a walk
            that would leave the window is pushed back as a whole, and its centre with it.

    Returns:
        (count, 1, window, window), >= 0, sum 1, float32 on the CPU.

    Raises:
        ValueError: If the window is even or smaller than 3, or the shift does not fit into it.
    """
    if window % 2 == 0 or window < 3:
        raise ValueError(f"window: must be odd and at least 3, got {window}")
    radius = window // 2
    if not 0 <= shift <= radius:
        raise ValueError(f"shift: must lie between 0 and half the window, {radius}, got {shift}")
    path = _extend(_walks(count, generator), radius, generator)
    path = functional.interpolate(path.mT, CONTROLS * SAMPLES, mode="linear", align_corners=True).mT
    light = _light(count, generator)
    centre = (path * light.unsqueeze(2)).sum(1, keepdim=True) / light.sum(1).view(-1, 1, 1)
    path = path - centre + (2 * _uniform(generator, count, 1, 2) - 1) * shift
    still = _uniform(generator, count, 1, 1) < 0.03
    path = torch.where(still, path.mean(1, keepdim=True).round(), _keep_inside(path, radius - 0.5))
    kernels = _draw(path, light, _thickness(count, generator), window)
    kernels = kernels * _speckle(count, window, generator)
    return (kernels / kernels.sum((-2, -1), keepdim=True)).unsqueeze(1)


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator)


def _walks(count: int, generator: torch.Generator) -> Tensor:
    """Paths (count, CONTROLS, 2) of any size: inertia between that of Brownian motion and a straight line."""
    inertia = 1 - 0.5 * 10 ** (-2.5 * _uniform(generator, count, 1))
    push = torch.randn(CONTROLS, count, 2, generator=generator) * (1 - inertia.square()).sqrt()
    jerky = _uniform(generator, count, 1) < 0.4
    jerks = (_uniform(generator, CONTROLS, count, 1) < 2.0 / CONTROLS) & jerky
    kicks = 1.5 * torch.randn(CONTROLS, count, 2, generator=generator)
    pull = 0.01 * _uniform(generator, count, 1) * (_uniform(generator, count, 1) < 0.5)
    velocity = torch.randn(count, 2, generator=generator)
    place = torch.zeros(count, 2)
    places = []
    for step in range(CONTROLS):
        velocity = inertia * velocity + push[step] - pull * place
        velocity = torch.where(jerks[step], kicks[step] - velocity, velocity)
        place = place + velocity
        places.append(place)
    walks = torch.stack(places, 1)
    straight = _uniform(generator, count, 1, 1) < 0.1
    angle = 2 * torch.pi * _uniform(generator, count, 1, 1)
    line = torch.cat([angle.cos(), angle.sin()], -1) * torch.linspace(-1, 1, CONTROLS).view(1, -1, 1)
    return torch.where(straight, line, walks)


def _extend(walks: Tensor, radius: int, generator: torch.Generator) -> Tensor:
    """Give every walk a random extent: half of its longer side between almost nothing and the window's radius."""
    low, high = walks.amin(1, keepdim=True), walks.amax(1, keepdim=True)
    half = (high - low).amax(-1, keepdim=True).clamp_min(1e-6) / 2
    drawn = _uniform(generator, len(walks), 1, 1)
    size = 0.05 + (radius - 1.0) * drawn**1.3
    return (walks - (low + high) / 2) * (size / half)


def _keep_inside(path: Tensor, limit: float) -> Tensor:
    """Push walks that leave [-limit, limit] back as a whole."""
    over = (path.amax(1, keepdim=True) - limit).clamp_min(0)
    under = (-limit - path.amin(1, keepdim=True)).clamp_min(0)
    return (path - over + under).clamp(-limit, limit)


def _light(count: int, generator: torch.Generator) -> Tensor:
    """Light (count, CONTROLS * SAMPLES) along the walks: constant, or slowly varying by up to some factor of e."""
    waves = torch.randn(count, 1, 12, generator=generator)
    slow = functional.interpolate(waves, CONTROLS * SAMPLES, mode="linear", align_corners=True)
    return (0.6 * _uniform(generator, count, 1) * slow[:, 0]).exp()


def _thickness(count: int, generator: torch.Generator) -> Tensor:
    """Standard deviation (count, 1, 1) of the trace in pixels: mostly sharp, sometimes defocused."""
    sharp = 0.25 + 0.6 * _uniform(generator, count, 1, 1)
    soft = 0.6 + 2.0 * _uniform(generator, count, 1, 1).square()
    return torch.where(_uniform(generator, count, 1, 1) < 0.85, sharp, soft)


def _draw(path: Tensor, light: Tensor, sigma: Tensor, window: int) -> Tensor:
    """Sum of one Gaussian spot a point, (N, window, window); each spot's weights on the pixels sum to its light."""
    pixels = torch.arange(window, dtype=path.dtype) - window // 2
    columns = torch.softmax(-0.5 * ((pixels - path[..., 0:1]) / sigma).square(), -1)
    rows = torch.softmax(-0.5 * ((pixels - path[..., 1:2]) / sigma).square(), -1)
    return (rows * light.unsqueeze(-1)).mT @ columns


def _speckle(count: int, window: int, generator: torch.Generator) -> Tensor:
    """Log-normal factors (count, window, window) for a third of the kernels, 1 for the others."""
    strength = 0.6 * _uniform(generator, count, 1, 1) * (_uniform(generator, count, 1, 1) < 0.33)
    return (strength * torch.randn(count, window, window, generator=generator)).exp()
