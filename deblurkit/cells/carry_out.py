"""What an executor's worker does: one cell, from files to scores."""

from __future__ import annotations

import contextlib
import math
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deblurkit.cells.cell import Cell, resolved
from deblurkit.cells.memory import peak_bytes, start_watching
from deblurkit.cells.transfer import transferred
from deblurkit.core.image_prior import inner
from deblurkit.datasets.case import Sample
from deblurkit.devices import choose_device, set_threads
from deblurkit.errors import DeblurkitError, RunError, UsageError
from deblurkit.metrics import align
from deblurkit.pipeline import Progress, deblur
from deblurkit.record import rounded
from deblurkit.registry import registry
from deblurkit.scores import extra_scores, protocol_of

SHARE = 0.1
"""Share of a cell's time that scoring the steps of its curve may take."""
SMALLEST_SCORED = 64
"""Pictures whose smaller side is below this many pixels have no curve of PSNR."""


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Attributes:
        document: Plain values for JSON: ``status`` (``ok`` or ``failed``), ``error``, ``scores``, ``seconds``, ...
        image: The resulting picture (C, H, W) float32 in [0, 1], or ``None``.
        kernel: The kernel (h, w) that was found, or ``None``.
    """

    document: dict[str, Any]
    image: NDArray[np.float32] | None = None
    kernel: NDArray[np.float32] | None = None


def carry_out(cell: Cell, slot: int = 0) -> Outcome:
    """Do what a cell asks for; whatever goes wrong is its outcome.

    Args:
        cell: The cell.
        slot: Number of the worker, by which accelerators are shared out.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; what was reached so far is no outcome.
    """
    try:
        with whole():
            if cell.role == "transfer":
                return _reblurred(cell, slot)
            return _deblurred(cell, slot) if cell.config else _untouched(cell)
    except MemoryError:
        return failed("out of memory; give a smaller --crop or smaller pictures")
    except DeblurkitError as error:
        return failed(str(error))
    except Exception as error:
        return failed(f"unexpected {type(error).__name__}: {' '.join(str(error).split())}")


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Let a Ctrl-C that was heard inside, and taken for "stop with what you have", end the cell all the same.

    Raises:
        KeyboardInterrupt: If there was one.
    """
    heard = []
    previous = signal.getsignal(signal.SIGINT)
    listens = threading.current_thread() is threading.main_thread() and callable(previous)

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        assert callable(previous)
        previous(number, frame)

    if listens:
        signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        if listens:
            signal.signal(signal.SIGINT, previous)
    if heard:
        raise KeyboardInterrupt


def failed(error: str) -> Outcome:
    """The outcome of a cell that could not be carried out, and why."""
    return Outcome({"status": "failed", "error": error})


def _untouched(cell: Cell) -> Outcome:
    """Score the blurry picture."""
    sample = cell.case.load()
    set_threads(1, sample.y.numel())
    scores, notes = _scores(cell, sample.y, sample, None)
    return Outcome({"status": "ok", "scores": scores, "notes": notes}, _plain(sample.y))


def _reblurred(cell: Cell, slot: int) -> Outcome:
    """Blur a sharp picture as another pair is, and score."""
    sample = cell.case.load()
    run = cell.config["run"]
    device = choose_device(shared_out(run["device"], slot))
    threads = set_threads(run["threads"], sample.y.numel())
    start_watching(device)
    started = time.monotonic()
    result = transferred(cell, sample, device)
    seconds = time.monotonic() - started
    scores, notes = _scores(cell, result.image, sample, result.kernel)
    document = {
        "status": "ok",
        "scores": scores,
        "notes": notes,
        "torch": torch.__version__,
        "seconds": round(seconds, 3),
        "memory_bytes": peak_bytes(device),
        "device": str(device),
        "threads": threads,
    }
    kernel = None if result.kernel is None else result.kernel[0, 0].float().numpy()
    return Outcome(document, _plain(result.image), kernel)


