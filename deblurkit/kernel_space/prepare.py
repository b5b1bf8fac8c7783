"""From settings and names of files to the space and the examples that training starts with."""

from __future__ import annotations

import hashlib
import importlib
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TypeVar

import torch

from deblurkit.errors import UsageError
from deblurkit.kernel_space.datasets import BlurData, Data, Exposure, PairData, TextureStore, Warn
from deblurkit.kernel_space.draws import generator
from deblurkit.kernel_space.headers import Facts, check_pairs, check_pictures
from deblurkit.kernel_space.kernel_sources import PERIOD, POOL, KernelSource, centred, find_kernels
from deblurkit.kernel_space.pairs import NoPairsError, Pair, find_pairs, find_sharp
from deblurkit.kernel_space.settings import TEXTURES, TRAJECTORIES, Sources, TrainParams
from deblurkit.nets.kernel_space import weights
from deblurkit.nets.kernel_space.space import ConvolutionalSpace, KernelSpace
from deblurkit.nets.kernel_space.weights import build_space, load_space
from deblurkit.nets.seeding import seeded
from deblurkit.params import fields_of

WINDOW = 27
"""Side of random trajectories where the space has no kernels of its own."""
GIGABYTE = 1e9
_ARGUMENTS = {
    "window": ("window",),
    "dimensions": ("dimensions", "code"),
    "features": ("features", "hidden"),
    "stages": ("stages",),
    "response": ("response",),
    "channels": ("channels",),
    "vae": ("vae",),
}
"""Names that a structure's arguments may have, by the setting's."""
T = TypeVar("T")


@dataclass(frozen=True)
class Material:
    """What a training works on.

    Attributes:
        training: Examples to learn from; None where there are only kernels.
        validation: Examples that are held out, if any.
        kernels: Kernels for the steps on kernels alone.
        description: In words, for the card of the space.
        fingerprint: By which the same data is recognised.
        content: How much there is, in words.
    """

    training: Data | None
    validation: Data | None
    kernels: KernelSource
    description: str
    fingerprint: str
    content: str


def new_space(params: TrainParams) -> KernelSpace:
    """Build the space that is asked for, its weights drawn by the seed or taken from a file.

    Raises:
        UsageError: There is no such preset, it has no such setting, or the file cannot be read.
    """
    if params.preset not in weights.PRESETS:
        raise UsageError(
            f"{params.preset}: no such kernel space preset; there are {', '.join(sorted(weights.PRESETS))}"
        )
    module, _, name = weights.PRESETS[params.preset].partition(":")
    accepted = signature(getattr(importlib.import_module(module), name)).parameters
    default = {one.name: one.default for one in fields_of(TrainParams)}
    config: dict[str, int | float | bool] = {}
    for setting, arguments in _ARGUMENTS.items():
        value = getattr(params, setting)
        if value == default[setting]:
            continue
        argument = next((one for one in arguments if one in accepted), "")
        if not argument:
            raise UsageError(f"{setting}: the preset {params.preset!r} has no such setting; leave it out.")
        config[argument] = value
    try:
        with seeded(generator(params.seed, "weights", 0)):
            space = build_space(params.preset, config)
    except ValueError as error:
        raise UsageError(f"preset {params.preset!r}: {error}") from error
    if params.init != Path():
        _start_from(space, params.init)
    return space


