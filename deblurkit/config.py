"""What a run consists of: TOML and JSON in, flags on top, checked and typed, JSON out.

A configuration has one section a component (``image_prior``, ``kernel_prior``, ``data_term``, ``optimizer``,
``final``), each with a ``name`` and that component's parameters, and plain sections such as ``run``. Sources in
ascending precedence: field default < recipe < ``base`` < file < flag. Every value knows where it came from.

A file with ``base = "NAME or PATH"`` stands on that recipe or file; ``base = "none"`` says that it stands alone.
Without ``base`` it stands on the recipe asked for, or on the default one. Naming another component drops what lower
sources said about that section's parameters.
"""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from deblurkit.errors import ConfigError
from deblurkit.params import Parameter, Params, Plain, at, build, fields_of, param, parameter, plain, suggest
from deblurkit.registry import Registry
from deblurkit.specs import Kind, Offer

DEFAULT_RECIPE = "fast"
CUSTOM_RECIPE = "custom"
"""What stands behind priors that the user names and the default recipe does not have: tuned values of its parts would
mean nothing to them."""
FLAG = "flag"
DEFAULT = "default"
AUTO = "auto"
NONE = "none"

COMPONENTS: dict[str, Kind] = {
    "image_prior": "image_prior",
    "kernel_prior": "kernel_prior",
    "data_term": "data_term",
    "optimizer": "optimizer",
    "final": "image_prior",
}
"""The sections that name a component, and its kind."""


@dataclass(frozen=True, kw_only=True)
class RunParams(Params):
    """How a run is carried out, whatever its components."""

    kernel_size: int | Literal["auto"] = param("auto", "Side of the blur kernel in pixels.", min=3, odd=True)
    largest_kernel: int = param(51, "Largest kernel that an automatic size may reach, in pixels.", min=3, odd=True)
    size_recipe: str = param("fast", "Recipe that finds the kernel size, or the start, where the components cannot.")
    start: Literal["own", "blurry", "kernel"] = param(
        "own", "Where gradients start: as the parts do; at the blurry picture; at the kernel that size_recipe finds."
    )
    channels: Literal["all", "luma"] = param("all", "What the kernel is estimated on; all get the same kernel.")
    crop: int = param(640, "Side of the textured crop on which the kernel is estimated; 0 takes all.", min=0)
    scales: int | Literal["auto"] = param(
        "auto",
        "Levels of the pyramid, coarse to fine; auto: by the kernel size with closed forms, else 1.",
        min=1,
        max=20,
    )
    scale_ratio: float = param(2**0.5, "Ratio of the sizes of neighbouring levels.", above=1.0, max=4.0)
    decimation: Literal["average", "stride"] = param(
        "average", "How a coarser level is made: by averaging, or of every n-th pixel, for a whole scale_ratio n."
    )
    starts: int | Literal["auto"] = param(
        "auto", "Starts that are always tried, the best is kept; auto: by noise.", min=1
    )
    restarts: int = param(1, "Further starts, tried while the best is bad or collapsed.", min=0)
    keep: Literal["auto", "last", "best"] = param(
        "auto", "Step of a gradient optimizer that counts: the last, or that of least loss; auto: by the image prior."
    )
    polish: int = param(6, "Rounds of last step and closed-form kernel at the end, where the kernel has one.", min=0)
    time_budget: float = param(0.0, "Seconds after which the best so far is taken; 0 never does.", min=0.0)
    seed: int = param(0, "Seed of all random numbers.", min=0, max=2**32 - 1)
    device: str = param("auto", "auto, cpu, cuda, cuda:N or mps.")
    precision: Literal["float32", "bfloat16"] = param("float32", "Arithmetic of the networks.")
    compile: bool = param(False, "Compile the networks before the first step.")
    threads: int = param(0, "Processor threads; 0 chooses.", min=0)

    def check_together(self) -> None:
        """Every n-th pixel needs a whole n."""
        if self.decimation == "stride" and self.scale_ratio != round(self.scale_ratio):
            raise ValueError(
                f'scale_ratio: decimation = "stride" needs a whole number, such as 2, not {self.scale_ratio}'
            )


