"""From a study to the rows of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deblurkit.ablation.study import Study, Variant
from deblurkit.cells.cell import blurry_cell, run_cell
from deblurkit.cells.code import CodeParams
from deblurkit.cells.made import made_cases
from deblurkit.cells.references import has_kernel, last_steps, oracle_name, reference_rows
from deblurkit.cells.row import Row, name_of
from deblurkit.cells.transfer import TransferCase, reblur_cases, transfer_cases, transfer_cell
from deblurkit.config import COMPONENTS, Config, merge
from deblurkit.datasets import find_cases
from deblurkit.datasets.case import Case
from deblurkit.errors import ConfigError, DeblurkitError, PluginError, UsageError
from deblurkit.params import Plain, at, parse, suggest, text_of
from deblurkit.registry import Registry
from deblurkit.scores import Protocol

NAME = "variant"


@dataclass(frozen=True)
class Resolved:
    """A variant that makes sense.

    Attributes:
        config: Its configuration.
        code: How the blur of a pair is found; ``None`` where the task is to deblur.
    """

    config: Config
    code: CodeParams | None = None

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**self.config.to_json(), **({} if self.code is None else {"code": self.code.used()})}

    def values(self) -> dict[str, Plain]:
        """All values by dotted key."""
        code = {} if self.code is None else self.code.used()
        return {**self.config.values(), **{f"code.{key}": value for key, value in code.items()}}


def resolve_variants(study: Study, registry: Registry, flags: Mapping[str, Any]) -> list[Resolved | str]:
    """Every variant, or the sentence that says why it makes no sense.

    Args:
        study: The study.
        registry: The components there are.
        flags: Values of the section ``run`` that hold for all cells, whatever the study says.

    Raises:
        ConfigError: If all of them are wrong.
        PluginError: If a broken plugin may have provided what is missing.
    """
    found: list[Resolved | str] = []
    last: DeblurkitError = ConfigError("")
    for variant in study.variants:
        try:
            config = merge(variant.stack, registry)
            code = None
            if study.task != "deblur":
                code = parse(CodeParams, variant.code, subject="code", place=variant.stack[-2].origin)
            require_free(study, variant)
            found.append(Resolved(replace(config, run=replace(config.run, **flags)), code))
        except (UsageError, PluginError) as error:  # a file that it names may be missing, a plugin broken
            place = at(f"{study.file}, variant {variant.name!r}")
            found.append(str(error) if str(study.file) in str(error) else f"{error}{place}")
            last = error
    if all(isinstance(one, str) for one in found):
        raise last
    return found


def require_free(study: Study, variant: Variant) -> None:
    """Refuse keys of a study that another key of it, or a flag, decides.

    Raises:
        ConfigError: If there is one.
    """
    cures = {"seed": "name them in seeds", "threads": "give them by --threads"}
    if study.size == "given":
        cures["kernel_size"] = 'it is given by the true kernel; leave size = "given" out'
    for layer in variant.stack:
        for key in layer.sections.get("run", {}):
            if key in cures and layer.origin.startswith(str(study.file)):
                raise ConfigError(f"run.{key}: is not chosen here: {cures[key]}{at(layer.origin)}")


def require_sense(study: Study, cases: Sequence[Case], protocol: Protocol) -> None:
    """Check what a study says against its pictures and their scores.

    Raises:
        ConfigError: If a published value is of no score, or a size is to be given and no kernel is known.
    """
    known = [score.name for score in protocol.scores]
    published = [one.published for one in study.variants] + [one.scores for one in study.published]
    for name in dict.fromkeys(name for scores in published for name in scores):
        if name not in known:
            cure = suggest(name, known) or f"; there are {', '.join(known)}"
            raise ConfigError(f"published.{name}: no such score{cure}{at(str(study.file))}")
    if study.task == "deblur" and study.size == "given" and not any(map(has_kernel, cases)):
        raise ConfigError(f"size: no true kernel is known, so none can be given; leave it out{at(str(study.file))}")


def study_cases(study: Study, sources: Sequence[Path]) -> list[Case]:
    """The pictures of a study, or the pairs that its blurs are taken from and given to.

    Args:
        study: The study.
        sources: A data set; sharp pictures where the study makes pairs of them.

    Raises:
        UsageError: If there are none, or something is missing.
    """
    if study.blur is None:
        cases = find_cases(list(sources), study.layout)
        return cases if study.task == "deblur" else [*reblur_cases(cases)]
    made = made_cases(sources, study.blur)
    if study.task == "transfer":
        return [*transfer_cases(made)]
    return [*reblur_cases([case for cases in made.values() for case in cases])]


def ablation_rows(
    study: Study,
    resolved: Sequence[Resolved | str],
    cases: Sequence[Case],
    registry: Registry,
    *,
    extras: Sequence[str] = (),
) -> list[Row]:
    """All rows: the variants, then others' published ones, then what they are measured against.

    That is an oracle for every last step where true kernels are known, and the blurry pictures; where blur is given,
    the sharp pictures as they are. A row is told from the others by its name, by the grid, and by the settings that
    vary among the variants.
    """
    labels = varying(study.variants, [{} if isinstance(one, str) else one.values() for one in resolved])
    rows = []
    for variant, one, label in zip(study.variants, resolved, labels, strict=True):
        if isinstance(one, str):
            rows.append(Row(label, (), error=one, published=variant.published))
        elif study.task == "deblur":
            rows.append(_deblurring(study, variant, one.config, label, cases, registry, extras))
        else:
            rows.append(_transferring(variant, one, label, cases, registry, extras))
    rows += [Row({NAME: one.name}, (), reference=True, published=one.scores) for one in study.published]
    if study.task != "deblur":
        untouched = tuple(blurry_cell(case, extras=extras) for case in cases)
        return [*rows, Row({NAME: "untouched (sharp)"}, untouched, reference=True)]
    configs = {name_of(row): one.config for row, one in zip(rows, resolved, strict=False) if isinstance(one, Resolved)}
    return [*rows, *reference_rows(configs, cases, registry, NAME, extras=extras)]


def oracle_notes(rows: Sequence[Row], resolved: Sequence[Resolved | str], registry: Registry) -> list[str]:
    """How the oracles of a table restore, where it has any."""
    configs = {str(index): one.config for index, one in enumerate(resolved) if isinstance(one, Resolved)}
    return [last_steps(configs, registry)] if any(row.reference and row.oracle for row in rows) else []


def _deblurring(
    study: Study,
    variant: Variant,
    config: Config,
    label: Mapping[str, str],
    cases: Sequence[Case],
    registry: Registry,
    extras: Sequence[str],
) -> Row:
    seeded = [replace(config, run=replace(config.run, seed=seed)) for seed in study.seeds]
    given = study.size == "given"
    cells = (run_cell(case, one, registry, given_size=given, extras=extras) for case in cases for one in seeded)
    return Row(label, tuple(cells), published=variant.published, oracle=oracle_name(config, registry))


def _transferring(
    variant: Variant,
    one: Resolved,
    label: Mapping[str, str],
    cases: Sequence[Case],
    registry: Registry,
    extras: Sequence[str],
) -> Row:
    """The row of a variant that judges a space; nothing is drawn at random, so seeds make no difference."""
    code = one.code or CodeParams()
    try:
        cells = [
            transfer_cell(case, one.config, code, registry, extras=extras)
            for case in cases
            if isinstance(case, TransferCase)
        ]
    except ConfigError as error:
        return Row(label, (), error=str(error), published=variant.published)
    return Row(label, tuple(cells), published=variant.published)


def varying(variants: Sequence[Variant], values: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What tells every row from the others: its name, then the settings of which the rows have several values.

    A parameter that only some rows have, because they name another component, counts if those rows differ in it.

    Args:
        variants: The variants.
        values: All their values by dotted key; none of a variant that makes no sense.
    """
    keys = list(dict.fromkeys(key for one in values for key in one))
    names = {section: {one.get(f"{section}.name") for one in values if one} for section in COMPONENTS}
    shown = [
        key
        for key in keys
        if len({repr(one[key]) for one in values if key in one}) > 1 and not _follows(key, names, values)
    ]
    point_keys = list(dict.fromkeys(key for variant in variants for key in variant.point))
    labels = []
    for variant, one in zip(variants, values, strict=True):
        label = {NAME: variant.name}
        for key in shown:
            if key in one:
                label[key] = _text(one[key])
        label |= {key: _text(variant.point[key]) for key in point_keys if key in variant.point and key not in label}
        labels.append(label)
    return labels


def _follows(key: str, names: Mapping[str, set[Any]], values: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a parameter varies only because rows name different components that have defaults of their own for it."""
    section, _, parameter = key.partition(".")
    if parameter == "name" or len(names.get(section, ())) < 2:
        return False
    by_name: dict[Any, set[str]] = {}
    for one in values:
        if key in one:
            by_name.setdefault(one[f"{section}.name"], set()).add(repr(one[key]))
    return all(len(found) < 2 for found in by_name.values())


def _text(value: Any) -> str:
    return text_of(tuple(value) if isinstance(value, list) else value)
