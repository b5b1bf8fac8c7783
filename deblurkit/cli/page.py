"""The page that `run --report` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblurkit.images import read_image, viewable
from deblurkit.kernels import read_kernel
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
FINISHED = "finished earlier"
MEASURES = {
    "residual": ("difference to the picture when blurred again", "{:.2%} of the range"),
    "noise": ("noise", "{:.2%} of the range"),
    "contrast": ("contrast over that of the blurry picture", "{:.2f}"),
    "sparsity": ("mean over root mean square of gradients", "{:.3f}"),
    "peak": ("kernel: largest value", "{:.3f}"),
    "spread": ("kernel: root mean square radius", "{:.1f} px"),
    "border_mass": ("kernel: share in its outermost frame", "{:.1%}"),
    "diffuse": ("kernel: share of its window above 0.3 of the peak", "{:.1%}"),
    "saturated": ("pixels saturated or missing", "{:.1%}"),
    "plain_psnr": ("distance from a restoration that invents nothing", "{:.1f} dB"),
}
"""How a page calls the measures of `deblurkit.pipeline.judge.Quality`, and their values."""


def picture_of_run(source: Path, picture: Read, result: Result) -> Picture:
    """What a page shows of one run."""
    steps, losses = loss_curve(result.history)
    plots = []
    if len(steps) > 1:
        curve = Curve("objective", tuple(steps), tuple(losses))
        plots.append(Plot("objective", "step", "objective", (curve,), log_y=min(losses) > 0))
    facts = {
        "quality": "; ".join([result.quality.flag, *result.quality.reasons]),
        "seconds": f"{result.seconds['total']:.1f}",
        **({} if result.kernel is None else {"kernel": f"{max(result.kernel.shape[-2:])} px"}),
        **measured(result.quality.measures),
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


def measured(measures: Mapping[str, float]) -> dict[str, str]:
    """Measures as one would read them; one without a title keeps its name."""
    known = {name: MEASURES.get(name, (name.replace("_", " "), "{:.4g}")) for name in measures}
    return {title: form.format(measures[name]) for name, (title, form) in known.items()}


def finished_picture(document: Mapping[str, Any], synthesises: bool) -> Picture:
    """What a page shows of a picture that was finished earlier, read back from its files.

    Args:
        document: Of a picture that was skipped: ``input``, ``output``, and ``kernel`` or ``None``.
        synthesises: Whether the content may have been synthesised.

    Raises:
        DeblurkitError: A file cannot be read.
    """
    kernel = None if document["kernel"] is None else read_kernel(Path(document["kernel"])).kernel[0, 0].numpy()
    text = (
        "the content may be synthesised: details, a face's identity among them, may be invented, so never identify "
        "anybody by it"
    )
    return Picture(
        title=Path(document["input"]).name,
        before=shrunk(read_image(Path(document["input"])).pixels),
        after=shrunk(read_image(Path(document["output"])).pixels),
        kernel=kernel,
        facts={"quality": FINISHED, **({} if kernel is None else {"kernel": f"{max(kernel.shape)} px"})},
        notice=text if synthesises else "",
    )


def shrunk(x: Tensor) -> np.ndarray:
    """(1, C, H, W) as bytes (H, W) or (H, W, 3), the longer side at most that of a page; black for what is no number.

    Many pictures wait for their page, so each is kept as small as it will be shown.
    """
    from deblurkit.ops.resample import resample_image

    x = x.float().nan_to_num(0.0)
    longest = max(x.shape[-2:])
    if longest > LARGEST_SIDE:
        height, width = (max(1, round(side * LARGEST_SIDE / longest)) for side in x.shape[-2:])
        x = resample_image(x, (height, width))
    return viewable(x[0].numpy())


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
    results = sum("error" not in document for document in documents)
    if results > len(shown) >= MOST_PICTURES:
        lead.append(f"{len(shown)} of {results} results are shown; the table has all of them.")
    if any(document.get("skipped") for document in documents):
        lead.append("What was finished earlier may have been made with another configuration than the one below.")
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
        return {**row, "flag": FINISHED}
    size = document["kernel_size"]
    return {
        **row,
        "flag": document["quality"]["flag"],
        "reasons": "; ".join(document["quality"]["reasons"]),
        "kernel": None if size is None else float(max(size)),
        "seconds": document["seconds"]["total"],
    }