PLAIN: dict[str, type[Params]] = {"run": RunParams}
"""The sections without a component, and their parameters."""


@dataclass(frozen=True)
class Layer:
    """What one source says.

    Attributes:
        origin: Its name: ``recipe fast``, ``configs/blind.toml``, ``flag``.
        sections: Raw values by section and key.
        folder: Folder that relative paths among the values are relative to; empty for none.
    """

    origin: str
    sections: Mapping[str, Mapping[str, object]]
    folder: str = ""


@dataclass(frozen=True)
class Part:
    """A component that was chosen: its name and its typed parameters."""

    name: str
    params: Params


@dataclass(frozen=True)
class Config:
    """A complete, checked configuration.

    Attributes:
        image_prior: The image prior.
        kernel_prior: The kernel prior.
        data_term: The data term.
        optimizer: The optimizer; never ``auto``.
        final: The last step: an image prior that restores, or ``none``, or ``auto``.
        run: How the run is carried out.
        origins: Source of every value by dotted key, e.g. ``{"image_prior.name": "recipe fast"}``.
    """

    image_prior: Part
    kernel_prior: Part
    data_term: Part
    optimizer: Part
    final: Part
    run: RunParams
    origins: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `resolve` accepts back as a file and that stand alone."""
        document: dict[str, Any] = {"base": NONE}
        for section in COMPONENTS:
            part: Part = getattr(self, section)
            document[section] = {"name": part.name, **plain(part.params)}
        for section in PLAIN:
            document[section] = plain(getattr(self, section))
        return document

    def values(self) -> dict[str, Plain]:
        """Return all values by dotted key, in the order of the sections."""
        sections = {name: keys for name, keys in self.to_json().items() if isinstance(keys, dict)}
        return {f"{name}.{key}": value for name, keys in sections.items() for key, value in keys.items()}


def resolve(
    flags: Mapping[str, object],
    *,
    registry: Registry,
    recipe: str = "",
    file: Path | str = "",
    default_recipe: str = DEFAULT_RECIPE,
) -> Config:
    """Merge all sources into one checked configuration.

    Args:
        flags: Values by dotted key (``image_prior.name``, ``run.seed``), typed or as typed text.
        registry: The components there are.
        recipe: Name of a recipe; empty for the default one, unless the file has a ``base``.
        file: A TOML or JSON file; empty for none.
        default_recipe: Name of the default one.

    Raises:
        ConfigError: At the first thing that is wrong, in one sentence with its place.
        PluginError: If a component is named that a broken plugin may have provided.
    """
    return merge([*layers(recipe, file, default_recipe, flags), flag_layer(flags)], registry)


def layers(
    recipe: str = "",
    file: Path | str = "",
    default_recipe: str = DEFAULT_RECIPE,
    flags: Mapping[str, object] = MappingProxyType({}),
) -> list[Layer]:
    """Read a recipe and a file with everything that they are based on, lowest precedence first.

    Args:
        recipe: Name of a recipe; empty for the default one, unless the file has a ``base``. Where file or flags name an
            image or kernel prior that the default recipe does not have, the recipe ``custom`` takes its place.
        file: A TOML or JSON file; empty for none.
        default_recipe: Name of the default one.
        flags: Values by dotted key that will stand above; only the names of components matter.

    Raises:
        ConfigError: If one cannot be read or is based on itself.
    """
    from_file, grounded = ([], False) if file in ("", Path()) else _chain(_from_file(Path(file)), ())
    if not recipe and grounded:
        return from_file
    below = _chain(_from_recipe(recipe or default_recipe, ""), ())[0]
    if not recipe and default_recipe == DEFAULT_RECIPE and _other_priors([*from_file, flag_layer(flags)], below):
        below = _chain(_from_recipe(CUSTOM_RECIPE, ""), ())[0]
    return below + from_file


def layers_beside(document: Mapping[str, Any], file: Path, default_recipe: str = DEFAULT_RECIPE) -> list[Layer]:
    """Read what sections that stand in a larger document are based on; lowest precedence first.

    Args:
        document: Sections, and ``base``: a recipe, or the path of a file, relative to this one.
        file: The file that the document stands in.
        default_recipe: What it stands on where it has no ``base``.

    Raises:
        ConfigError: If something cannot be read, or is based on itself, or is no section.
    """
    source = _Source(str(file.resolve()), str(file), os.path.abspath(file.parent), dict(document))
    found, grounded = _chain(source, ())
    return found if grounded else [*_chain(_from_recipe(default_recipe, ""), ())[0], *found]


def _other_priors(above: Sequence[Layer], below: Sequence[Layer]) -> bool:
    """Say whether upper layers name an image or kernel prior that is not the one of the lower layers."""
    usual, asked = (
        {
            section: layer.sections[section]["name"]
            for layer in stack
            for section in ("image_prior", "kernel_prior")
            if "name" in layer.sections.get(section, {})
        }
        for stack in (below, above)
    )
    exists = (recipe_folder() / f"{CUSTOM_RECIPE}.toml").is_file()
    return exists and any(usual.get(section) != name for section, name in asked.items())


def flag_layer(flags: Mapping[str, object], origin: str = FLAG) -> Layer:
    """Return dotted keys and values as the layer above all others.

    Raises:
        ConfigError: If a key has no section.
    """
    sections: dict[str, dict[str, object]] = {}
    for dotted, value in flags.items():
        section, dot, key = dotted.partition(".")
        if not dot:
            raise ConfigError(f"{dotted}: no such key; write SECTION.KEY{at(origin)}")
        sections.setdefault(section, {})[key] = value
    return Layer(origin, _checked_sections(sections, origin))


def chosen(stack: Sequence[Layer], registry: Registry) -> dict[str, str]:
    """Return the component that each section names, the optimizer decided where it is left open.

    Args:
        stack: Layers, lowest precedence first.
        registry: The components there are.

    Raises:
        ConfigError: If a section names none, or one that is not there.
        PluginError: If a broken plugin may have provided it.
    """
    names = {"optimizer": AUTO, "final": AUTO}
    places: dict[str, str] = {}
    for layer in stack:
        for section in COMPONENTS:
            name = layer.sections.get(section, {}).get("name")
            if name is not None:
                if not isinstance(name, str):
                    raise ConfigError(f"{section}.name: must be text, not {name!r}{at(layer.origin)}")
                names[section], places[section] = name, layer.origin
    for section, kind in COMPONENTS.items():
        if section not in names:
            known = ", ".join(registry.names(kind))
            raise ConfigError(f"{section}.name: missing; name one of {known}, or start from a recipe")
        if not _is_open(section, names[section]):
            registry.find(kind, names[section], place=_place(f"{section}.name", places.get(section, "")))
    if names["optimizer"] == AUTO:
        kernel = names["kernel_prior"]
        cls = registry.spec("kernel_prior", kernel).params
        params = _typed("kernel_prior", cls, _surviving("kernel_prior", stack), {}, owner=repr(kernel))
        names["optimizer"] = registry.default_optimizer(names["image_prior"], kernel, kernel_params=params)
    return names


def merge(stack: Sequence[Layer], registry: Registry) -> Config:
    """Merge layers into one checked configuration.

    Args:
        stack: Layers, lowest precedence first.
        registry: The components there are.

    Raises:
        ConfigError: At the first thing that is wrong, in one sentence with its place.
        PluginError: If a component is named that a broken plugin may have provided.
    """
    names = chosen(stack, registry)
    origins: dict[str, str] = {}
    parts: dict[str, Any] = {}
    for section, kind in COMPONENTS.items():
        name = names[section]
        cls = Params if _is_open(section, name) else registry.spec(kind, name).params
        origins[f"{section}.name"] = DEFAULT
        parts[section] = Part(name, _typed(section, cls, _surviving(section, stack), origins, owner=repr(name)))
    for section, cls in PLAIN.items():
        parts[section] = _typed(section, cls, stack, origins)
    config = Config(**parts, origins=origins)
    _check_parts(config, registry)
    return config


def recipes() -> dict[str, str]:
    """Return the summary of every recipe by name.

    Raises:
        ConfigError: If one cannot be read.
    """
    found = sorted(entry.name for entry in recipe_folder().iterdir() if entry.name.endswith(".toml"))
    names = [name.removesuffix(".toml") for name in found]
    return {name: str(_from_recipe(name, "").document.get("summary", "")) for name in names}


def read_document(path: Path) -> dict[str, Any]:
    """Return what stands in a TOML or (by its suffix) JSON file.

    Raises:
        ConfigError: If it cannot be read, or is none.
    """
    return _from_file(path).document


def recipe_folder() -> Traversable:
    """Return the folder of the recipes that come with deblurkit."""
    return files("deblurkit") / "recipes"


def _is_open(section: str, name: str) -> bool:
    """Say whether a section's name is a word that leaves the choice open, or says that there is none."""
    return (section, name) in {("optimizer", AUTO), ("final", AUTO), ("final", NONE)}


