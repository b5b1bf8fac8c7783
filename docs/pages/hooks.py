"""A page for every hook."""

import inspect
from dataclasses import MISSING, fields

from deblurkit import hookspecs
from deblurkit.cli import COMMANDS
from deblurkit.hookspecs import HOOKS
from deblurkit.registry import Registry
from deblurkit.specs import ComponentSpec, Spec
from pages.components import WORDS, link
from pages.markdown import attributes, bullets, code, fence, page, prose, section, spans, table


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
        section("Those that come with deblurkit", bullets(_built_in(spec, registry))),
    )


def _fields(spec: type[Spec]) -> list[tuple[str, str, str]]:
    """Return name, default and meaning of every field; what a class says of a field beats what its bases say."""
    told: dict[str, str] = {}
    for cls in reversed(spec.__mro__):
        told |= attributes(cls.__doc__ or "")
    return [(code(one.name), _default(one), told[one.name]) for one in fields(spec)]


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
