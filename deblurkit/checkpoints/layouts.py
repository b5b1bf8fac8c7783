"""Weights that others trained, turned into our networks: a table of the layouts that are known.

Whoever adds a layout adds a line to :data:`LAYOUTS`. Some are known only to be told apart from damaged files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import safetensors

from deblurkit.checkpoints.foreign import read_foreign
from deblurkit.checkpoints.found import LAST_STEP, Checkpoint, candidates, check_numbers
from deblurkit.checkpoints.generators import Refusal, convert_basicsr, convert_rosinality
from deblurkit.checkpoints.kernel_spaces import convert_kernel_space
from deblurkit.checkpoints.nvidia import convert_nvidia
from deblurkit.checkpoints.stylegan1 import convert_stylegan1
from deblurkit.checkpoints.tensorflow import convert_tensorflow
from deblurkit.errors import UsageError
from deblurkit.nets.kernel_space.header import KERNEL_SPACE
from deblurkit.nets.kernel_space.space import KernelSpace
from deblurkit.nets.stylegan.generator import Generator
from deblurkit.nets.stylegan.weights import GENERATOR, load_generator

Network: TypeAlias = KernelSpace | Generator
SUFFIXES = (".pt", ".pth", ".safetensors")
LARGEST_HALF = 1 << 28
"""Bytes; larger files are no half of a StyleGAN1."""
NOT_BUILT = "which is built otherwise and cannot be used; name a StyleGAN2 in one of the known layouts, or a StyleGAN1"


@dataclass(frozen=True)
class Layout:
    """One way in which somebody names the weights of a network.

    Attributes:
        name: Whose network it is.
        marks: Patterns of names of which any one gives the layout away.
        convert: Builds the network, with its weights, and says in notes what the file did not hold; raises
            ``ValueError`` with a few words if they don't fit. ``None`` where nothing can be built.
        refusal: Then goes on after the name, and says why.
        prefix: Stands before every name; the tensors without it belong to something else.
    """

    name: str
    marks: tuple[str, ...]
    convert: Callable[[Checkpoint], tuple[Network, list[str]]] | None = None
    refusal: str = NOT_BUILT
    prefix: str = ""


@dataclass(frozen=True)
class Imported:
    """A converted network.

    Attributes:
        network: With its weights, on the CPU, in float32, frozen.
        layout: Name of the layout that was recognised.
        card: Where the weights come from, for the file's header: source, sha256, layout, licence.
        notes: What a user should know of it: what the file did not hold, and stands here all the same.
    """

    network: Network
    layout: str
    card: dict[str, str]
    notes: list[str] = field(default_factory=list)


def import_network(path: Path, mapping: Path | None = None) -> Imported:
    """Read the weights of a network that somebody else's program wrote; nothing in the file is run.

    Args:
        path: A file of PyTorch, safetensors, or NVIDIA's pickles; for a StyleGAN1 the synthesis half, or a folder that
            holds both halves.
        mapping: The mapping half of a StyleGAN1, where it is not beside the other one.

    Raises:
        UsageError: If a file cannot be read, is of no known layout, or its weights don't fit.
    """
    if path.is_dir():
        path, mapping = _pair(path, mapping)
    document = read_foreign(path)
    layout, found = _recognise(path, document)
    if layout is SYNTHESIS:
        return _import_pair(path, found, mapping or _beside(path))
    if mapping is not None:
        raise UsageError(
            f"{mapping}: a mapping network is named only beside the synthesis half of a StyleGAN1, and {path} holds "
            f"a {layout.name}"
        )
    if layout.convert is None:
        raise UsageError(f"{path}: holds a {layout.name}, {layout.refusal}")
    network, notes = _convert(path, layout, found)
    if found.part in LAST_STEP and isinstance(network, Generator):
        notes = [*notes, f"the file holds no averaged weights: those of the last step ({found.part}) were taken"]
    return Imported(network, layout.name, _card([path], layout), notes)


def open_generator(path: Path) -> Generator:
    """A generator of pictures from a file of deblurkit's, or from anything that :func:`import_network` takes.

    Raises:
        UsageError: If the file cannot be read, or is no generator.
    """
    kind = _own_format(path)
    if kind == GENERATOR.format:
        return load_generator(path)
    layout, network = "kernel space of deblurkit", None
    if kind != KERNEL_SPACE.format:
        imported = import_network(path)
        layout, network = imported.layout, imported.network
    if not isinstance(network, Generator):
        raise UsageError(f"{path}: holds a {layout}: a kernel prior, where a generator of pictures is wanted")
    return network


def _own_format(path: Path) -> str:
    """What a file of deblurkit's says it is; empty for any other file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get("format", ""))
    except (OSError, safetensors.SafetensorError):
        return ""