def _surviving(section: str, stack: Sequence[Layer]) -> list[Layer]:
    """Return the layers that speak about the component which the section finally names.

    Whatever stood below the layer that named another one is about something else.
    """
    current, first = "", 0
    for index, layer in enumerate(stack):
        name = layer.sections.get(section, {}).get("name", current)
        if name != current:
            current, first = str(name), (index if current else first)
    return list(stack[first:])


def _typed(section: str, cls: type[Any], stack: Sequence[Layer], origins: dict[str, str], *, owner: str = "it") -> Any:
    """Check one section's values against its parameters, highest layer last, and note their origins."""
    values: dict[str, Any] = {}
    origins.update({f"{section}.{one.name}": DEFAULT for one in fields_of(cls)})
    for layer in stack:
        for key, value in layer.sections.get(section, {}).items():
            origins[f"{section}.{key}"] = layer.origin
            if key == "name" and section in COMPONENTS:
                continue
            place = _place(f"{section}.{key}", layer.origin)
            beside = {"name": "name"} if section in COMPONENTS else {}
            one = parameter(cls, key, subject=section, owner=owner, place=place, beside=beside)
            try:
                values[key] = _value(one, value, layer)
            except ValueError as error:
                raise ConfigError(f"{section}.{key}: {error}{at(place)}") from None
    return build(cls, values, subject=section)


