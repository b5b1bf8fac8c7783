"""Markdown: tables, lists, and docstrings in Google style."""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises):")
_ITEM = re.compile(r"(\w+): (.*)")


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table without the columns that are empty in all rows; nothing where there are no rows."""
    rows = list(rows)
    kept = [index for index in range(len(heading)) if any(row[index] for row in rows)]
    lines = [_line(heading[index] for index in kept), _line("---" for _ in kept)]
    return "\n".join([*lines, *(_line(row[index] for index in kept) for row in rows)]) if rows else ""


def _line(cells: Iterable[str]) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def bullets(lines: Iterable[str]) -> str:
    """Return a list."""
    return "\n".join(f"- {line}" for line in lines)


def code(text: str) -> str:
    """Return a code span, nothing for nothing."""
    return f"`{text}`" if text else ""


def fence(language: str, text: str) -> str:
    """Return a code block."""
    return f"```{language}\n{text.strip()}\n```"


def page(*parts: str) -> str:
    """Return a page of the parts that are not empty."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def section(title: str, *parts: str) -> str:
    """Return a heading and what stands below it; nothing where that is empty."""
    body = [part.strip("\n") for part in parts if part.strip()]
    return "\n\n".join([f"## {title}", *body]) if body else ""


def comparison(text: str) -> str:
    """Return bounds such as ``0<=x<1`` as one prints them: ``0 ≤ x < 1``."""
    spaced = re.sub(r"\s*(<=|>=|<|>)\s*", r" \1 ", text)
    return spaced.replace("<=", "≤").replace(">=", "≥")


def docstring_of(target: str) -> str:
    """Return the docstring of a class or function, read from its source, so that nothing heavy is imported.

    Args:
        target: ``package.module:Name``, somewhere below the root of the project.

    Raises:
        LookupError: The module has no such class or function.
    """
    tree, name = source_tree(target), target.partition(":")[2]
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) or ""
    raise LookupError(f"{target}: is not defined in that module")


def methods_of(target: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, signature and docstring of every public method of a class, read from its source.

    Args:
        target: ``package.module:Name``, somewhere below the root of the project.
    """
    name = target.partition(":")[2]
    (found,) = (node for node in source_tree(target).body if isinstance(node, ast.ClassDef) and node.name == name)
    for node in found.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            decorators = "".join(f"@{ast.unparse(one)}\n" for one in node.decorator_list)
            returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            # what unparses has no spaces around the default of an annotated argument
            arguments = re.sub(r"(?<=[\w\]])=(?=\S)", " = ", ast.unparse(node.args))
            signature = f"{decorators}def {node.name}({arguments}){returned}"
            yield node.name, signature, ast.get_docstring(node) or ""


def module_docstring(target: str) -> str:
    """Return the docstring of the module of ``package.module:Name``."""
    return ast.get_docstring(source_tree(target)) or ""


def source_tree(target: str) -> ast.Module:
    """Return the syntax tree of the module of ``package.module:Name``."""
    return ast.parse((ROOT / source_file(target)).read_text(encoding="utf-8"))


def source_file(target: str) -> str:
    """Return the file of the module of ``package.module:Name``, from the root of the project."""
    stem = target.partition(":")[0].replace(".", "/")
    return next(one for one in (f"{stem}.py", f"{stem}/__init__.py") if (ROOT / one).is_file())


def prose(docstring: str) -> str:
    """Return a docstring as Markdown: literal blocks fenced, its sections as lists."""
    lines = inspect.cleandoc(docstring).splitlines()
    made: list[str] = []
    while lines:
        block = _take(lines, lambda line: bool(line))
        heading = _SECTION.match(block)
        if heading:
            made.append(f"{heading[1]}:\n\n{_items(block)}")
        elif block.endswith("::"):
            made.append(spans(block[:-1]))
            made.append(fence("python", inspect.cleandoc(_take(lines, lambda line: line[:1] in ("", " ")))))
        elif block:
            made.append(spans(block))
        _take(lines, lambda line: not line)
    return "\n\n".join(made)


def _take(lines: list[str], wanted: Callable[[str], bool]) -> str:
    """Take lines off the front as long as they are wanted, and return them."""
    count = next((index for index, line in enumerate(lines) if not wanted(line)), len(lines))
    taken, lines[:] = lines[:count], lines[count:]
    return "\n".join(taken)


def attributes(docstring: str) -> Mapping[str, str]:
    """Return what a docstring says of the attributes of a class, by name."""
    _, _, below = inspect.cleandoc(docstring).partition("Attributes:\n")
    return dict(_pairs(below.split("\n\n")[0])) if below else {}


def spans(text: str) -> str:
    """Return text with code spans as Markdown has them."""
    return re.sub(r"(?::\w+:)?``?([^`]+)``?", r"`\1`", text)


def _items(block: str) -> str:
    below = block.partition("\n")[2]
    pairs = list(_pairs(below))
    if not pairs:
        return spans(inspect.cleandoc(below))
    return bullets(f"`{name}`: {text}" for name, text in pairs)


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return name and text of the items of a section; a continued line is indented further."""
    pairs: list[tuple[str, str]] = []
    for line in inspect.cleandoc(text).splitlines():
        found = _ITEM.match(line)
        if found:
            pairs.append((found[1], spans(found[2])))
        elif pairs:
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {spans(line.strip())}")
    return pairs
