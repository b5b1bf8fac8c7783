"""A report as one HTML file that needs nothing else: no network, no fonts, no other file.

Pictures are embedded as well as the budget allows; scripts only add to what can be read without them.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblurkit.errors import UsageError
from deblurkit.files import atomic_write, check_writable
from deblurkit.report.data import Column, Curve, Page, Picture, Plot, Table
from deblurkit.report.pictures import Quality, fit
from deblurkit.report.plots import HEIGHT, WIDTH, curve_style, description, draw
from deblurkit.report.tables import shown_rows
from deblurkit.report.view import view_of

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Column", "Curve", "Page", "Picture", "Plot", "Table", "check_report", "render", "write_report"]

BUDGET = 15_000_000
"""Bytes of a page, which mail and browsers bear."""
SUFFIXES = (".html", ".htm")
_FLAG = "--report"
_EXTRA = ("jinja2", "matplotlib")
_FRAME_SHARE = 0.6
"""Part of the budget that all but the pixels of the pictures may take before the last pictures are left out."""
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(page: Page, *, budget: int = BUDGET) -> str:
    """Make the page.

    Args:
        page: What it shows.
        budget: Bytes that it may take. Pictures are stored without loss where they fit, compressed or shrunk where
            they don't, and the last ones left out where not even thumbnails fit; the page says so. Tables, curves and
            texts are never cut.

    Returns:
        The whole HTML document.

    Raises:
        UsageError: If the extra ``report`` is not installed, or an array is no picture.
    """
    _require_extra()
    environment = _environment()
    article, views = environment.get_template("picture.html.j2"), [view_of(picture) for picture in page.pictures]
    bare = [article.render(view=view, number=i, uris={}) for i, view in enumerate(views, 1)]

    def whole(articles: list[str], stored: Quality | None) -> str:
        titles = [view.picture.title for view in views[: len(articles)]]
        return environment.get_template("page.html.j2").render(
            page=page, articles=articles, titles=titles, stored=stored, left_out=len(views) - len(articles)
        )

    kept = _kept(bare, budget - _bytes(whole([], None)))
    while True:
        room = budget - _bytes(whole(bare[:kept], Quality("WEBP", 100, 0.55)))  # which has the longest words
        fitted = fit([version.source for view in views[:kept] for version in view.versions], room)
        if fitted is not None or not kept:
            break
        kept = 3 * kept // 4
    uris, stored = fitted or ([], None)
    remaining = iter(uris)
    articles = [
        article.render(view=view, number=i, uris={version.role: next(remaining) for version in view.versions})
        for i, view in enumerate(views[:kept], 1)
    ]
    return whole(articles, stored if kept else None)


def write_report(path: Path, page: Page, *, overwrite: bool) -> None:
    """Make the page and write it whole or not at all.

    Args:
        path: The ``.html`` file.
        page: What it shows.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UsageError: The extra is missing, `path` may not be replaced, or an array is no picture.
        RunError: The system refuses.
    """
    _check_suffix(path)
    text = render(page).encode()
    atomic_write(path, lambda file: file.write(text), overwrite, _FLAG)


def check_report(path: Path, *, overwrite: bool) -> None:
    """Find out before anything is computed whether a report can be written.

    Raises:
        UsageError: `path` cannot be written or is no ``.html`` file, or the extra ``report`` is not installed.
    """
    _check_suffix(path)
    _require_extra()
    check_writable(path, overwrite, _FLAG)


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: a report is an HTML page; name it {path.stem or 'report'}.html.")


def _require_extra() -> None:
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"A report needs {' and '.join(missing)}; install with: pip install 'deblurkit[report]'.")


def _kept(articles: list[str], room: int) -> int:
    """How many pictures are shown, by the texts that come with them."""
    if sum(map(_bytes, articles)) <= _FRAME_SHARE * room:
        return len(articles)
    left = _FRAME_SHARE * room
    for number, article in enumerate(articles):
        left -= _bytes(article)
        if left < 0:
            return number
    return len(articles)


def _bytes(text: str) -> int:
    return len(text.encode())


def _environment() -> Environment:
    """Templates that escape everything, and what they call."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # what XML and HTML forbid would be taken for an error by whoever parses the page
        finalize=lambda value: _UNSPEAKABLE.sub("�", value) if type(value) is str else value,
    )
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    drawings: dict[str, Markup] = {}

    def drawn(plot: Plot, place: str) -> Markup:
        if place not in drawings:  # an article is rendered without and with its pictures
            drawings[place] = Markup(draw(plot, place))  # marks and numbers only, no text of others
        return drawings[place]

    environment.globals.update(
        style=Markup(style),
        script=Markup(script),
        digest=digest,
        drawn=drawn,
        description=description,
        view_box=f"0 0 {WIDTH} {HEIGHT}",
        curve_style=curve_style,
        shown_rows=shown_rows,
        json_text=_json_text,
    )
    return environment


def _json_text(values: Mapping[str, Any]) -> str:
    """Nested values for reading and for copying."""
    return json.dumps(dict(values), indent=2, ensure_ascii=False, default=str)