def _value(one: Parameter, value: object, layer: Layer) -> object:
    """Check one value; typed text comes from flags only, and paths are relative to the file that names them."""
    checked = one.read(value) if layer.origin == FLAG and isinstance(value, str) else one.check(value)
    if isinstance(checked, Path) and checked != Path():
        # absolute, so that the record of a run can be replayed from another folder
        return Path(os.path.abspath(Path(layer.folder) / checked.expanduser()))
    return checked


def _check_parts(config: Config, registry: Registry) -> None:
    """Check that the parts fit each other, before anything heavy is imported."""
    kernel = config.kernel_prior
    registry.check_fit(config.optimizer.name, config.image_prior.name, kernel.name, kernel_params=kernel.params)
    if _is_open("final", config.final.name):
        return
    place = _place("final.name", config.origins["final.name"])
    if Offer.RESTORE not in registry.spec("image_prior", config.final.name).offers:
        able = [entry.spec.name for entry in registry.entries("image_prior") if Offer.RESTORE in entry.spec.offers]
        cause = f"final.name: image prior {config.final.name!r} does not restore"
        raise ConfigError(f"{cause}; use {', '.join([*able, NONE])} or {AUTO}{at(place)}")
    if Offer.KERNEL not in registry.spec("kernel_prior", kernel.name).narrowed(kernel.params).offers:
        cause = f"final.name: {config.final.name!r} needs a convolution kernel, and kernel prior"
        raise ConfigError(f"{cause} {kernel.name!r} shows none; use {NONE} or {AUTO}{at(place)}")


def _place(dotted: str, origin: str) -> str:
    """Name a source for a message; a flag is named by how it is typed."""
    if origin != FLAG:
        return origin
    section, _, key = dotted.replace("_", "-").partition(".")
    if key == "name":
        return f"--{section}"
    return f"--{key}" if section in PLAIN else f"--{section}.{key}"