def fit_basis(space: KernelSpace, kernels: KernelSource, params: TrainParams) -> None:
    """Start a space that has a basis of kernels from the principal components of some, unless it has weights."""
    if not hasattr(space, "fit_basis") or not params.basis_kernels or params.init != Path():
        return
    assert isinstance(space, ConvolutionalSpace)
    parts = [
        kernels.take(params.seed, "basis", range(start // POOL * PERIOD, start // POOL * PERIOD + POOL))
        for start in range(0, params.basis_kernels, POOL)  # different ones, not one in all its orientations
    ]
    space.fit_basis(centred(torch.cat(parts)[: params.basis_kernels], space.window))  # type: ignore[operator]


def _start_from(space: KernelSpace, path: Path) -> None:
    """Take over the weights of another space as far as their names and shapes fit."""
    others = load_space(path).state_dict()
    own = space.state_dict()
    fitting = {name: tensor for name, tensor in others.items() if name in own and own[name].shape == tensor.shape}
    if not fitting:
        raise UsageError(f"{path}: has no weights that fit this structure; start without --init.")
    space.load_state_dict(fitting, strict=False)


def find_material(sources: Sources, params: TrainParams, space: KernelSpace, warn: Warn) -> Material:
    """Find and check all pictures and kernels; decodes none of the pictures.

    Raises:
        UsageError: Something is missing, does not fit, or contradicts itself.
        ImageError: A picture's header is damaged.
        KernelError: A file is no kernel.
    """
    if sources.pairs and sources.sharp:
        raise UsageError("Pairs and sharp pictures are both named; train on pairs, or blur sharp pictures by --sharp.")
    if params.iterations and not (sources.pairs or sources.sharp):
        raise UsageError(
            "No pictures are named; give folders of pairs, or --sharp with a folder of sharp pictures or textures."
        )
    own = space.window if isinstance(space, ConvolutionalSpace) else 0
    size = params.kernel_window if params.kernel_window != "auto" else own or WINDOW
    assert isinstance(size, int)
    kernels = find_kernels(sources.kernels or (Path(TRAJECTORIES),), window=size, shift=params.shift)
    if own and kernels.window > own:
        raise UsageError(
            f"kernels: have a side of {kernels.window} pixels and the space only {own}; set --window {kernels.window}."
        )
    limit = params.cache * GIGABYTE
    training: Data | None
    if sources.sharp:
        training, validation = _from_sharp(sources, params, kernels, limit, warn)
    else:
        training, validation = _from_pairs(sources, params, limit, warn)
    if sources.validation:
        validation = _pair_data(_checked_pairs(sources.validation, params), params, limit / 4, warn, flips=False)
    names = [*(training.names if training else ()), "", *(validation.names if validation else ()), "", *kernels.names]
    digest = hashlib.blake2b("\n".join(names).encode(), digest_size=12).hexdigest()
    parts = [(training, "to train on"), (validation, "held out")]
    counts = [f"{data.content} {purpose}" for data, purpose in parts if data is not None]
    content = ", ".join([*counts, f"kernels from {_sources(kernels)}"])
    return Material(training, validation, kernels, _describe(sources, training), digest, content)


def _from_pairs(sources: Sources, params: TrainParams, limit: float, warn: Warn) -> tuple[Data | None, Data | None]:
    if not sources.pairs:
        return None, None
    try:
        found = _checked_pairs(sources.pairs, params)
    except NoPairsError as error:
        raise UsageError(
            f"{str(error).rstrip('.')}; if its pictures are sharp ones, have them blurred on the fly by "
            f"--sharp {shlex.quote(str(error.source))} --kernels {TRAJECTORIES}."
        ) from error
    kept, held = _hold_out(found, 0.0 if sources.validation else params.validation_share)
    validation = _pair_data(held, params, limit / 4, warn, flips=False) if any(held) else None
    return _pair_data(kept, params, limit, warn, flips=params.flips), validation


def _checked_pairs(sources: Sequence[Path], params: TrainParams) -> list[list[Pair]]:
    """The pairs of each source, all of which fit."""
    found = [find_pairs([source]) for source in sources]
    pairs = _flat(found)
    _check_sizes([pair.sharp for pair in pairs], check_pairs(pairs, grey=params.grey), params.crop, params.crop)
    return found


def _pair_data(found: Sequence[Sequence[Pair]], params: TrainParams, limit: float, warn: Warn, *, flips: bool) -> Data:
    return PairData(_flat(found), crop=params.crop, flips=flips, limit=limit, grey=params.grey, warn=warn)


def _from_sharp(
    sources: Sources, params: TrainParams, kernels: KernelSource, limit: float, warn: Warn
) -> tuple[Data, Data | None]:
    share = 0.0 if sources.validation else params.validation_share
    synthetic = [name for name in sources.sharp if str(name) == TEXTURES and not name.exists()]
    found = [find_sharp([name]) for name in sources.sharp if name not in synthetic]
    textures = [[(params.seed, number, params.texture_side) for number in range(params.textures)]] if synthetic else []
    facts = check_pictures([path for paths in found for path in paths], grey=params.grey)
    if found and synthetic and facts.channels == 1 and not params.grey:
        raise UsageError("The sharp pictures are grey and the textures coloured; train on grey (--grey).")
    side = params.crop + kernels.window - 1
    _check_sizes([path for paths in found for path in paths], facts, side, params.crop)
    if synthetic and params.texture_side < side:
        raise UsageError(f"texture_side: crop and kernel need {side} pixels; set --texture-side {side}.")
    exposure = Exposure(params.gamma_share, params.saturated_share, params.gain, params.noise)
    parts: list[Data | None] = []
    for paths, painted, room, flips in zip(
        _hold_out(found, share), _hold_out(textures, share), (limit, limit / 4), (params.flips, False), strict=True
    ):
        store = TextureStore(_flat(paths), _flat(painted), limit=room, grey=params.grey, warn=warn)
        parts.append(BlurData(store, kernels, exposure, crop=params.crop, flips=flips) if len(store) else None)
    assert parts[0] is not None
    return parts[0], parts[1]


def _hold_out(found: Sequence[Sequence[T]], share: float) -> tuple[list[Sequence[T]], list[Sequence[T]]]:
    """Split the end of every source off: neighbours in a film are too much alike to be split at random."""
    counts = [math.ceil(share * len(one)) if len(one) > 1 else 0 for one in found]
    cuts = [len(one) - count for one, count in zip(found, counts, strict=True)]
    return (
        [one[:cut] for one, cut in zip(found, cuts, strict=True)],
        [one[cut:] for one, cut in zip(found, cuts, strict=True)],
    )


def _flat(found: Sequence[Sequence[T]]) -> list[T]:
    return [item for one in found for item in one]


def _check_sizes(paths: Sequence[Path], facts: Facts, side: int, crop: int) -> None:
    """Refuse pictures that no example can be cut out of."""
    for path, (height, width) in zip(paths, facts.sizes, strict=True):
        if min(height, width) < side:
            why = f"a crop of {crop} pixels" if side == crop else f"a crop of {crop} pixels and the kernel around it"
            raise UsageError(
                f"{path}: is {width} x {height} pixels, and {why} {'needs' if side == crop else 'need'} {side}; set "
                "a smaller --crop, or leave it out."
            )


def _sources(kernels: KernelSource) -> str:
    """What kernels come from, by name where it is one thing."""
    return kernels.names[0] if len(kernels.names) == 1 else f"{len(kernels.names)} sources"


def _describe(sources: Sources, training: Data | None) -> str:
    """The data in words."""
    words = [
        f"{name}: {', '.join(Path(text).name or text for text in texts)}" for name, texts in sources.named().items()
    ]
    return "; ".join([*words, training.content] if training else words) or TRAJECTORIES
