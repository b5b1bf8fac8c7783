"""A page for every recipe, and one for what a configuration consists of."""

from deblurkit.cli.list import plural
from deblurkit.config import COMPONENTS, DEFAULT_RECIPE, PLAIN, recipes, resolve
from deblurkit.params import fields_of, plain
from deblurkit.registry import Registry
from pages.components import WORDS, link, parameter_rows, toml, toml_value
from pages.markdown import ROOT, code, fence, page, section, table
from pages.measured import measured


def recipe_pages(registry: Registry) -> dict[str, str]:
    """Return the pages of all recipes by path below ``docs/reference``."""
    return {f"recipes/{name}.md": _recipe(name, summary, registry) for name, summary in recipes().items()}


def _recipe(name: str, summary: str, registry: Registry) -> str:
    resolved = resolve({}, registry=registry, recipe=name)
    parts = []
    for part, kind in COMPONENTS.items():
        chosen = getattr(resolved, part).name
        known = chosen in registry.names(kind)
        words = "Last step" if part == "final" else WORDS[kind]
        parts.append((words, link(kind, chosen) if known else code(chosen)))
    differing = []
    for part in (*COMPONENTS, *PLAIN):
        params = getattr(resolved, part) if part in PLAIN else getattr(resolved, part).params
        differing += [
            (code(f"{part}.{one.name}"), code(toml_value(plain(params)[one.name])), code(toml(one)))
            for one in fields_of(type(params))
            if getattr(params, one.name) != one.default
        ]
    return page(
        f"# {name}",
        f"[Recipe](../README.md#recipes). {summary}",
        f'Chosen by `--recipe {name}`, or `base = "{name}"` in a file.'
        + (" It is the default." if name == DEFAULT_RECIPE else ""),
        section("Parts", table(("part", "component"), parts)),
        section("What differs from the defaults", table(("key", "value", "default"), differing)),
        section("The file", fence("toml", (ROOT / f"deblurkit/recipes/{name}.toml").read_text(encoding="utf-8"))),
        measured("recipe", name),
    )


def configuration_page() -> str:
    """Return the page of the sections and of what beats what."""
    sections = [
        (
            code(f"[{part}]"),
            f"[{WORDS[kind].lower()}](README.md#{plural(kind)})",
            "the last step; or `none`, or `auto`" if part == "final" else "or `auto`" if part == "optimizer" else "",
        )
        for part, kind in COMPONENTS.items()
    ]
    plain = [
        section(
            name,
            cls.__doc__ or "",
            table(("flag", "type", "default", "bounds", "meaning"), parameter_rows(cls, "--")),
            "The defaults, as a file has them:",
            fence("toml", "\n".join([f"[{name}]", *(f"{one.name} = {toml(one)}" for one in fields_of(cls))])),
        )
        for name, cls in PLAIN.items()
    ]
    return page(
        "# Configuration",
        "A run is described by sections. They stand in a TOML file (`--config FILE`), in a "
        "[recipe](README.md#recipes), or are typed as flags. The `config.json` that `--record` writes has all of them.",
        "A flag beats the file, the file beats its `base`, the base beats the recipe, the recipe beats the default. An "
        "unknown key is an error. Naming another component drops what lower sources said about that section.",
        section(
            "Sections that name a component",
            "Each has a `name`, and beside it the parameters of that component.",
            table(("section", "names", ""), sections),
        ),
        *plain,
    )
