"""Measured numbers, from ``docs/measured.toml``: what, number, unit, and the command that prints it."""

import tomllib
from functools import cache
from typing import Any

from pages.markdown import ROOT, code, section, table

FILE = "docs/measured.toml"


@cache
def numbers() -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the rows by kind (``image_prior``, ..., ``recipe``) and name."""
    return tomllib.loads((ROOT / FILE).read_text(encoding="utf-8"))


def measured(kind: str, name: str) -> str:
    """Return the section of a page with what was measured, or nothing; rows of one command say it once."""
    rows = numbers().get(kind, {}).get(name, [])
    cells = []
    for index, row in enumerate(rows):
        again = index > 0 and row["command"] == rows[index - 1]["command"]
        value = f"{row['number']} {row['unit']}".strip()
        cells.append((row["what"], value, "the same" if again else code(row["command"])))
    return section("Measured", table(("what", "value", "command"), cells))
