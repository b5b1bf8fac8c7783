"""What an ablation's file says: what is varied, on which pictures, and what the paper printed.

A study is a TOML file. ``base`` is a recipe or a path; plain sections (``[image_prior]``, ``[run]``, ...) hold for all
variants. Each ``[[variant]]`` has a ``name``, keys that differ, and may have a ``base`` of its own and ``published``
values by name of the score. ``[grid]`` lists values by dotted key; they are crossed with every variant, or, with
``mode = "one-at-a-time"``, tried one by one. ``[reduced]`` is a size that a laptop can run: other ``images``, ``cases``
and ``seeds``, the names of the ``variants`` that it has, and sections that are laid over the common ones; a variant may
have a ``reduced`` table too.

``task = "deblur"`` is the usual one. ``reblur`` and ``transfer`` judge a kernel space instead, by what it makes of a
pair of a sharp and a blurry picture: on the sharp picture itself, or on that of another pair of the same blur. Pairs
are those of a data set, or made of sharp pictures and kernels as ``[blur]`` says; ``[code]`` says how a blur is found.

``[[published]]`` tables, a ``name`` and ``scores``, are rows of others' results that nothing here is run for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from deblurkit.ablation.document import (
    numbers,
    require_known,
    sections,
    seeds,
    strings,
    table_at,
    text_at,
    word,
)
from deblurkit.cells.code import BlurParams
from deblurkit.config import COMPONENTS, PLAIN, Layer, layers_beside, read_document
from deblurkit.errors import ConfigError
from deblurkit.params import at, parse, suggest

Size = Literal["auto", "given"]
Task = Literal["deblur", "reblur", "transfer"]
MODES = ("crossed", "one-at-a-time")
SIZES = ("auto", "given")
TASKS = ("deblur", "reblur", "transfer")
SECTIONS = (*COMPONENTS, *PLAIN)
CODE = "code"
PARTS = (*SECTIONS, CODE)
"""What may differ from variant to variant."""
_TEXTS = ("summary", "reproduces", "cost", "layout", "mode", "size", "task")
_LISTS = ("images", "cases", "seeds")
_TABLES = ("variant", "published", "grid", "reduced", "blur")
_TOP = ("base", *_TEXTS, *_LISTS, *_TABLES, *PARTS)
_REDUCED = (*_LISTS, "variants", *PARTS)
_VARIANT = ("name", "base", "published", "reduced", *PARTS)


@dataclass(frozen=True)
class Variant:
    """One line of the table, before its seeds and pictures.

    Attributes:
        name: Its name.
        point: Values of the grid at this line, by dotted key.
        stack: Configuration layers, lowest first.
        published: Published values by name of the score.
        code: How the blur of a pair is found, where the task is not to deblur: raw values of `CodeParams`.
    """

    name: str
    point: Mapping[str, object]
    stack: tuple[Layer, ...]
    published: Mapping[str, float]
    code: Mapping[str, object]


@dataclass(frozen=True)
class Published:
    """A row of somebody else's results.

    Attributes:
        name: Its name.
        scores: Published values by name of the score.
    """

    name: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Study:
    """An ablation, read and checked as far as that goes without the components.

    Attributes:
        file: Where it stands.
        summary: What it is about.
        reproduces: Which published table it is, or nothing.
        cost: What it takes, in words.
        task: What is done to every picture.
        images: Paths and patterns, those of the file relative to its folder.
        blur: How pairs are made of sharp pictures; ``None`` where ``images`` is a data set.
        layout: Name of the data set's layout, or ``auto``.
        cases: Patterns of names; empty takes all.
        seeds: The seeds.
        size: Whether the kernel size is found, or given by the true kernel.
        variants: The lines.
        published: Rows of others.
    """

    file: Path
    summary: str
    reproduces: str
    cost: str
    task: Task
    images: tuple[Path, ...]
    blur: BlurParams | None
    layout: str
    cases: tuple[str, ...]
    seeds: tuple[int, ...]
    size: Size
    variants: tuple[Variant, ...]
    published: tuple[Published, ...]


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
    require_known(document, _TOP, "", place)
    small = table_at(document, "reduced", place) if reduced else {}
    if reduced and not small:
        raise ConfigError(
            f"reduced: the study has no reduced size; add a [reduced] table, or leave --reduced out{at(place)}"
        )
    require_known(small, _REDUCED, "reduced.", place)
    lists = {key: small.get(key, document.get(key, [])) for key in _LISTS}
    texts = {key: text_at(document, key, place) for key in _TEXTS}
    mode = word(texts["mode"], "mode", MODES, place)
    task = cast(Task, word(texts["task"], "task", TASKS, place))
    variants = _chosen(tuple(_variants(document, small, file, mode=mode, reduced=reduced)), small, place)
    names = [(one.name, tuple(one.point.items())) for one in variants]
    if len(set(map(repr, names))) < len(names):
        raise ConfigError(f"variant: two variants have one name; name them apart{at(place)}")
    study = Study(
        file=file,
        summary=texts["summary"],
        reproduces=texts["reproduces"],
        cost=texts["cost"],
        task=task,
        images=tuple(file.parent / one for one in strings(lists["images"], "images", place)),
        blur=_blur(document, file),
        layout=texts["layout"] or "auto",
        cases=tuple(strings(lists["cases"], "cases", place)),
        seeds=seeds(lists["seeds"], place),
        size=cast(Size, word(texts["size"], "size", SIZES, place)),
        variants=variants,
        published=tuple(_published(document, place)),
    )
    _check_task(study, place)
    return study


def _check_task(study: Study, place: str) -> None:
    """See that a study has what its task needs, and nothing that it does not look at."""
    if study.task == "deblur":
        for key, there in (("blur", study.blur is not None), (CODE, any(one.code for one in study.variants))):
            if there:
                raise ConfigError(f'{key}: is for task = "reblur" or "transfer"; name the task{at(place)}')
    if study.task == "transfer" and study.blur is None:
        raise ConfigError(
            'blur: task = "transfer" needs pairs of the same blur; add a [blur] table with kernels = "FOLDER"'
            f"{at(place)}"
        )


def _blur(document: Mapping[str, Any], file: Path) -> BlurParams | None:
    """How pairs are made, where the file says so; its kernels are relative to its folder."""
    table = table_at(document, "blur", str(file))
    if not table:
        return None
    params = parse(BlurParams, table, subject="blur", place=str(file))
    if params.kernels == Path():
        raise ConfigError(f"blur.kernels: is missing; name a folder of kernels{at(str(file))}")
    return replace(params, kernels=file.parent / params.kernels)


def _published(document: Mapping[str, Any], place: str) -> Iterator[Published]:
    """Yield the rows of others."""
    for index, table in enumerate(_tables(document, "published", place)):
        require_known(table, ("name", "scores"), f"published {index + 1}: ", place)
        name = text_at(table, "name", place)
        scores = numbers(table_at(table, "scores", place), "scores", f"{place}, published {name!r}")
        if not name.strip() or not scores:
            raise ConfigError(f"published {index + 1}: has no name or no scores; add both{at(place)}")
        yield Published(name, scores)


def _tables(document: Mapping[str, Any], key: str, place: str) -> list[Mapping[str, Any]]:
    """The tables of an array, none where it is missing."""
    listed = document.get(key, [])
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise ConfigError(f"{key}: must be tables; write [[{key}]]{at(place)}")
    return listed


def _chosen(variants: tuple[Variant, ...], small: Mapping[str, Any], place: str) -> tuple[Variant, ...]:
    """The variants that the reduced size has, in the study's order; all where it names none."""
    names = strings(small.get("variants", []), "reduced.variants", place)
    known = [one.name for one in variants]
    for name in names:
        if name not in known:
            cure = suggest(name, known) or f"; there are {', '.join(dict.fromkeys(known))}"
            raise ConfigError(f"reduced.variants: no variant is called {name!r}{cure}{at(place)}")
    return tuple(one for one in variants if one.name in names) if names else variants


