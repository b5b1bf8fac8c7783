"""A page for every command, from what Click knows of it; nothing is wrapped, so no width matters."""

import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import click

from deblurkit.cli import COMMANDS, cli
from deblurkit.config import COMPONENTS
from pages.components import WORDS, link
from pages.markdown import bullets, code, comparison, fence, page, section, spans, table

_FACTS = re.compile(r"\s*\[([^\[\]]*)\]$")
_PART = re.compile(rf"({'|'.join(COMPONENTS).replace('_', ' ')}|executor) '([a-z0-9-]+)'")


class Recorder(click.HelpFormatter):
    """Takes the place of Click's formatter, and keeps what it is given.

    Attributes:
        sections: Records (flags, text) by title of their section.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sections: dict[str, list[tuple[str, str]]] = {}

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Begin a section."""
        self.sections[name] = []
        yield

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:  # noqa: ARG002
        """Keep the records of the section that was begun last."""
        self.sections[list(self.sections)[-1]] += list(rows)


def command_pages() -> dict[str, str]:
    """Return the pages of all built-in commands by path below ``docs/reference``."""
    return {f"commands/{name}.md": _command(name, spec.load()) for name, spec in COMMANDS.items()}


def _command(name: str, command: click.Command) -> str:
    parent = click.Context(cli, info_name="deblurkit", **cli.context_settings)
    context = click.Context(command, parent, name, **command.context_settings)
    recorder = Recorder()
    with context:
        command.format_options(context, recorder)
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text, examples = _help(command.help or "")
    recorded = {title: rows for title, rows in recorder.sections.items() if rows}
    parts = [found for title in recorded if (found := _PART.fullmatch(title))]
    return page(
        f"# deblurkit {name}",
        f"[Command](../README.md#commands). {text}",
        section("Usage", fence("text", usage)),
        section("Examples", fence("sh", examples)) if examples else "",
        *(_options(title, rows) for title, rows in recorded.items() if not _PART.fullmatch(title)),
        section(
            "Parameters of the parts",
            "The parameters of the parts that are chosen are options too; `--help` shows them. By default these are:",
            bullets(_part(found[1], found[2]) for found in parts),
        )
        if parts
        else "",
    )


def _help(text: str) -> tuple[str, str]:
    """Return the paragraphs of a help text, and its examples, which Click is told not to wrap."""
    told: list[str] = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        verbatim = textwrap.dedent(block.partition("\n")[2])
        if not block.startswith("\b"):
            told.append(spans(block))
        elif not verbatim.startswith("Examples:\n"):
            told.append(fence("text", verbatim))
        else:
            # what leads to the examples does not stand above them here
            told[-1] = re.sub(r":$", ".", told[-1])
            return "\n\n".join(told), textwrap.dedent(verbatim.partition("\n")[2])
    return "\n\n".join(told), ""


def _options(title: str, rows: Sequence[tuple[str, str]]) -> str:
    heading = title[0].upper() + title[1:]
    return section(heading, table(("option", "meaning", "default, bounds"), [_option(*row) for row in rows]))


def _option(flags: str, text: str) -> tuple[str, str, str]:
    """Return what stands in a line of the help: the flags, the text, the facts in brackets at its end."""
    facts: list[str] = []
    while found := _FACTS.search(text):
        facts.insert(0, comparison(found[1].removeprefix("default: ")))
        text = text[: found.start()]
    flags = flags.replace(" / ", ", ").replace(" RANGE", "")
    return code(flags), text.strip(), "; ".join(facts)


def _part(part: str, name: str) -> str:
    key = part.replace(" ", "_")
    words = {**WORDS, "final": "Last step"}[key].lower()
    return f"`--{key.replace('_', '-')}.…`: {words} {link(COMPONENTS.get(key, 'executor'), name)}"
