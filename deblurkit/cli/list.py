"""``deblurkit list``: what there is to choose from, and the parameters of each."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from deblurkit import config
from deblurkit.cli import console
from deblurkit.params import Parameter, fields_of, plain_value
from deblurkit.registry import KINDS, Entry, registry
from deblurkit.specs import ComponentSpec, OptimizerSpec

RECIPES = "recipes"


def plural(kind: str) -> str:
    """Return a kind as one types it: ``image-priors`` for ``image_prior``."""
    return f"{kind.replace('_', '-')}s"


class WhatType(click.ParamType):
    """Reads a kind, or the name of a component or recipe."""

    name = "what"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Complete kinds and names."""
        return [CompletionItem(word) for word in _known() if word.startswith(incomplete)]


@click.command("list")
@click.argument("what", type=WhatType(), default="", metavar="[KIND|NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(what: str, as_json: bool) -> None:
    """List components and recipes, or the parameters of one.

    KIND is image-priors, kernel-priors, data-terms, optimizers, executors or recipes. A NAME that several kinds have is
    shown for each of them.
    """
    kinds = [kind for kind in KINDS if what in ("", plural(kind))]
    entries = [entry for kind in kinds for entry in registry().entries(kind)]
    recipes = config.recipes() if what in ("", RECIPES) else {}
    detailed = not kinds and what != RECIPES
    if detailed:
        entries = [entry for kind in KINDS for entry in registry().entries(kind) if entry.spec.name == what]
        recipes = {name: text for name, text in config.recipes().items() if name == what}
        if not entries and not recipes:
            raise registry().missing("kind, component or recipe", what, _known(), KINDS)
    if as_json:
        console.document(_document(entries, recipes))
    elif detailed:
        console.result("\n\n".join([*map(_details, entries), *map(_recipe_details, recipes)]))
    else:
        console.result(_tables(entries, recipes))


def _known() -> list[str]:
    """Return every word that `list` understands, each once."""
    kinds = [*map(plural, KINDS), RECIPES]
    return list(
        dict.fromkeys([*kinds, *(name for kind in KINDS for name in registry().names(kind)), *config.recipes()])
    )


def _document(entries: Iterable[Entry], recipes: dict[str, str]) -> dict[str, Any]:
    """Return components by plural of their kind, and recipes."""
    found: dict[str, Any] = {}
    for entry in entries:
        found.setdefault(plural(entry.spec.kind).replace("-", "_"), []).append(_facts(entry))
    if recipes:
        found[RECIPES] = [{"name": name, "summary": summary} for name, summary in recipes.items()]
    return found


def _facts(entry: Entry) -> dict[str, Any]:
    spec = entry.spec
    facts: dict[str, Any] = {
        "name": spec.name,
        "summary": spec.summary,
        "provider": entry.provider.distribution,
        "version": entry.provider.version,
        "target": spec.target,
        "offers": sorted(spec.offers),
        "reference": spec.reference,
    }
    if isinstance(spec, OptimizerSpec):
        facts["needs_image"] = [sorted(need) for need in spec.needs_image]
        facts["needs_kernel"] = [sorted(need) for need in spec.needs_kernel]
    facts["parameters"] = [_parameter_facts(one) for one in fields_of(spec.params)]
    return facts


def _parameter_facts(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "type": one.type_text,
        "default": plain_value(one.default),
        "bounds": one.bounds_text,
        "help": one.help,
    }


def _tables(entries: Sequence[Entry], recipes: dict[str, str]) -> str:
    """Return one table a kind: name, summary, provider, offers."""
    tables = []
    for kind in KINDS:
        rows = [
            (entry.spec.name, entry.spec.summary, entry.provider.label, _offers(entry))
            for entry in entries
            if entry.spec.kind == kind
        ]
        if rows:
            tables.append("\n".join([plural(kind), *columns(rows)]))
    if recipes:
        tables.append("\n".join([RECIPES, *columns(list(recipes.items()))]))
    return "\n\n".join(tables) or "nothing is installed"


def _offers(entry: Entry) -> str:
    if isinstance(entry.spec, OptimizerSpec):
        return f"needs {_needs(entry.spec.needs_image)} x {_needs(entry.spec.needs_kernel)}"
    return f"offers {text}" if (text := offered(entry.spec)) else ""


def offered(spec: ComponentSpec) -> str:
    """Return what a prior offers, ``nothing`` if nothing; empty for other parts."""
    return ", ".join(sorted(spec.offers)) or "nothing" if spec.allowed else ""


def _needs(needs: Sequence[Iterable[str]]) -> str:
    return " or ".join(" and ".join(sorted(need)) or "nothing" for need in needs)


def _details(entry: Entry) -> str:
    """Return everything about one component."""
    spec = entry.spec
    lines = [f"{spec.kind.replace('_', ' ')} {spec.name!r}, {entry.provider.label}", f"  {spec.summary}"]
    limited = " (fewer with some parameters)" if getattr(spec, "offers_for", "") else ""
    facts = [("offers", offered(spec) + limited)]
    if isinstance(spec, OptimizerSpec):
        facts += [("needs of the image prior", _needs(spec.needs_image))]
        facts += [("needs of the kernel prior", _needs(spec.needs_kernel))]
    facts += [("reference", spec.reference), ("target", spec.target)]
    lines += [f"  {name}: {text}" for name, text in facts if text]
    rows = [
        (f"{spec.kind}.{one.name}", one.type_text, one.default_text, one.bounds_text, one.help)
        for one in fields_of(spec.params)
    ]
    if rows:
        lines += ["", *columns([("parameter", "type", "default", "bounds", ""), *rows])]
    return "\n".join(lines)


def _recipe_details(name: str) -> str:
    """Return a recipe's values that differ from the defaults of their parameters."""
    resolved = config.resolve({}, registry=registry(), recipe=name)
    lines = [f"recipe {name!r}", f"  {config.recipes()[name]}", ""]
    rows = [
        (key, json.dumps(value), resolved.origins[key])
        for key, value in resolved.values().items()
        if resolved.origins[key] != config.DEFAULT
    ]
    return "\n".join([*lines, *columns(rows)])


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of text as indented lines with aligned columns."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))] if rows else []
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
