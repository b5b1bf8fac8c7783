"""From a study to the rows of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from deblurkit.ablation.study import Study, Variant
from deblurkit.cells.cell import run_cell
from deblurkit.cells.references import reference_rows
from deblurkit.cells.row import Row
from deblurkit.config import COMPONENTS, Config, merge
from deblurkit.datasets.case import Case
from deblurkit.errors import ConfigError
from deblurkit.params import text_of
from deblurkit.registry import Registry

NAME = "variant"


def resolve_variants(study: Study, registry: Registry, flags: Mapping[str, Any]) -> list[Config | str]:
    """The configuration of every variant, or the sentence that says why it makes no sense.

    Args:
        study: The study.
        registry: The components there are.
        flags: Values of the section ``run`` that hold for all cells, whatever the study says.

    Raises:
        ConfigError: If all of them are wrong.
        PluginError: If a broken plugin may have provided what is missing.
    """
    found: list[Config | str] = []
    for variant in study.variants:
        try:
            config = merge(variant.stack, registry)
            found.append(replace(config, run=replace(config.run, **flags)))
        except ConfigError as error:
            found.append(str(error))
    if all(isinstance(one, str) for one in found):
        raise ConfigError(str(found[0]))
    return found


def ablation_rows(
    study: Study,
    configs: Sequence[Config | str],
    cases: Sequence[Case],
    registry: Registry,
    *,
    extras: Sequence[str] = (),
) -> list[Row]:
    """All rows: the variants, then the oracle of the first one where true kernels are known, then the blurry pictures.

    A row is told from the others by its name, by the grid, and by the settings that vary among the variants.
    """
    labels = varying(study.variants, configs)
    rows = []
    for variant, config, label in zip(study.variants, configs, labels, strict=True):
        if isinstance(config, str):
            rows.append(Row(label, (), error=config, published=variant.published))
            continue
        seeded = [replace(config, run=replace(config.run, seed=seed)) for seed in study.seeds]
        cells = tuple(
            run_cell(case, one, registry, given_size=study.size == "given", extras=extras)
            for case in cases
            for one in seeded
        )
        rows.append(Row(label, cells, published=variant.published))
    first = next(config for config in configs if isinstance(config, Config))
    return [*rows, *reference_rows(first, cases, registry, NAME, extras=extras)]


def varying(variants: Sequence[Variant], configs: Sequence[Config | str]) -> list[dict[str, str]]:
    """What tells every row from the others: its name, then the settings of which the rows have several values.

    A parameter that only some rows have, because they name another component, counts if those rows differ in it.
    """
    values = [config.values() if isinstance(config, Config) else {} for config in configs]
    keys = list(dict.fromkeys(key for one in values for key in one))
    names = {section: {one.get(f"{section}.name") for one in values if one} for section in COMPONENTS}
    shown = [
        key
        for key in keys
        if len({repr(one[key]) for one in values if key in one}) > 1 and not _follows(key, names, values)
    ]
    point_keys = {key for variant in variants for key in variant.point}
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