def _deblurred(cell: Cell, slot: int) -> Outcome:
    """Deblur and score."""
    sample = cell.case.load()
    with tempfile.TemporaryDirectory() as folder:
        config = resolved(_with_kernel(cell, sample, Path(folder)), registry())
        config = replace(config, run=replace(config.run, device=shared_out(config.run.device, slot)))
        device = choose_device(config.run.device)
        start_watching(device)
        watcher = Watcher(sample)
        result = deblur(sample.y, config, listener=watcher)
        memory = peak_bytes(device)
    if result.stopped == "interrupted":
        raise KeyboardInterrupt
    if not bool(result.image.isfinite().all()):
        raise RunError(f"{cell.case.name}: the result is not finite; lower the learning rates, or restart")
    scores, notes = _scores(cell, result.image, sample, result.kernel)
    document = {
        "status": "ok",
        "scores": scores,
        "notes": notes,
        "torch": torch.__version__,
        "seconds": round(result.seconds["total"] - watcher.spent, 3),
        "memory_bytes": memory,
        "quality": {"flag": result.quality.flag, "reasons": list(result.quality.reasons)},
        "kernel_size": None if result.kernel is None else max(result.kernel.shape[-2:]),
        "attempts": result.attempts,
        "stopped": result.stopped,
        "restored": result.restored,
        "synthesised": result.synthesised,
        "device": str(device),
        "threads": result.plan.threads,
        "history": [{name: rounded(value) for name, value in row.items()} for row in result.history],
        "curve": watcher.rows,
    }
    kernel = None if result.kernel is None else result.kernel[0, 0].float().numpy()
    return Outcome(document, _plain(result.image), kernel)


def shared_out(device: str, slot: int) -> str:
    """The accelerator of a worker: several of them take turns."""
    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    return f"cuda:{slot % count}" if count > 1 else device


def _with_kernel(cell: Cell, sample: Sample, folder: Path) -> dict[str, Any]:
    """The configuration of a cell; that of an oracle with the true kernel in a file."""
    document: dict[str, Any] = {**cell.config}
    if cell.role == "oracle":
        if sample.kernel is None:
            raise UsageError(f"{cell.case.name}: has no true kernel, and so no oracle")
        path = folder / "true.npy"
        np.save(path, sample.kernel[0, 0].double().numpy())
        document["kernel_prior"] = {**document["kernel_prior"], "file": path}
    return document


def _scores(cell: Cell, image: Tensor, sample: Sample, kernel: Tensor | None) -> tuple[dict[str, float], list[str]]:
    """All scores by name, without those that cannot be had, and why a further one cannot."""
    values = protocol_of(cell.case.layout).measure(image, sample, kernel)
    notes = []
    for scorer in extra_scores(cell.extras):
        try:
            values.update(scorer.measure(image, sample))
        except RunError as error:
            notes.append(str(error))
    return {name: value for name, value in values.items() if math.isfinite(value)}, notes


def _plain(image: Tensor) -> NDArray[np.float32]:
    return image[0].detach().float().cpu().numpy()


@dataclass
class Watcher:
    """Scores the latent image now and then, so that its way can be drawn.

    It takes part only where the picture that is estimated is the whole one, and stops for a while whenever it has taken
    more than a tenth of the time. Other runs of the same cell may have other points, the result is the same.

    Attributes:
        sample: The case's pictures.
        rows: Points of the curve: ``attempt``, ``step`` and ``psnr`` (dB, aligned by the shift of least error).
        spent: Seconds that scoring took.
    """

    sample: Sample
    rows: list[dict[str, float]] = field(default_factory=list)
    spent: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def __call__(self, event: Progress) -> None:
        """Score the latent image of an event, if there is one and there is time."""
        begun = time.monotonic()
        finest = event.stage == "estimate" and event.scale == event.scales
        due = event.done % max(1, event.total // 50) == 0 or event.done == event.total
        if event.latent is None or not finest or not due or self.spent > SHARE * (begun - self.started):
            return
        truth = self.truth
        if truth is None or truth.shape != self.sample.y.shape or min(truth.shape[-2:]) < SMALLEST_SCORED:
            return
        value = self._psnr(event.latent, truth)
        if value is not None:
            self.rows.append({"attempt": event.attempt, "step": event.done, "psnr": round(value, 3)})
        self.spent += time.monotonic() - begun

    @cached_property
    def truth(self) -> Tensor | None:
        """The first true picture, read once."""
        return self.sample.truths[0] if len(self.sample.truths) else None

    @staticmethod
    def _psnr(latent: Tensor, truth: Tensor) -> float | None:
        """PSNR of a latent image whose inner part has the truth's size."""
        if latent.shape[1] != truth.shape[1]:
            truth = truth.mean(dim=1, keepdim=True)
            latent = latent.mean(dim=1, keepdim=True)
        if min(a - b for a, b in zip(latent.shape[-2:], truth.shape[-2:], strict=True)) < 0:
            return None  # a crop
        image = inner(latent, (truth.shape[-2], truth.shape[-1])).float().cpu()
        return align(image, truth, max_shift=5).psnr if bool(image.isfinite().all()) else None