def _convert(path: Path, layout: Layout, found: Checkpoint) -> tuple[Network, list[str]]:
    assert layout.convert is not None
    try:
        check_numbers(found.weights, path.stat().st_size)
        return layout.convert(found)
    except Refusal as error:
        raise UsageError(f"{path}: {_shown(str(error))}") from error
    except (ValueError, RuntimeError) as error:  # the latter where shapes multiply to more than any memory
        raise UsageError(f"{path}: is no whole {layout.name} ({_shown(str(error))}); get the file anew") from error


def _recognise(path: Path, document: Any) -> tuple[Layout, Checkpoint]:
    """Find the weights in what a file holds, and the layout that they have."""
    tables = list(candidates(document))
    if not tables:
        raise UsageError(f"{path}: holds a {type(document).__name__} instead of named weights; name another file")
    for layout in LAYOUTS:
        mark = re.compile("|".join(f"(?:{re.escape(layout.prefix)}{pattern})" for pattern in layout.marks))
        for found in tables:
            if any(mark.fullmatch(name) for name in found.weights):
                return layout, _without(layout.prefix, found)
    names = _shown(", ".join(list(tables[0].weights)[:3])) or "nothing"
    more = ", ..." if len(tables[0].weights) > 3 else ""
    known = ", ".join(layout.name for layout in LAYOUTS if layout.convert is not None)
    raise UsageError(f"{path}: its weights have no known layout (it holds {names}{more}); known are: {known}")


