"""The page that `run --report` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblurkit.record import loss_curve, notice
from deblurkit.report import Column, Curve, Page, Picture, Plot, Table

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from deblurkit.config import Config
    from deblurkit.images import Picture as Read
    from deblurkit.pipeline import Result

MOST_PICTURES = 64
"""A page shows so many pictures at most; its table has all."""
LARGEST_SIDE = 1600
"""Larger pictures are shrunk for the page, in pixels."""
Shown = Picture


def picture_of_run(source: Path, picture: Read, result: Result) -> Picture:
    """What a page shows of one run."""
    measures = {name: f"{value:.4g}" for name, value in result.quality.measures.items()}
    steps, losses = loss_curve(result.history)
    plots = []
    if len(steps) > 1:
        curve = Curve("objective", tuple(steps), tuple(losses))
        plots.append(Plot("objective", "step", "objective", (curve,), log_y=min(losses) > 0))
    facts = {
        "quality": "; ".join([result.quality.flag, *result.quality.reasons]),
        "seconds": f"{result.seconds['total']:.1f}",
        **({} if result.kernel is None else {"kernel": f"{max(result.kernel.shape[-2:])} px"}),
        **measures,
    }
    return Picture(
        title=source.name,
        before=shrunk(picture.pixels),
        after=shrunk(result.image),
        kernel=None if result.kernel is None else result.kernel[0, 0].float().numpy(),
        facts=facts,
        plots=tuple(plots),
        notice=notice(result),
    )


def shrunk(x: Tensor) -> np.ndarray:
    """(1, C, H, W) as (H, W) or (H, W, 3), the longer side at most that of a page."""
    from deblurkit.ops.resample import resample_image

    longest = max(x.shape[-2:])
    if longest > LARGEST_SIDE:
        height, width = (max(1, round(side * LARGEST_SIDE / longest)) for side in x.shape[-2:])
        x = resample_image(x, (height, width)).clamp(0.0, 1.0)
    planes: np.ndarray = x[0].float().numpy()
    return planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)


def page_of_runs(
    documents: Sequence[Mapping[str, Any]], shown: Sequence[Picture], config: Config, environment: Mapping[str, Any]
) -> Page:
    """The page of a batch: a table of all pictures, then those that are shown."""
    columns = (
        Column("input", "picture", numeric=False),
        Column("flag", "quality", "What the run thought of its result.", numeric=False),
        Column("reasons", "reasons", numeric=False),
        Column("kernel", "kernel px", digits=0),
        Column("seconds", "s", digits=1),
    )
    rows = [_row(document) for document in documents]
    lead = [f"{len(documents)} pictures."] if len(documents) > 1 else []
    if len(documents) > len(shown) > MOST_PICTURES - 1:
        lead.append(f"The first {MOST_PICTURES} results are shown.")
    title = f"deblurkit: {Path(str(documents[0]['input'])).name}" if len(documents) == 1 else "deblurkit"
    return Page(
        title=title,
        lead=tuple(lead),
        tables=(Table("Runs", columns, tuple(rows)),),
        pictures=tuple(shown),
        config=config.to_json(),
        environment=environment,
    )


def _row(document: Mapping[str, Any]) -> dict[str, str | float | None]:
    """One line of the table; a failed or skipped picture says so."""
    row: dict[str, str | float | None] = {"input": str(document["input"])}
    if "error" in document:
        return {**row, "failure": str(document["error"])}
    if document.get("skipped"):
        return {**row, "flag": "finished earlier"}
    size = document["kernel_size"]
    return {
        **row,
        "flag": document["quality"]["flag"],
        "reasons": "; ".join(document["quality"]["reasons"]),
        "kernel": None if size is None else float(max(size)),
        "seconds": document["seconds"]["total"],
    }
