"""The index of the reference pages."""

from deblurkit.cli import COMMANDS
from deblurkit.cli.list import plural
from deblurkit.config import recipes
from deblurkit.hookspecs import HOOKS
from deblurkit.registry import KINDS, Registry
from deblurkit.specs import Kind
from pages.components import WORDS
from pages.datasets import layouts
from pages.hooks import summary_of
from pages.markdown import module_docstring, page, section, table


def index_page(registry: Registry) -> str:
    """Return the page that links to all others."""
    return page(
        "# Reference",
        "Every part, command, recipe, data set, score and hook that comes with deblurkit. These pages are made from "
        "the code by `python docs/reference.py`. New to it? Begin with the [README](../../README.md), or with the "
        "[tutorial](../tutorial.md).",
        section("Commands", _table("command", "commands", {name: spec.summary for name, spec in COMMANDS.items()})),
        *(
            section(
                f"{WORDS[kind]}s",
                _table(
                    WORDS[kind].lower(),
                    plural(kind),
                    {entry.spec.name: entry.spec.summary for entry in registry.entries(kind)},
                ),
            )
            for kind in KINDS
        ),
        section(
            "Recipes",
            "A recipe names all parts of a run. Whatever a recipe, a file or a flag can say stands in "
            "[configuration](configuration.md).",
            _table("recipe", "recipes", recipes()),
        ),
        section(
            "Data sets",
            "What [benchmark](commands/benchmark.md) and [ablate](commands/ablate.md) read. [Scores](scores.md) are "
            "defined on a page of their own; [studies](../studies.md) says how variants are compared in one table.",
            _table("layout", "datasets", {name: _about(name) for name in layouts()}),
        ),
        section(
            "Hooks",
            "What a plugin may have. [How to write one](../../plugins/README.md).",
            _table("hook", "hooks", {name: summary_of(name) for name in HOOKS}),
        ),
    )


def _components(kind: Kind, registry: Registry) -> str:
    lines = {entry.spec.name: entry.spec.summary for entry in registry.entries(kind)}
    return _table(WORDS[kind].lower(), plural(kind), lines)


def _about(layout: str) -> str:
    return module_docstring(f"deblurkit.datasets.{layout.replace('-', '_')}:").partition("\n")[0]


def _table(heading: str, folder: str, lines: dict[str, str]) -> str:
    return table((heading, "what it is"), [(f"[{name}]({folder}/{name}.md)", text) for name, text in lines.items()])
