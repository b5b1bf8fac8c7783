"""A page for every hook."""

import inspect
from dataclasses import MISSING, fields

from deblurkit import hookspecs
from deblurkit.cli import COMMANDS
from deblurkit.hookspecs import HOOKS
from deblurkit.registry import Registry
from deblurkit.specs import ComponentSpec, Spec
from pages.components import WORDS, link
from pages.markdown import (
    attributes,
    bullets,
    code,
    docstring_of,
    fence,
    methods_of,
    page,
    prose,
    section,
    spans,
    table,
)

BASES = {
    "image_prior": "deblurkit.core.image_prior:ImagePrior",
    "kernel_prior": "deblurkit.core.kernel_prior:KernelPrior",
    "data_term": "deblurkit.core.data_term:DataTerm",
    "optimizer": "deblurkit.core.optimizer:Optimizer",
    "executor": "deblurkit.core.executor:Executor",
}
"""What the class behind a descriptor derives from, by kind."""


def hook_pages(registry: Registry) -> dict[str, str]:
    """Return the pages of all hooks by path below ``docs/reference``."""
    return {f"hooks/{name}.md": _hook(name, spec, registry) for name, spec in HOOKS.items()}


def summary_of(name: str) -> str:
    """Return the first sentence of a hook's docstring."""
    return spans((inspect.getdoc(getattr(hookspecs, name)) or "").partition("\n")[0])


def _hook(name: str, spec: type[Spec], registry: Registry) -> str:
    first, _, rest = prose(inspect.getdoc(getattr(hookspecs, name)) or "").partition("\n\n")
    return page(
        f"# {name}",
        f"[Hook](../README.md#hooks). {first}",
        fence("python", f"@hookimpl\ndef {name}() -> Iterable[{spec.__name__}]: ..."),
        "It is called once, at the start of every program: what it yields are descriptors, whose targets are imported "
        "when they are needed. [How to write a plugin](../../../plugins/README.md).",
        section(
            f"What it yields: {spec.__name__}",
            table(("field", "default", "meaning"), _fields(spec)),
            "All are given by name; see [specs.py](../../../deblurkit/specs.py).",
        ),
        section("Example", rest),
        _methods(spec),
        section("Those that come with deblurkit", bullets(_built_in(spec, registry))),
    )


def _fields(spec: type[Spec]) -> list[tuple[str, str, str]]:
    """Return name, default and meaning of every field; what a class says of a field beats what its bases say."""
    told: dict[str, str] = {}
    for cls in reversed(spec.__mro__):
        told |= attributes(cls.__doc__ or "")
    return [(code(one.name), _default(one), told[one.name]) for one in fields(spec) if _applies(spec, one.name)]


def _applies(spec: type[Spec], field: str) -> bool:
    """Whether a kind has a use for a field: of some there is nothing that a part could offer."""
    return field != "offers" or bool(getattr(spec, "allowed", ()))


def _methods(spec: type[Spec]) -> str:
    """Return what the class behind a descriptor may implement, in the words of its base."""
    if not issubclass(spec, ComponentSpec):
        return ""
    base = BASES[spec.kind]
    module, _, name = base.partition(":")
    methods = [
        "\n\n".join([f"### {one}", fence("python", signature), prose(docstring)])
        for one, signature, docstring in methods_of(base)
    ]
    return section(
        f"What the class may implement: {name}",
        prose(docstring_of(base)),
        f"What it leaves alone is as `{module}` has it; what raises `NotImplementedError` there must be written, where "
        "it belongs to an offer only with the offer."
        if spec.allowed
        else f"What it leaves alone is as `{module}` has it; what raises `NotImplementedError` there must be written.",
        *methods,
    )


def _default(one: object) -> str:
    factory, value = getattr(one, "default_factory"), getattr(one, "default")  # noqa: B009  dataclasses' own fields
    if factory is not MISSING or value == frozenset():
        return "none"
    if value is MISSING:
        return "must be given"
    if isinstance(value, type):
        return code(value.__name__)
    if isinstance(value, tuple):
        return code(", or else ".join(" and ".join(sorted(need)) for need in value))
    return "empty" if value == "" else code(str(value))


def _built_in(spec: type[Spec], registry: Registry) -> list[str]:
    if not issubclass(spec, ComponentSpec):
        return [f"[{name}](../commands/{name}.md)" for name in COMMANDS]
    assert spec.kind in WORDS
    return [f"{link(spec.kind, entry.spec.name)}: {entry.spec.summary}" for entry in registry.entries(spec.kind)]
