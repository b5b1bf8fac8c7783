"""What a report shows, as plain values: tables, curves, pictures and what they were made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        key: Where its values are found in a row.
        title: Its heading, with the unit if it has one.
        help: What it measures and by which protocol, in a sentence; shown below the table.
        numeric: Whether it is set as numbers: to the right, with `digits`. Texts in it are shown as they are.
        digits: Decimals of its numbers.
        better: Which end of it is the better one; the best value is then marked.
    """

    key: str
    title: str
    help: str = ""
    numeric: bool = True
    digits: int = 2
    better: Literal["higher", "lower", ""] = ""


@dataclass(frozen=True)
class Table:
    """A table that the reader can sort.

    Attributes:
        title: Its heading.
        columns: From left to right; the first one names the row.
        rows: Values by the keys of the columns. A key that is missing, ``None`` and NaN are all shown as missing. Two
            keys mean something beside the columns: ``failure`` is a text that marks the row as failed and is shown
            in it; a true ``reference`` keeps the row (an oracle, the blurry picture) from being marked as best.
        notes: Sentences below it.
        folded: Whether it is shown only when asked for, since it is long.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, str | float | None], ...]
    notes: tuple[str, ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class Curve:
    """One line of a plot; points that are not finite leave gaps.

    Attributes:
        label: Its name in the legend.
        x: Positions, ascending.
        y: As many values.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Plot:
    """Curves over one axis.

    Attributes:
        title: Its heading.
        x_title: What is drawn to the right, with the unit.
        y_title: What is drawn upwards, with the unit.
        curves: The lines.
        log_y: Whether the vertical axis is logarithmic; values up to 0 are then left out.
    """

    title: str
    x_title: str
    y_title: str
    curves: tuple[Curve, ...]
    log_y: bool = False


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture before and after, with what is known about it.

    Attributes:
        title: Its name.
        before: ``(H, W)`` or ``(H, W, 3)`` in [0, 1], as it is shown (sRGB).
        after: The same for the result; its size may differ.
        truth: The same for the sharp picture, if it is known; its size may differ.
        kernel: ``(h, w)``, non-negative: the blur that was found.
        true_kernel: The same for the true blur.
        facts: Short texts by their names, such as scores.
        plots: Curves of its run.
        notice: What whoever looks at it must know, such as that its content is synthesised.
    """

    title: str
    before: np.ndarray
    after: np.ndarray
    truth: np.ndarray | None = None
    kernel: np.ndarray | None = None
    true_kernel: np.ndarray | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    plots: tuple[Plot, ...] = ()
    notice: str = ""


@dataclass(frozen=True)
class Page:
    """All that one report shows.

    Attributes:
        title: Its heading and the name of the window.
        lead: Paragraphs below it.
        tables: Shown first.
        plots: Curves over all pictures.
        pictures: One viewer each.
        config: The resolved configuration, nested plain values.
        environment: Versions and machine.
    """

    title: str
    lead: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    pictures: tuple[Picture, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