def _shown(text: str, longest: int = 300) -> str:
    """What a file calls its tensors, on one line that no terminal takes for a command."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:longest])


def _without(prefix: str, found: Checkpoint) -> Checkpoint:
    if not prefix:
        return found
    weights = {name.removeprefix(prefix): value for name, value in found.weights.items() if name.startswith(prefix)}
    return Checkpoint(weights, found.mean)


def _import_pair(path: Path, synthesis: Checkpoint, mapping: Path) -> Imported:
    """A StyleGAN1 from its two halves."""
    layout, mapped = _recognise(mapping, read_foreign(mapping))
    if layout is not MAPPING:
        raise UsageError(
            f"{mapping}: holds a {layout.name}, and not the mapping half of a StyleGAN1 (dense0.weight, ...)"
        )

    def convert(found: Checkpoint) -> tuple[Generator, list[str]]:
        check_numbers(mapped.weights, mapping.stat().st_size)
        return convert_stylegan1(found.weights, mapped.weights)

    whole = Layout("StyleGAN1 (lernapparat, PULSE)", (), convert)
    network, notes = _convert(path, whole, synthesis)
    return Imported(network, whole.name, _card([path, mapping], whole), notes)


def _pair(folder: Path, mapping: Path | None) -> tuple[Path, Path]:
    """The two halves of a StyleGAN1 in a folder, told by what they hold."""
    synthesis = _halves(folder, SYNTHESIS)
    mappings = [mapping] if mapping is not None else _halves(folder, MAPPING)
    if len(synthesis) != 1 or len(mappings) != 1:
        raise UsageError(
            f"{folder}: is a folder with {len(synthesis)} synthesis and {len(mappings)} mapping halves of a StyleGAN1, "
            "where one of each is wanted; name a weights file in it"
        )
    return synthesis[0], mappings[0]


def _beside(path: Path) -> Path:
    """The mapping half in the folder of a synthesis half."""
    mappings = _halves(path.parent, MAPPING)
    if len(mappings) != 1:
        raise UsageError(
            f"{path}: is the synthesis half of a StyleGAN1, and {len(mappings)} mapping halves lie beside it; name the "
            "file of the mapping network too"
        )
    return mappings[0]


def _halves(folder: Path, half: Layout) -> list[Path]:
    """Those files of a folder that are of the layout; what cannot be read is none."""
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be listed ({error.strerror or error}); name a weights file") from error
    members = []
    for file in files:
        try:
            if file.stat().st_size <= LARGEST_HALF and _recognise(file, read_foreign(file))[0] is half:
                members.append(file)
        except (OSError, UsageError):
            continue
    return members


def _card(paths: list[Path], layout: Layout) -> dict[str, str]:
    digests = []
    for path in paths:
        with open(path, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return {
        "source": ", ".join(path.name for path in paths),
        "sha256": ", ".join(digests),
        "layout": layout.name,
        "licence": "not stated in the source",
    }


SYNTHESIS = Layout(
    "StyleGAN1 synthesis network (lernapparat, PULSE)", (r"blocks\.4x4\.const", r"torgb\.weight"), refusal=""
)
MAPPING = Layout(
    "StyleGAN1 mapping network (lernapparat, PULSE)",
    (r"dense0\.weight",),
    refusal="which is half of a generator; name the file of the synthesis network, and keep this one beside it",
)
LAYOUTS = (
    Layout(
        "kernel space of Tran et al. (CVPR 2021)",
        (
            r"feature_extractor\.0\.weight",
            r"kernel_extractor\.model\.1\.weight",
            r"adapter\.model\.down\.0\.weight",
            r"recon_trunk\.0\.conv1\.weight",
        ),
        lambda found: convert_kernel_space(found.weights),
    ),
    Layout(
        "StyleGAN2 (rosinality)",
        (r"input\.input", r"conv1\.conv\.weight", r"to_rgb1\.conv\.weight"),
        convert_rosinality,
    ),
    Layout(
        "StyleGAN2 decoder of pSp, e4e or ReStyle",
        (r"input\.input", r"conv1\.conv\.weight", r"to_rgb1\.conv\.weight"),
        convert_rosinality,
        prefix="decoder.",
    ),
    Layout(
        "lone encoder (pSp, e4e)",
        (r"(encoder\.)?input_layer\.0\.weight",),
        refusal="which draws no pictures; name the file of the generator",
    ),
    Layout("restoration network (GFPGAN)", (r"stylegan_decoder\..*",)),
    Layout("StyleGAN2 with bilinear resampling (GFPGAN's clean variant)", (r"style_conv1\.bias",)),
    Layout("StyleGAN2 (BasicSR)", (r"style_mlp\.1\.weight", r"constant_input\.weight"), convert_basicsr),
    Layout("StyleGAN3 (NVIDIA)", (r"synthesis\.input\.(freqs|weight)",)),
    Layout(
        "StyleGAN2 (NVIDIA, PyTorch)",
        (r"mapping\.fc0\.weight", r"synthesis\.b4\.(const|conv1\.weight)"),
        convert_nvidia,
    ),
    Layout(
        "StyleGAN2 (NVIDIA, TensorFlow)",
        (r"mapping/Dense0/weight", r"synthesis/4x4/Const/const", "dlatent_avg"),
        convert_tensorflow,
    ),
    Layout(
        "StyleGAN1 (lernapparat)",
        (r"g_synthesis\.blocks\.4x4\.const",),
        lambda found: convert_stylegan1(found.weights, found.weights),
    ),
    SYNTHESIS,
    MAPPING,
    Layout("StyleGAN1 (rosinality)", (r"generator\.progression\..*",)),
    Layout("StyleGAN2 (lucidrains)", (r"(S|G|SE|GE)\.(net|blocks)\.\d+\..*",)),
    Layout(
        "discriminator",
        (r"final_linear\.0\.weight", r"b4\.(fc|out|conv)\.weight", r"4x4/Dense0/weight"),
        refusal="which judges pictures and draws none; name the file of the generator",
    ),
)
"""Every layout that is told apart; the first one that fits counts."""