def _variants(
    document: Mapping[str, Any], small: Mapping[str, Any], file: Path, *, mode: str, reduced: bool
) -> Iterator[Variant]:
    """Yield the lines: every variant at every point of the grid."""
    place = str(file)
    listed = _tables(document, "variant", place)
    grid = _grid(table_at(document, "grid", place), place)
    if not listed and not grid:
        raise ConfigError(
            f"variant: there is nothing to compare; add a [[variant]] with a name, or a [grid]{at(place)}"
        )
    for index, variant in enumerate(listed or [{"name": "base"}]):
        name = variant.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f'variant {index + 1}: has no name; add name = "..."{at(place)}')
        origin = f"{place}, variant {name!r}"
        require_known(variant, _VARIANT, "", origin)
        own = table_at(variant, "reduced", origin)
        require_known(own, PARTS, "reduced.", origin)
        said = [(document, place), (small, f"{place}, [reduced]"), (variant, origin)]
        said += [(own, f"{origin}, reduced")] if reduced else []
        published = numbers(table_at(variant, "published", origin), "published", origin)
        base = variant.get("base", document.get("base", ""))
        stack = layers_beside({"base": base, **sections(document, SECTIONS, place)}, file)
        folder = stack[-1].folder
        stack += [Layer(where, sections(table, SECTIONS, where), folder) for table, where in said[1:]]
        code = {key: value for table, where in said for key, value in table_at(table, CODE, where).items()}
        for point in _points(grid, mode):
            nested = _nested(point)
            own_code = {**code, **nested.pop(CODE, {})}
            layer = Layer(f"{place}, [grid]", nested, folder)
            yield Variant(name, point, (*stack, layer), published if not point or mode == MODES[0] else {}, own_code)


def _points(grid: Mapping[str, Sequence[object]], mode: str) -> Iterator[dict[str, object]]:
    """Yield the points of a grid: all combinations, or nothing changed and then one value at a time."""
    if mode == MODES[0]:
        for point in itertools.product(*grid.values()):
            yield dict(zip(grid, point, strict=True))
        return
    yield {}
    for key, values in grid.items():
        for value in values:
            yield {key: value}


def _grid(table: Mapping[str, Any], place: str) -> dict[str, list[object]]:
    """Lists of values by dotted key."""
    found: dict[str, list[object]] = {}
    require_known(table, PARTS, "grid.", place)
    for section, keys in table.items():
        if not isinstance(keys, Mapping):
            raise ConfigError(f"grid.{section}: must be a table; write {section}.KEY = [...]{at(place)}")
        for key, values in keys.items():
            if not isinstance(values, list) or not values:
                raise ConfigError(f"grid.{section}.{key}: must be a list of values to try, not {values!r}{at(place)}")
            found[f"{section}.{key}"] = values
    return found


def _nested(point: Mapping[str, object]) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for dotted, value in point.items():
        section, _, key = dotted.partition(".")
        found.setdefault(section, {})[key] = value
    return found