@dataclass(frozen=True)
class _Source:
    """A file or recipe that was read; `key` tells it from all others."""

    key: str
    origin: str
    folder: str
    document: dict[str, Any]


def _chain(source: _Source, above: tuple[_Source, ...]) -> tuple[list[Layer], bool]:
    """Return a source's layers, those that it is based on first, and whether it says what it is based on."""
    document = dict(source.document)
    base = document.pop("base", "")
    summary = document.pop("summary", "")
    for key, text in (("base", base), ("summary", summary)):
        if not isinstance(text, str):
            raise ConfigError(f"{key}: must be text, not {text!r}{at(source.origin)}")
    layer = Layer(source.origin, _checked_sections(document, source.origin), source.folder)
    if base in ("", NONE):
        return [layer], base == NONE
    below = _based_on(base, source)
    chain = (*above, source)
    if below.key in {one.key for one in chain}:
        route = " -> ".join(one.origin for one in (*chain, below))
        raise ConfigError(f"base: leads back to itself: {route}{at(source.origin)}")
    return [*_chain(below, chain)[0], layer], True


def _based_on(base: str, source: _Source) -> _Source:
    """Read what a source is based on: a path (with a suffix or a slash) beside it, or a recipe."""
    if source.folder and (Path(base).suffix in (".toml", ".json") or "/" in base or os.sep in base):
        return _from_file(Path(source.origin).parent / Path(base).expanduser(), place=source.origin)
    return _from_recipe(base, source.origin)


def _from_recipe(name: str, place: str) -> _Source:
    folder = recipe_folder()
    known = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    if name not in known:
        cure = suggest(name, known) or (f"; there are {', '.join(known)}" if known else "; there is none")
        raise ConfigError(f"no recipe {name!r}{cure}{at(place)}")
    origin = f"recipe {name}"
    return _Source(origin, origin, "", _parse((folder / f"{name}.toml").read_bytes(), origin, ".toml"))


def _from_file(path: Path, place: str = "") -> _Source:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", "") or str(error)
        recipe = (recipe_folder() / f"{path}.toml").is_file() if len(path.parts) == 1 else False
        cure = f"; {str(path)!r} is a recipe: --recipe {path}" if recipe else ""
        raise ConfigError(f"config {str(path)!r} cannot be read: {cause}{cure}{at(place)}") from None
    folder = os.path.abspath(path.parent)
    return _Source(str(path.resolve()), str(path), folder, _parse(content, str(path), path.suffix.lower()))


def _parse(content: bytes, origin: str, suffix: str) -> dict[str, Any]:
    """Parse TOML, or JSON in a file of that suffix."""
    language = "JSON" if suffix == ".json" else "TOML"
    try:
        text = content.decode("utf-8-sig")
        document = json.loads(text) if language == "JSON" else tomllib.loads(text)
    except UnicodeDecodeError:
        raise ConfigError(f"config {origin!r} is no UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"config {origin!r} is no valid {language}: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"config {origin!r} must be a table of sections, not {type(document).__name__}")
    return document


def _checked_sections(document: Mapping[str, Any], origin: str) -> dict[str, Mapping[str, object]]:
    """Check that a document consists of known sections, each a table."""
    known = [*COMPONENTS, *PLAIN]
    for section, keys in document.items():
        if section not in known:
            raise ConfigError(f"{section}: no such section{_home(section, known)}{at(origin)}")
        if not isinstance(keys, Mapping):
            example = f"{section}.name = {json.dumps(keys, default=str)}" if section in COMPONENTS else f"[{section}]"
            raise ConfigError(f"{section}: must be a table; write {example}{at(origin)}")
    return dict(document)


def _home(section: str, known: Sequence[str]) -> str:
    """Say what was meant by an unknown section; it may be a key that was written without its section."""
    for home, cls in PLAIN.items():
        if section in {one.name for one in fields_of(cls)}:
            return f"; did you mean '{home}.{section}'?"
    return suggest(section, known) or f"; there are {', '.join(known)}"
