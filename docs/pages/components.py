"""A page for every component."""

import json
from collections.abc import Iterable

from deblurkit.cli import COMMANDS
from deblurkit.cli.executors import ExecutorCommand
from deblurkit.cli.list import plural
from deblurkit.config import COMPONENTS, recipes, resolve
from deblurkit.params import AUTO, Parameter, Params, Plain, fields_of, plain_value
from deblurkit.registry import KINDS, Registry
from deblurkit.specs import CLOSED_FORMS, ComponentSpec, Kind, Offer, OptimizerSpec, find_fit
from pages.markdown import bullets, code, comparison, docstring_of, fence, page, prose, section, source_file, table
from pages.measured import measured

OFFERS = {
    Offer.PARAMETERS: "has parameters, which a gradient optimizer moves",
    Offer.ENERGY: "has a differentiable energy, which is added to the data term",
    Offer.RESTORE: "computes the picture for a given convolution kernel (non-blind deconvolution)",
    Offer.ESTIMATE: "computes the kernel for a given picture",
    Offer.KERNEL: "shows a convolution kernel: non-negative, sum 1",
    Offer.FIT: "can be started from a given picture or kernel",
}
"""What an offer means, in words."""

WORDS = {
    "image_prior": "Image prior",
    "kernel_prior": "Kernel prior",
    "data_term": "Data term",
    "optimizer": "Optimizer",
    "executor": "Executor",
}


def component_pages(registry: Registry) -> dict[str, str]:
    """Return the pages of all components by path below ``docs/reference``."""
    return {
        f"{plural(kind)}/{entry.spec.name}.md": component_page(entry.spec, registry)
        for kind in KINDS
        for entry in registry.entries(kind)
    }


def component_page(spec: ComponentSpec, registry: Registry) -> str:
    """Return the page of one component."""
    return page(
        f"# {spec.name}",
        f"[{WORDS[spec.kind]}](../README.md#{plural(spec.kind)}). {spec.summary}",
        f"Chosen by {chooser(spec)}.",
        section("Description", prose(docstring_of(spec.target))),
        parameters(spec),
        _offered(spec),
        _needed(spec),
        _fitting(spec, registry),
        _recipes(spec, registry),
        measured(spec.kind, spec.name),
        section(
            "Source",
            f"{spec.reference}." if spec.reference else "",
            f"[{source_file(spec.target)}](../../../{source_file(spec.target)})",
        ),
    )


def chooser(spec: ComponentSpec) -> str:
    """Return by what flag and what line of a file a component is chosen."""
    flag = f"`--{spec.kind.replace('_', '-')} {spec.name}`"
    if spec.kind not in COMPONENTS:
        return f"{flag}; no file names it, since it changes no result"
    text = f'{flag}, or `{spec.kind}.name = "{spec.name}"` in a file'
    return f"{text}; as the last step by `--final {spec.name}`" if Offer.RESTORE in spec.offers else text


def link(kind: str, name: str) -> str:
    """Return a link to a component, from a page one folder below the index."""
    return f"[{name}](../{plural(kind)}/{name}.md)"


def parameters(spec: ComponentSpec) -> str:
    """Return the table of a component's parameters, and the same as TOML."""
    dashed = spec.kind.replace("_", "-")
    rows = parameter_rows(spec.params, f"--{dashed}.")
    if not rows:
        return section("Parameters", "None.")
    final = "As the last step its flags begin with `--final.`, and its keys stand in `[final]`."
    lines = [f'name = "{spec.name}"', *(f"{one.name} = {toml(one)}" for one in fields_of(spec.params))]
    file = fence("toml", "\n".join([f"[{spec.kind}]", *lines]))
    return section(
        "Parameters",
        table(("flag", "type", "default", "bounds", "meaning"), rows),
        "The defaults, as a file has them:" if spec.kind in COMPONENTS else "",
        file if spec.kind in COMPONENTS else "",
        final if Offer.RESTORE in spec.offers else "",
    )


def parameter_rows(params: type[Params], prefix: str) -> list[tuple[str, ...]]:
    """Return flag, type, default, bounds and help of every parameter."""
    return [
        (
            _flags(one, prefix),
            _type(one),
            code(one.default_text) or "empty",
            comparison(one.bounds_text) + (", odd" if one.odd and one.bounds_text else "odd" if one.odd else ""),
            one.help,
        )
        for one in fields_of(params)
    ]


def _type(one: Parameter) -> str:
    if one.annotation is bool:
        return "true or false"
    if one.auto:
        return " or ".join([code(AUTO), one.type_text.removeprefix(f"{AUTO}|")])
    if not one.choices:
        return one.type_text
    *most, last = (code(str(choice)) for choice in one.choices)
    return f"{', '.join(most)} or {last}" if most else last


def _flags(one: Parameter, prefix: str) -> str:
    return f"`{prefix}{one.flag}`" + (f", `{prefix}no-{one.flag}`" if one.annotation is bool else "")


