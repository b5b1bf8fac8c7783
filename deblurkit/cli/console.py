"""Every line that the command line prints: the result on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from deblurkit.pipeline import Progress

PLAIN_INTERVAL = 10.0
"""Seconds between two lines of progress where nobody watches a terminal."""
LIVE_INTERVAL = 0.1
"""Seconds between two updates of the live bar; reading a loss makes an accelerator wait."""


def result(text: str) -> None:
    """Print a line of the result on stdout."""
    click.echo(text)


def document(data: Any) -> None:
    """Print exactly one JSON document on stdout."""
    click.echo(json.dumps(data, indent=2, allow_nan=False))


def note(text: str) -> None:
    """Say something on stderr."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Say on stderr that something deserves a look."""
    click.echo(_coloured("Warning: ", "yellow") + text, err=True)


def error(text: str) -> None:
    """Say on stderr that something failed."""
    click.echo(_coloured("Error: ", "red") + text, err=True)


def _coloured(text: str, colour: str) -> str:
    """Colour a word, unless https://no-color.org is asked for; click takes the colour away where no terminal is."""
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=colour)


class Interruption:
    """What Ctrl-C means during a batch: first "stop with what you have", then "stop now".

    Use it as a context manager. The first Ctrl-C lets the step at hand end; :meth:`check` then ends the estimation, and
    the rest of the picture's work is done with what was reached. A second one raises ``KeyboardInterrupt``.

    Attributes:
        asked: Whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._postponed = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        # python hears signals in its main thread only; under nohup they are ignored on purpose
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if previous is not signal.SIG_IGN:
                self._previous = previous
                signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def check(self, event: Progress) -> None:
        """End the estimation of a picture if Ctrl-C was pressed; what follows it is done all the same.

        Raises:
            KeyboardInterrupt: If so; the pipeline takes it for "stop with what you have".
        """
        if self.asked and event.stage in ("size", "estimate", "refine", "compare"):
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """Let nothing interrupt what must be whole, such as the files of one result."""
        self._postponed = True
        try:
            yield
        finally:
            self._postponed = False

    def _heard(self, number: int, frame: object) -> None:
        del number, frame
        if self.asked and not self._postponed:
            raise KeyboardInterrupt
        if not self.asked:
            # print would fail if the signal came in the middle of another one
            with contextlib.suppress(OSError):
                os.write(2, b"\nStopping with the best so far; press Ctrl-C again to give it up.\n")
        self.asked = True


class ProgressDisplay:
    """Progress of one picture: a live bar on a terminal, a plain line every ten seconds elsewhere.

    Use it as a context manager and hand :meth:`update` to the pipeline as its listener.
    """

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self.title = title
        self.quiet = quiet
        self.live: Any = None
        self.task: Any = None
        self.stage_key: tuple[str, int, int] | None = None
        self.started = self.stage_started = self.shown = time.monotonic()

    def __enter__(self) -> Self:
        if not self.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            from rich import progress as rich
            from rich.console import Console

            self.live = rich.Progress(
                rich.TextColumn("{task.description}"),
                rich.BarColumn(bar_width=24),
                rich.MofNCompleteColumn(),
                rich.TextColumn("{task.fields[loss]}"),
                rich.TextColumn("{task.fields[rate]}"),
                rich.TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self.live.start()
            self.task = self.live.add_task(self.title, total=None, loss="", rate="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def update(self, event: Progress) -> None:
        """Show a sign of life, if the last one was long enough ago."""
        if self.quiet:
            return
        now = time.monotonic()
        key = (event.stage, event.attempt, event.scale)
        fresh = key != self.stage_key
        if fresh:
            self.stage_key, self.stage_started = key, now
        if not fresh and now - self.shown < (PLAIN_INTERVAL if self.live is None else LIVE_INTERVAL):
            return
        if fresh and self.live is None and now - self.shown < PLAIN_INTERVAL:
            return
        self.shown = now
        loss = "" if event.loss is None else f"loss {float(event.loss):.2e}"
        seconds = now - self.stage_started
        rate = f"{event.done / seconds:.1f}/s" if seconds > 0.5 and event.done else ""
        if self.live is None:
            note("  ".join(filter(None, [self._where(event), loss, f"{now - self.started:.0f} s"])))
        else:
            if fresh:
                self.live.reset(self.task, total=event.total)
            self.live.update(
                self.task,
                description=f"{self.title}: {self._stage(event)}",
                completed=event.done,
                total=event.total,
                loss=loss,
                rate=rate,
            )

    @staticmethod
    def _stage(event: Progress) -> str:
        attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
        scale = f" scale {event.scale}/{event.scales}" if event.scales > 1 else ""
        return f"{event.stage}{scale}{attempt}"

    def _where(self, event: Progress) -> str:
        return f"{self.title}: {self._stage(event)}  step {event.done}/{event.total}"
