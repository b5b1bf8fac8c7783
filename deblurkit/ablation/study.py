"""What an ablation's file says: what is varied, on which pictures, and what the paper printed.

A study is a TOML file. ``base`` is a recipe or a path; plain sections (``[image_prior]``, ``[run]``, ...) hold for all
variants. Each ``[[variant]]`` has a ``name``, keys that differ, and may have a ``base`` of its own and ``published``
values by name of the score. ``[grid]`` lists values by dotted key; they are crossed with every variant, or, with
``mode = "one-at-a-time"``, tried one by one. ``[reduced]`` is a size that a laptop can run: other ``images``, ``cases``
and ``seeds``, and sections that are laid over the common ones; a variant may have a ``reduced`` table too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deblurkit.config import COMPONENTS, PLAIN, Layer, layers_beside, read_document
from deblurkit.errors import ConfigError
from deblurkit.params import at, suggest

Mode = Literal["crossed", "one-at-a-time"]
Size = Literal["auto", "given"]
MODES = ("crossed", "one-at-a-time")
SIZES = ("auto", "given")
SECTIONS = (*COMPONENTS, *PLAIN)
_TEXTS = ("summary", "reproduces", "cost", "layout", "mode", "size")
_LISTS = ("images", "cases", "seeds")
_TABLES = ("variant", "grid", "reduced")
_TOP = ("base", *_TEXTS, *_LISTS, *_TABLES, *SECTIONS)
_REDUCED = ("images", "cases", "seeds", *SECTIONS)
_VARIANT = ("name", "base", "published", "reduced", *SECTIONS)


@dataclass(frozen=True)
class Variant:
    """One line of the table, before its seeds and pictures.

    Attributes:
        name: Its name.
        point: Values of the grid at this line, by dotted key.
        stack: Configuration layers, lowest first.
        published: Published values by name of the score.
    """

    name: str
    point: Mapping[str, object]
    stack: tuple[Layer, ...]
    published: Mapping[str, float]


@dataclass(frozen=True)
class Study:
    """An ablation, read and checked as far as that goes without the components.

    Attributes:
        file: Where it stands.
        summary: What it is about.
        reproduces: Which published table it is, or nothing.
        cost: What it takes, in words.
        images: Paths and patterns, those of the file relative to its folder.
        layout: Name of the data set's layout, or ``auto``.
        cases: Patterns of names; empty takes all.
        seeds: The seeds.
        size: Whether the kernel size is found, or given by the true kernel.
        variants: The lines.
    """

    file: Path
    summary: str
    reproduces: str
    cost: str
    images: tuple[Path, ...]
    layout: str
    cases: tuple[str, ...]
    seeds: tuple[int, ...]
    size: Size
    variants: tuple[Variant, ...]


def read_study(file: Path, *, reduced: bool = False) -> Study:
    """Read an ablation.

    Args:
        file: The file.
        reduced: Whether its reduced size is meant.

    Raises:
        ConfigError: At the first thing that is wrong with the file itself; what is wrong with the values of one variant
            is told when it is resolved.
    """
    document = read_document(file)
    place = str(file)
    _known(document, _TOP, "", place)
    small = _table(document, "reduced", place) if reduced else {}
    if reduced and not small:
        raise ConfigError(
            f"reduced: the study has no reduced size; add a [reduced] table, or leave --reduced out{at(place)}"
        )
    _known(small, _REDUCED, "reduced.", place)
    lists = {key: small.get(key, document.get(key, [])) for key in _LISTS}
    texts = {key: _text(document, key, place) for key in _TEXTS}
    variants = tuple(
        _variants(document, small, file, mode=_word(texts["mode"] or MODES[0], "mode", MODES, place), reduced=reduced)
    )
    names = [(one.name, tuple(one.point.items())) for one in variants]
    if len(set(map(repr, names))) < len(names):
        raise ConfigError(f"variant: two variants have one name; name them apart{at(place)}")
    return Study(
        file=file,
        summary=texts["summary"],
        reproduces=texts["reproduces"],
        cost=texts["cost"],
        images=tuple(file.parent / one for one in _strings(lists["images"], "images", place)),
        layout=texts["layout"] or "auto",
        cases=tuple(_strings(lists["cases"], "cases", place)),
        seeds=_seeds(lists["seeds"], place),
        size="given" if _word(texts["size"] or SIZES[0], "size", SIZES, place) == "given" else "auto",
        variants=variants,
    )


def _variants(
    document: Mapping[str, Any], small: Mapping[str, Any], file: Path, *, mode: str, reduced: bool
) -> Iterator[Variant]:
    """Yield the lines: every variant at every point of the grid."""
    place = str(file)
    listed = document.get("variant", [])
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise ConfigError(f"variant: must be tables; write [[variant]]{at(place)}")
    grid = _grid(_table(document, "grid", place), place)
    if not listed and not grid:
        raise ConfigError(
            f"variant: there is nothing to compare; add a [[variant]] with a name, or a [grid]{at(place)}"
        )
    common = {key: document[key] for key in SECTIONS if key in document}
    for index, variant in enumerate(listed or [{"name": "base"}]):
        name = variant.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f'variant {index + 1}: has no name; add name = "..."{at(place)}')
        origin = f"{place}, variant {name!r}"
        _known(variant, _VARIANT, "", origin)
        base = variant.get("base", document.get("base", ""))
        stack = layers_beside({"base": base, **common}, file)
        folder = stack[-1].folder
        stack.append(Layer(f"{place}, [reduced]", _sections(small, place), folder))
        stack.append(Layer(origin, _sections(variant, origin), folder))
        if reduced:
            own = _table(variant, "reduced", origin)
            _known(own, SECTIONS, "reduced.", origin)
            stack.append(Layer(f"{origin}, reduced", _sections(own, origin), folder))
        published = _published(_table(variant, "published", origin), origin)
        for point in _points(grid, mode):
            layer = Layer(f"{place}, [grid]", _nested(point), folder)
            yield Variant(name, point, (*stack, layer), published if not point else {})


def _points(grid: Mapping[str, Sequence[object]], mode: str) -> Iterator[dict[str, object]]:
    """Yield the points of a grid: all combinations, or nothing changed and then one value at a time."""
    if mode == MODES[0]:
        for values in itertools.product(*grid.values()):
            yield dict(zip(grid, values, strict=True))
        return
    yield {}
    for key, values in grid.items():
        for value in values:
            yield {key: value}


def _grid(table: Mapping[str, Any], place: str) -> dict[str, list[object]]:
    """Lists of values by dotted key."""
    found: dict[str, list[object]] = {}
    _known(table, SECTIONS, "grid.", place)
    for section, keys in table.items():
        if not isinstance(keys, Mapping):
            raise ConfigError(f"grid.{section}: must be a table; write {section}.KEY = [...]{at(place)}")
        for key, values in keys.items():
            if not isinstance(values, list) or not values:
                raise ConfigError(f"grid.{section}.{key}: must be a list of values to try, not {values!r}{at(place)}")
            found[f"{section}.{key}"] = values
    return found


def _nested(point: Mapping[str, object]) -> dict[str, dict[str, object]]:
    sections: dict[str, dict[str, object]] = {}
    for dotted, value in point.items():
        section, _, key = dotted.partition(".")
        sections.setdefault(section, {})[key] = value
    return sections


def _sections(table: Mapping[str, Any], place: str) -> dict[str, Mapping[str, object]]:
    """The sections among the keys of a table."""
    found = {key: table[key] for key in SECTIONS if key in table}
    for section, keys in found.items():
        if not isinstance(keys, Mapping):
            raise ConfigError(f"{section}: must be a table; write {section}.name = {keys!r}{at(place)}")
    return found


def _published(table: Mapping[str, Any], place: str) -> dict[str, float]:
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"published.{name}: must be a number, not {value!r}{at(place)}")
    return {name: float(value) for name, value in table.items()}


def _known(table: Mapping[str, Any], keys: Sequence[str], prefix: str, place: str) -> None:
    for key in table:
        if key not in keys:
            cure = suggest(key, keys) or f"; there are {', '.join(keys)}"
            raise ConfigError(f"{prefix}{key}: no such key{cure}{at(place)}")


def _table(document: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}: must be a table, not {value!r}{at(place)}")
    return value


def _text(document: Mapping[str, Any], key: str, place: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"{key}: must be text, not {value!r}{at(place)}")
    return value


def _word(value: str, key: str, words: Sequence[str], place: str) -> str:
    if value not in words:
        raise ConfigError(f"{key}: must be {' or '.join(words)}, not {value!r}{suggest(value, words)}{at(place)}")
    return value


def _strings(value: object, key: str, place: str) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) and one for one in values):
        raise ConfigError(f"{key}: must be a text or a list of texts, not {value!r}{at(place)}")
    return values


def _seeds(value: object, place: str) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**32 for one in values):
        raise ConfigError(f"seeds: must be a list of integers from 0 on, not {value!r}{at(place)}")
    return tuple(dict.fromkeys(values)) or (0,)
