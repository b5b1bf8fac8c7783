"""What is kept of a run, for the machine: one JSON document a picture, and a folder that replays it."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import deblurkit
from deblurkit.config import Config
from deblurkit.files import atomic_write
from deblurkit.pipeline import Plan, Result
from deblurkit.pipeline.cost import Cost
from deblurkit.registry import Registry

RECORD_FLAG = "--record"
"""By which the user names the folder of a record."""


def summary(result: Result, config: Config, *, source: Path, image: Path, kernel: Path | None) -> dict[str, Any]:
    """The JSON document of one picture: its files, its quality, its cost and the resolved config."""
    return {
        "input": str(source),
        "output": str(image),
        "kernel": None if kernel is None else str(kernel),
        "quality": {
            "flag": result.quality.flag,
            "reasons": list(result.quality.reasons),
            "measures": {name: rounded(value) for name, value in result.quality.measures.items()},
        },
        "seconds": {stage: round(value, 3) for stage, value in result.seconds.items()},
        "kernel_size": None if result.kernel is None else list(result.kernel.shape[-2:]),
        "restored": result.restored,
        "kept_start": result.kept_start,
        "reframed": result.reframed,
        "synthesised": result.synthesised,
        "notice": notice(result),
        "attempts": result.attempts,
        "stopped": result.stopped,
        "plan": plan_document(result.plan, config.run.precision),
        "config": settled(config, result.plan).to_json(),
    }


def notice(result: Result) -> str:
    """What whoever looks at a synthesised picture has to know; empty for others."""
    if not result.synthesised:
        return ""
    measures = {name: value for name, value in result.quality.measures.items() if math.isfinite(value)}
    facts = []
    if "residual" in measures:
        facts.append(f"blurred again it misses the picture by {measures['residual']:.3f}")
    if "plain_psnr" in measures:
        facts.append(f"a restoration that invents nothing is {measures['plain_psnr']:.1f} dB from it")
    return (
        "the content is synthesised: details, a face's identity among them, may be invented, so never identify anybody "
        f"by it{' (' if facts else ''}{'; '.join(facts)}{')' if facts else ''}"
    )


def settled(config: Config, plan: Plan) -> Config:
    """The configuration with the number of threads that was chosen, on which the last digits of sums depend."""
    return replace(config, run=replace(config.run, threads=plan.threads))


def plan_document(plan: Plan, precision: str) -> dict[str, Any]:
    """A plan as plain values; ``kernel_window`` is ``None`` where the kernel is given."""
    top, left, height, width = plan.crop
    return {
        "size": list(plan.size),
        "channels": plan.channels,
        "estimated_channels": plan.estimated_channels,
        "crop": {"top": top, "left": left, "height": height, "width": width},
        "kernel_window": plan.kernel_size if plan.scales else None,
        "automatic": plan.automatic and bool(plan.scales),
        "size_recipe": plan.size_recipe,
        "scales": [round(scale.factor, 4) for scale in plan.scales],
        "device": str(plan.device),
        "threads": plan.threads,
        "starts": plan.starts,
        "precision": precision,
    }


def cost_document(cost: Cost) -> dict[str, Any]:
    """What a run is expected to take, as plain values; ``None`` for an unknown time."""
    seconds = cost.seconds
    return {
        "memory_bytes": cost.memory,
        "expected_seconds": None if seconds is None else rounded(seconds),
    }


def environment(components: Registry, device: str) -> dict[str, Any]:
    """Versions and machine, as far as they decide a result."""
    import numpy
    import scipy
    import torch

    return {
        "deblurkit": deblurkit.__version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "device": device,
        "threads": torch.get_num_threads(),
        "plugins": sorted({provider.label for provider in components.providers}),
    }


def write_record(folder: Path, result: Result, config: Config, components: Registry, *, overwrite: bool) -> None:
    """Write ``config.json`` (accepted back by ``--config``), ``history.jsonl`` and ``environment.json`` into a folder.

    Raises:
        UsageError: If a file exists and may not be replaced.
        RunError: If the system refuses.
    """
    for path, text in zip(
        record_files(folder),
        (
            json.dumps(settled(config, result.plan).to_json(), indent=2) + "\n",
            lines(result.history),
            json.dumps(environment(components, str(result.plan.device)), indent=2) + "\n",
        ),
        strict=True,
    ):
        write_text(path, text, overwrite, RECORD_FLAG)


def record_files(folder: Path) -> list[Path]:
    """The files of a record: configuration, history, environment."""
    return [folder / name for name in ("config.json", "history.jsonl", "environment.json")]


def write_text(path: Path, text: str, overwrite: bool, flag: str = "-o") -> None:
    """Write a text file atomically, as UTF-8; see `deblurkit.files.atomic_write`."""

    def write(file: BinaryIO) -> None:
        file.write(text.encode())

    atomic_write(path, write, overwrite, flag)


def lines(rows: Iterable[dict[str, float]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps({key: rounded(value) for key, value in row.items()}) + "\n" for row in rows)


def loss_curve(history: Sequence[Mapping[str, Any]], term: str = "loss") -> tuple[list[float], list[float]]:
    """Steps, counted on from scale to scale, and the objective or one of its terms; what is no number is left out."""
    steps: list[float] = []
    losses: list[float] = []
    offset, scale = 0.0, None
    for row in history:
        if row["scale"] != scale and steps:
            offset = steps[-1] + 1
        scale = row["scale"]
        value = row.get(term)
        if value is not None and math.isfinite(value):
            steps.append(offset + row["step"])
            losses.append(value)
    return steps, losses


def rounded(value: float) -> float | None:
    """Six significant digits: what a float32 knows. ``None`` for what is no number, which JSON cannot say."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
