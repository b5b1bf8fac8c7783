"""``deblurkit new-plugin``: write the skeleton of a distribution that brings a part of its own."""

from __future__ import annotations

import ast
import contextlib
import keyword
import os
import re
import secrets
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

import click

from deblurkit import __version__
from deblurkit.cli import COMMANDS, console
from deblurkit.errors import RunError, UsageError
from deblurkit.registry import KINDS, registry

PREFIX = "deblurkit-"
SUFFIX = ".template"
LONGEST = 30
"""Characters of a name; with them no line of the skeleton is longer than 120."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MAIL = re.compile(r"[^@\s\"<>]+@[^@\s\"<>]+")


@dataclass(frozen=True)
class Skeleton:
    """What the templates of one kind need to know.

    Attributes:
        part: The module that holds the part.
        entries: How the registry is asked for its kind.
        use: A command that uses it; ``NAME`` stands for its name.
    """

    part: str
    entries: str
    use: str


BY_GRADIENTS = "deblurkit run photo.png --image-prior identity --kernel-prior fcn"
"""A run in which both parts move by gradients: by closed forms, a data term or an optimizer would not come to work."""

SKELETONS = {
    "image-prior": Skeleton("prior", 'entries("image_prior")', "deblurkit run photo.png --image-prior NAME"),
    "kernel-prior": Skeleton("prior", 'entries("kernel_prior")', "deblurkit run photo.png --kernel-prior NAME"),
    "data-term": Skeleton("term", 'entries("data_term")', f"{BY_GRADIENTS} --data-term NAME"),
    "optimizer": Skeleton("optimizer", 'entries("optimizer")', f"{BY_GRADIENTS} --optimizer NAME"),
    "executor": Skeleton("executor", 'entries("executor")', "deblurkit ablate study.toml --executor NAME"),
    "command": Skeleton("command", "commands()", "deblurkit NAME photo.png"),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(list(SKELETONS)), default="image-prior", show_default=True, help="What it brings."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default="the current folder",
    help="Folder to write deblurkit-NAME into.",
)
@click.option("--author", default="", metavar="TEXT", help="Name in pyproject.toml and LICENSE.")
@click.option("--email", default="", metavar="TEXT", help="Address in pyproject.toml.")
def new_plugin(name: str, kind: str, output: Path, author: str, email: str) -> None:
    """Write the skeleton of a plugin: a distribution deblurkit-NAME with a part that works, and its tests.

    NAME is what the part will be called in commands and configs, in kebab case. The part is a small algorithm that runs
    as it is; its docstring says what to replace.

    \b
    Examples:
      deblurkit new-plugin ridge
      deblurkit new-plugin motion-path --kind kernel-prior -o plugins
    """  # noqa: D301  click wants a real backspace before text that it must not wrap
    name = checked_name(name)
    for flag, text in (("--author", author), ("--email", email)):
        if not text.isprintable():
            raise UsageError(f"{flag}: must be one line of text")
    if email and not _MAIL.fullmatch(email):
        raise UsageError(f"--email: {email!r} is no address; write it as name@example.org")
    folder = output / f"{PREFIX}{name}"
    if os.path.lexists(folder):
        raise UsageError(f"{folder}: exists already; remove it, or name another place with -o")
    write(folder, render(name, kind, author=author, email=email))
    console.result(str(folder))
    console.note("Next:")
    console.note(f"  pip install -e {shlex.quote(f'{folder}[test]')}")
    console.note(f"  python -m pytest {shlex.quote(str(folder))}")
    console.note(f"  {SKELETONS[kind].use.replace('NAME', name)}")


def checked_name(name: str) -> str:
    """Return the name of the part, without the distribution's prefix.

    Raises:
        UsageError: If it is no name, or somebody has it.
    """
    given, name = name, name.removeprefix(PREFIX)
    if any(character in given for character in "/\\~") or given.startswith("."):
        raise UsageError(f"{given!r} is a path, not a name; name the folder to write into with -o")
    if not _NAME.fullmatch(name):
        words = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", given).lower())
        better = words.removeprefix(PREFIX).lstrip("-0123456789").rstrip("-")
        hint = f"did you mean {better!r}?" if _NAME.fullmatch(better) else "such as 'total-variation'"
        raise UsageError(f"{given!r}: a name is in kebab case, lower-case letters, digits and single dashes; {hint}")
    if len(name) > LONGEST:
        raise UsageError(f"{name!r} has {len(name)} characters; a name may have {LONGEST}")
    if keyword.iskeyword(name) or name in ("none", "true", "auto") or name.split("-")[0] == PREFIX.rstrip("-"):
        raise UsageError(f"{name!r} is a word of Python or of deblurkit itself; choose another name")
    for owner, what in _owners(name):
        raise UsageError(f"there is already {what} {name!r}, by {owner}; choose another name")
    with contextlib.suppress(PackageNotFoundError):
        installed = version(f"{PREFIX}{name}")
        raise UsageError(f"{PREFIX}{name} {installed} is installed already; choose another name, or uninstall it")
    return name


def _owners(name: str) -> Iterator[tuple[str, str]]:
    """Everything installed that has the name: who provides it, and what it is."""
    if name in COMMANDS:
        yield "deblurkit itself", "a command"
    for entry in registry().commands():
        if entry.spec.name == name:
            yield entry.provider.label, "a command"
    for kind in KINDS:
        for entry in registry().entries(kind):
            if entry.spec.name == name:
                yield entry.provider.label, _with_article(kind.replace("_", " "))


def render(name: str, kind: str, *, author: str = "", email: str = "") -> dict[str, str]:
    """The files of a skeleton: path within its folder, and text.

    Args:
        name: Checked name of the part.
        kind: One of `SKELETONS`.
        author: Who holds the copyright; the distribution's authors where empty.
        email: Address of the author, or empty.

    Raises:
        UsageError: If the class would have the name of one that it needs.
    """
    skeleton, words = SKELETONS[kind], kind.replace("-", " ")
    author = author or f"The {PREFIX}{name} authors"
    entry = f"name = {_toml(author)}" + (f", email = {_toml(email)}" if email else "")
    values = {
        "name": name,
        "distribution": f"{PREFIX}{name}",
        "package": f"{PREFIX}{name}".replace("-", "_"),
        "Class": "".join(word.capitalize() for word in name.split("-")),
        "words": words,
        "article_words": _with_article(words).capitalize(),
        "part": skeleton.part,
        "entries": skeleton.entries,
        "use": skeleton.use.replace("NAME", name),
        "author": author,
        "author_entry": f"{{ {entry} }}",
        "year": str(date.today().year),
        "version_range": _compatible(__version__),
    }
    rendered = {}
    for folder in ("every", kind):
        for path, template in _templates(files("deblurkit") / "skeleton" / folder):
            target = path.replace("package/", f"{values['package']}/")
            rendered[target] = Template(template).substitute(values)
    for path, text in rendered.items():
        if path.endswith(".py") and values["Class"] in _clashing(text):
            raise UsageError(
                f"{name!r} would name its class {values['Class']}, a name that it needs of deblurkit or torch; "
                "choose another name"
            )
    return rendered


def write(folder: Path, texts: dict[str, str]) -> None:
    """Write a folder of files under a temporary name, then rename it into place.

    Args:
        folder: The folder, which must not exist yet; the one that it stands in is created where it is missing.
        texts: Path within the folder, and text.

    Raises:
        UsageError: If the system refuses: no permission, a file where a folder should be.
        RunError: If the disk is full, or the folder came into being meanwhile.
    """
    temporary = folder.with_name(f".{PREFIX}{secrets.token_hex(6)}.part")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        cause = error.strerror or error
        raise UsageError(
            f"{folder}: cannot be written ({cause}); name a folder that you may write to with -o"
        ) from None
    try:
        for path, text in texts.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_text(text, encoding="utf-8", newline="\n")
        temporary.rename(folder)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # it was renamed, or must go


def _templates(folder: Traversable, path: str = "") -> Iterator[tuple[str, str]]:
    """All templates in a folder of package data: where they go, and their texts."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, f"{path}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            yield path + entry.name.removesuffix(SUFFIX), entry.read_text(encoding="utf-8")


def _clashing(program: str) -> set[str]:
    """Names that a program both imports from elsewhere and defines as a class."""
    tree = ast.parse(program)
    imports = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
               for alias in node.names}  # fmt: skip
    return imports & {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def _compatible(release: str) -> str:
    """The versions of deblurkit that a plugin written for this one asks for: before 1.0 a minor one may break it."""
    major, minor = (int(part) for part in release.split(".")[:2])
    return f">={major}.{minor},<" + (f"{major}.{minor + 1}" if major == 0 else f"{major + 1}")


def _toml(text: str) -> str:
    """A printable line as a TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
