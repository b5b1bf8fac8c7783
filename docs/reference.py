"""Writes the reference pages from the code: ``python docs/reference.py``, or with ``--check`` only compares them.

The pages depend on the code and on nothing else: not on plugins, the terminal, the environment, or where this lies.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pages.commands import command_pages
from pages.components import component_pages
from pages.datasets import dataset_pages, scores_page
from pages.hooks import hook_pages
from pages.index import index_page
from pages.recipes import configuration_page, recipe_pages

from deblurkit.registry import VARIABLE, Registry, registry

FOLDER = Path(__file__).parent / "reference"
RENEW = "python docs/reference.py"


def main() -> int:
    """Write or check all pages; the exit code."""
    parser = argparse.ArgumentParser(description="Write the reference pages from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is not current")
    check = parser.parse_args().check
    with only_built_ins():
        pages = all_pages(registry())
    stale = stale_pages(pages)
    if not check:
        renew(pages, stale)
        print(f"{len(pages)} pages, {len(stale)} changed", file=sys.stderr)
        return 0
    for name in stale:
        missing = "" if (FOLDER / name).is_file() else " (missing)"
        print(f"docs/reference/{name}: {'not current' if name in pages else 'belongs to nothing'}{missing}")
    if stale:
        print(f"Renew them: {RENEW}", file=sys.stderr)
    return 1 if stale else 0


@contextmanager
def only_built_ins() -> Iterator[None]:
    """Leave out the plugins of others, whatever is installed here."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = ""
    registry.cache_clear()
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before
        registry.cache_clear()


def all_pages(parts: Registry) -> dict[str, str]:
    """Return the text of every page by its path below ``docs/reference``."""
    return {
        "README.md": index_page(parts),
        "configuration.md": configuration_page(),
        "scores.md": scores_page(),
        **component_pages(parts),
        **recipe_pages(parts),
        **command_pages(),
        **hook_pages(parts),
        **dataset_pages(),
    }


def stale_pages(pages: Mapping[str, str]) -> list[str]:
    """Return the pages that differ from their files or have none, and the files that are no page."""
    found = {path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*") if path.is_file()}
    changed = [name for name, text in pages.items() if name not in found or found[name].read_bytes() != text.encode()]
    return sorted([*changed, *(found.keys() - pages.keys())])


def renew(pages: Mapping[str, str], stale: list[str]) -> None:
    """Write the pages that changed, and remove what belongs to nothing."""
    for name in stale:
        path = FOLDER / name
        if name in pages:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pages[name].encode())
        else:
            path.unlink()


if __name__ == "__main__":
    sys.exit(main())
