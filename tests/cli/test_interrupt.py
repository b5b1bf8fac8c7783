"""Ctrl-C: first "stop with the best so far", then "stop now"."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from deblurkit.cli import console
from deblurkit.pipeline import Progress
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

LONG = (
    *("--recipe", "selfdeblur", "--kernel-size", "9", "--threads", "1", "--image-prior.channels", "8"),
    *("--image-prior.scales", "2", "--image-prior.skip-channels", "4", "--optimizer.iterations", "1000000"),
)
PATIENCE = 60.0


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    y = blur_by_definition(cartoon(1, 1, (38, 48)), curved_kernel((7, 9)))
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.fromarray((y[0, 0] * 255).round().to(torch.uint8).numpy()).save(path)
    return paths


class Running:
    """The command in a process of its own, which says when its first step is done."""

    def __init__(self, folder: Path, *args: str) -> None:
        # the first step is announced by a file, so that the signal does not come too early
        code = (
            "import pathlib, sys\n"
            "from deblurkit.cli import console, main\n"
            "real = console.ProgressDisplay.update\n"
            "def update(self, event):\n"
            "    real(self, event)\n"
            "    if event.done > 3: pathlib.Path(sys.argv[1]).touch()\n"
            "console.ProgressDisplay.update = update\n"
            "sys.exit(main(sys.argv[2:]))\n"
        )
        self.sign = folder / "started"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(self.sign), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def wait_for_steps(self) -> None:
        ends = time.monotonic() + PATIENCE
        while not self.sign.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < ends, "no step was done"
            time.sleep(0.05)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@pytest.fixture
def start(tmp_path):
    with contextlib.ExitStack() as stack:

        def begin(*args: str) -> Running:
            running = Running(tmp_path, *args)
            stack.callback(running.process.kill)
            return running

        yield begin


def test_ctrl_c_writes_the_best_so_far_and_ends_the_batch(start, deblurkit, tmp_path, pictures):
    running = start("run", *map(str, pictures), "-o", str(tmp_path / "out"), *LONG)
    running.wait_for_steps()
    running.interrupt()
    code, out, err = running.end()
    assert code == 130
    assert out == f"{tmp_path / 'out' / 'a.png'}\n"
    assert "Stopping with the best so far; press Ctrl-C again to give it up." in err
    assert "a.png: the estimation ended early (interrupted); the best image so far was written" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.kernel.npy", "a.kernel.png", "a.png"]
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.size == (40, 32)
    # and the rest is done another time
    done = deblurkit(
        *("run", *map(str, pictures), "-o", str(tmp_path / "out"), "--resume", "--kernel-size", "9", "--threads", "1")
    )
    assert done.code == 0, done.err
    assert done.out == f"{tmp_path / 'out' / 'b.png'}\n"


class Interrupting:
    """Stands in for the progress display, and presses Ctrl-C at chosen signs of life."""

    def __init__(self, monkeypatch, *moments) -> None:
        self.moments = list(moments)
        monkeypatch.setattr(console.ProgressDisplay, "update", lambda display, event: self.update(event))

    def update(self, event: Progress) -> None:
        if self.moments and self.moments[0](event):
            self.moments.pop(0)
            signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_gives_the_picture_up(deblurkit, pictures, monkeypatch):
    Interrupting(monkeypatch, lambda event: event.done == 3, lambda event: event.stage == "judge")
    done = deblurkit("run", *map(str, pictures), "--json", *LONG)
    assert done.code == 130
    assert f"{pictures[0]}: interrupted; nothing was written for it" in done.err
    assert '"exit_code": 130' in done.out
    assert sorted(path.name for path in pictures[0].parent.iterdir()) == ["a.png", "b.png"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_while_the_kernel_size_is_sought_gives_the_picture_up(deblurkit, pictures, monkeypatch):
    Interrupting(monkeypatch, lambda event: event.stage == "size")
    done = deblurkit("run", *map(str, pictures), *LONG, "--kernel-size", "auto")
    assert done.code == 130
    assert "nothing was written for it" in done.err
    assert len(list(pictures[0].parent.iterdir())) == 2


def test_ctrl_c_at_a_coarse_scale_still_gives_a_picture(deblurkit, pictures, monkeypatch):
    y = blur_by_definition(cartoon(1, 1, (70, 80)), curved_kernel((7, 9)))
    Image.fromarray((y[0, 0] * 255).round().to(torch.uint8).numpy()).save(pictures[0])
    Interrupting(monkeypatch, lambda event: event.scales > 1 and event.done == 1)
    done = deblurkit("run", str(pictures[0]), "--largest-kernel", "9", "--threads", "1", "--scales", "3")
    assert done.code == 130, done.err
    assert done.out == f"{pictures[0].with_name('a.deblurred.png')}\n"
    assert "ended early (interrupted)" in done.err


def test_ctrl_c_after_the_estimation_lets_the_picture_be_finished(deblurkit, pictures, monkeypatch):
    Interrupting(monkeypatch, lambda event: event.stage == "judge")
    done = deblurkit("run", *map(str, pictures), "--kernel-size", "9", "--threads", "1")
    assert done.code == 130
    assert done.out == f"{pictures[0].with_name('a.deblurred.png')}\n"
    assert not pictures[1].with_name("b.deblurred.png").exists()


def test_results_are_written_whole_however_often_ctrl_c_is_pressed(deblurkit, pictures, monkeypatch):
    from deblurkit.cli import batch

    real = batch.write_kernel

    def pressed(*args):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        real(*args)

    monkeypatch.setattr(batch, "write_kernel", pressed)
    done = deblurkit("run", *map(str, pictures), "--kernel-size", "9", "--threads", "1")
    assert done.code == 130
    assert sorted(path.name for path in pictures[0].parent.glob("a.deblurred*")) == [
        *("a.deblurred.kernel.npy", "a.deblurred.kernel.png", "a.deblurred.png")
    ]


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with console.Interruption() as interruption:
            signal.raise_signal(signal.SIGINT)
        assert not interruption.asked
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_heard_while_a_plain_restoration_is_made_for_comparison():
    with console.Interruption() as interruption:
        interruption.check(Progress("compare"))
        signal.raise_signal(signal.SIGINT)
        for stage in ("size", "estimate", "refine", "compare"):
            with pytest.raises(KeyboardInterrupt):
                interruption.check(Progress(stage))
        interruption.check(Progress("judge"))