def toml(one: Parameter) -> str:
    """Return a default as TOML has it."""
    return toml_value(plain_value(one.default))


def toml_value(value: Plain) -> str:
    """Return a value as TOML has it; JSON's way is one of TOML's for all that there are."""
    return json.dumps(value, ensure_ascii=False)


def _offered(spec: ComponentSpec) -> str:
    if not spec.allowed:
        return ""
    lines = [f"`{offer}`: {OFFERS[offer]}" for offer in Offer if offer in spec.offers]
    fewer = "Some parameters take offers away; what is left is checked before a run."
    nothing = "Nothing: it is fixed, and an optimizer leaves it alone."
    return section(
        "What it offers", bullets(lines) if lines else nothing, fewer if getattr(spec, "offers_for", "") else ""
    )


def _needed(spec: ComponentSpec) -> str:
    if not isinstance(spec, OptimizerSpec):
        return ""
    sides = (("image prior", spec.needs_image), ("kernel prior", spec.needs_kernel))
    lines = [f"of the {side} {_needs(needs)}" for side, needs in sides]
    return section("What it needs", bullets(lines), "A prior that offers nothing to move is fixed, and needs nothing.")


def _needs(needs: Iterable[Iterable[str]]) -> str:
    return ", or else ".join(" and ".join(f"`{one}`" for one in sorted(need)) or "nothing" for need in needs)


def _fitting(spec: ComponentSpec, registry: Registry) -> str:
    title = "What fits with it"
    if spec.kind == "executor":
        takers = [name for name, command in COMMANDS.items() if isinstance(command.load(), ExecutorCommand)]
        return section(
            title, "Commands that have many tasks:", bullets(f"[{one}](../commands/{one}.md)" for one in takers)
        )
    if spec.kind == "data_term":
        return section(
            title,
            "Every pair of priors, and every optimizer that moves one of them by gradients. Closed forms have squared "
            "errors of their own: where nothing else moves, it has no influence.",
        )
    if isinstance(spec, OptimizerSpec):
        return section(
            title,
            "How it moves image / kernel, by a closed form (`restore`, `estimate`) or by gradients:",
            _matrix(spec, registry),
        )
    other: Kind = "kernel_prior" if spec.kind == "image_prior" else "image_prior"
    partners: dict[str, list[str]] = {}
    for entry in registry.entries(other):
        image, kernel = (spec.name, entry.spec.name) if other == "kernel_prior" else (entry.spec.name, spec.name)
        partners.setdefault(_optimizers(image, kernel, registry), []).append(link(other, entry.spec.name))
    lines = [f"{', '.join(names)}: {ways or 'nothing moves them'}" for ways, names in partners.items()]
    last = ""
    if Offer.RESTORE in spec.offers:
        last = "It can be the last step of any run"
        chosen = registry.default_restorer() == spec.name
        last += ", and is, where the run's own image prior cannot restore and nobody names another." if chosen else "."
    words = WORDS[other].lower()
    return section(title, f"By {words}, the optimizers; the first is taken where none is named.", bullets(lines), last)


def _optimizers(image: str, kernel: str, registry: Registry) -> str:
    """Return the optimizers that fit two priors, the one that is taken by default first."""
    pair = registry.spec("image_prior", image), registry.spec("kernel_prior", kernel)
    fitting = [one.spec.name for one in registry.entries("optimizer") if find_fit(one.spec, *pair)]
    if not fitting:
        return ""
    first = registry.default_optimizer(image, kernel)
    return " or ".join(link("optimizer", name) for name in [first, *(one for one in fitting if one != first)])


def _matrix(spec: OptimizerSpec, registry: Registry) -> str:
    """Return how an optimizer would move every pair of priors."""
    kernels = [entry.spec for entry in registry.entries("kernel_prior")]
    rows = []
    for entry in registry.entries("image_prior"):
        fits = [find_fit(spec, entry.spec, kernel) for kernel in kernels]
        cells = [f"{_way(fit.image)} / {_way(fit.kernel)}" if fit else "–" for fit in fits]
        rows.append((link("image_prior", entry.spec.name), *cells))
    return table(("", *(link("kernel_prior", one.name) for one in kernels)), rows)


def _way(offers: frozenset[str]) -> str:
    closed = sorted(offers & CLOSED_FORMS)
    return " and ".join(closed) or ("gradients" if offers else "fixed")


def _recipes(spec: ComponentSpec, registry: Registry) -> str:
    lines = []
    for recipe, summary in recipes().items():
        resolved = resolve({}, registry=registry, recipe=recipe)
        sections = [
            name for name, kind in COMPONENTS.items() if kind == spec.kind and getattr(resolved, name).name == spec.name
        ]
        if sections:
            place = " (last step)" if sections == ["final"] else ""
            lines.append(f"[{recipe}](../recipes/{recipe}.md){place}: {summary}")
    return section("Recipes that use it", bullets(lines))
