"""A table of cells as a page to look at: pictures, kernels, convergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deblurkit.cells.row import RowResult, Scored, name_of
from deblurkit.cells.store import Store
from deblurkit.datasets.case import Case, Sample
from deblurkit.errors import DeblurkitError
from deblurkit.images import viewable
from deblurkit.record import loss_curve
from deblurkit.report import Curve, Page, Picture, Plot, Table
from deblurkit.scores import Protocol

MOST_PICTURES = 64
"""A page shows so many pictures at most; tables have all."""
CURVE_POINTS = 60


def page_of(
    title: str,
    lead: Sequence[str],
    rows: Sequence[RowResult],
    tables: Sequence[Table],
    protocol: Protocol,
    store: Store,
    *,
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> Page:
    """The page of a table.

    Args:
        title: Its heading.
        lead: Paragraphs below it.
        rows: The rows with their cells.
        tables: The tables to show.
        protocol: How the data set is scored.
        store: Where pictures and kernels are kept.
        config: What was carried out.
        environment: Versions and machine.
    """
    results = [row for row in rows if not row.row.reference]
    shown = [(row, one) for one_by_case in _by_case(results) for row, one in one_by_case if one.ok]
    if len(shown) > MOST_PICTURES:
        lead = [*lead, f"The first {MOST_PICTURES} of {len(shown)} results are shown; the table has all of them."]
    samples: dict[Case, Sample | None] = {}
    pictures = []
    for row, one in shown[:MOST_PICTURES]:
        case = one.cell.case
        if case not in samples:
            samples = {case: _sample(case)}  # results of one picture stand together: one sample at a time
        picture = _picture(row, one, samples[case], protocol, store)
        if picture is not None:
            pictures.append(picture)
    return Page(
        title=title,
        lead=tuple(lead),
        tables=tuple(tables),
        plots=tuple(convergence(results)),
        pictures=tuple(pictures),
        config=config,
        environment=environment,
    )


def convergence(rows: Sequence[RowResult]) -> list[Plot]:
    """How PSNR and the objective went, the mean over the cells of every row; of several attempts the first."""
    plots = []
    curves = [
        Curve(name_of(row.row), *mean) for row in rows if (mean := _mean_curve([psnr_curve(one) for one in row.scored]))
    ]
    if curves:
        plots.append(Plot("PSNR on the way", "step", "PSNR in dB, aligned", tuple(curves)))
    objective, data = _loss_curves(rows, "loss"), _loss_curves(rows, "data")
    if objective:
        plots.append(Plot("Objective on the way", "step", "objective", objective, log_y=_positive(objective)))
    if data and data != objective:  # the priors' own terms are not comparable
        plots.append(Plot("Data term on the way", "step", "data term", data, log_y=_positive(data)))
    return plots


def _loss_curves(rows: Sequence[RowResult], term: str) -> tuple[Curve, ...]:
    """The mean course of a term, row by row."""
    return tuple(
        Curve(name_of(row.row), *mean)
        for row in rows
        if (mean := _mean_curve([loss_curve(one.document.get("history", []), term) for one in row.scored]))
    )


def psnr_curve(one: Scored) -> tuple[list[float], list[float]]:
    """Steps and PSNR of the first attempt of a cell."""
    rows = [row for row in one.document.get("curve", []) if row["attempt"] == 1]
    return [row["step"] for row in rows], [row["psnr"] for row in rows]


def _by_case(rows: Sequence[RowResult]) -> list[list[tuple[RowResult, Scored]]]:
    """The cells of the first seed, those of one case together."""
    found: dict[str, list[tuple[RowResult, Scored]]] = {}
    for row in rows:
        seen: set[str] = set()
        for one in row.scored:
            name = one.cell.case.name
            if name not in seen:
                seen.add(name)
                found.setdefault(name, []).append((row, one))
    return list(found.values())


def _sample(case: Case) -> Sample | None:
    try:
        return case.load()
    except DeblurkitError:  # it was there when the cell was carried out
        return None


def _picture(row: RowResult, one: Scored, sample: Sample | None, protocol: Protocol, store: Store) -> Picture | None:
    """One result with what it came from; ``None`` where its picture is gone."""
    after = store.image(one.cell)
    if sample is None or after is None:
        return None
    facts = {
        score.title: f"{one.values[score.name]:.{score.digits}f} {score.unit}".strip()
        for score in protocol.scores
        if score.name in one.values
    }
    document = one.document
    facts["seconds"] = f"{document['seconds']:.2f}"
    if document.get("kernel_size"):
        facts["kernel"] = f"{document['kernel_size']} px"
    if "quality" in document:
        facts["quality"] = "; ".join([document["quality"]["flag"], *document["quality"]["reasons"]])
    if one.failure:
        facts["failure"] = one.failure
    plots = []
    for title, (x, y) in (("PSNR in dB", psnr_curve(one)), ("objective", loss_curve(document.get("history", [])))):
        if len(x) > 1:
            curve = Curve(title, tuple(x), tuple(y))
            plots.append(Plot(title, "step", title, (curve,), log_y=title == "objective" and _positive([curve])))
    notice = "The content is synthesised: details may be invented." if document.get("synthesised") else ""
    return Picture(
        title=f"{one.cell.case.name}: {name_of(row.row)}" + (f", seed {one.cell.seed}" if one.cell.seed else ""),
        before=viewable(sample.y[0].numpy()),
        after=after,
        truth=viewable(sample.truths[0][0].numpy()) if sample.truths else None,
        kernel=store.kernel(one.cell),
        true_kernel=None if sample.kernel is None else sample.kernel[0, 0].float().numpy(),
        facts=facts,
        plots=tuple(plots),
        notice=notice,
    )


def _mean_curve(
    curves: Sequence[tuple[list[float], list[float]]],
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean of curves that share no steps, between the latest first step and the last one of any; ends are held."""
    whole = [(x, y) for x, y in curves if len(x) > 1]
    if not whole:
        return None
    steps = np.linspace(max(x[0] for x, _ in whole), max(x[-1] for x, _ in whole), CURVE_POINTS)
    mean = np.mean([np.interp(steps, x, y) for x, y in whole], axis=0)
    return tuple(map(float, steps)), tuple(map(float, mean))


def _positive(curves: Sequence[Curve]) -> bool:
    return all(value > 0 for curve in curves for value in curve.y)
