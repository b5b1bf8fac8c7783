"""Progress: a live bar on a terminal, a plain line every ten seconds elsewhere."""

import os
import pty
import re
import select
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
    *("--restarts", "0", "--overwrite"),
)
BUDGETS = ("2.5", "10", "40")
"""Seconds to run for: the next one where a busy machine needed the first for starting up."""


@pytest.fixture
def picture(tmp_path) -> Path:
    y = blur_by_definition(cartoon(1, 1, (38, 48)), curved_kernel((7, 9)))
    Image.fromarray((y[0, 0] * 255).round().to(torch.uint8).numpy()).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(console.time, "monotonic", lambda: Clock.now)
    return Clock


def on_a_terminal(picture: Path, *args: str, **environment: str) -> tuple[int, str, str]:
    """Run the command with a terminal as its stderr; exit code, stdout, and all that the terminal got."""
    leader, follower = pty.openpty()
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    process = subprocess.Popen(
        [sys.executable, "-m", "deblurkit", "run", str(picture), *args],
        stdout=subprocess.PIPE,
        stderr=follower,
        stdin=subprocess.DEVNULL,
        env={**env, "TERM": "xterm-256color", "COLUMNS": "140", "OMP_NUM_THREADS": "1", **environment},
    )
    os.close(follower)
    seen, ends = b"", time.monotonic() + 60
    while time.monotonic() < ends:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the terminal is closed
                break
            if not part:
                break
            seen += part
    out = process.communicate(timeout=30)[0]
    os.close(leader)
    return process.returncode, out.decode(), seen.decode()


def screen(text: str) -> list[str]:
    """What is left on a terminal after its cursor went up and lines were erased."""
    lines, row, column = [""], 0, 0
    for escape, letter in re.findall(r"\x1b\[([0-9;?]*[A-Za-z])|(\r|\n|[^\x1b])", text):
        if escape.endswith("A"):
            row = max(0, row - int(escape[:-1] or 1))
        elif escape.endswith("K"):
            lines[row] = "" if escape.startswith("2") else lines[row][:column]
        elif letter == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif letter == "\r":
            column = 0
        elif letter:
            lines[row] = lines[row].ljust(column)[:column] + letter + lines[row][column + 1 :]
            column += 1
    return [line.strip() for line in lines if line.strip()]


def test_a_live_bar_appears_on_a_terminal_and_is_gone_afterwards(picture):
    for budget in BUDGETS:
        code, out, seen = on_a_terminal(picture, *LONG, "--time-budget", budget)
        assert code == 0, seen
        assert out == f"{picture.with_name('a.deblurred.png')}\n"
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
        if re.search(r"\d+\.\d/s", plain):
            break
    assert "a.png: estimate" in plain
    assert re.search(r"\d+/1000000", plain), "steps"
    assert re.search(r"loss \d\.\d\de[-+]\d\d", plain)
    assert re.search(r"\d+\.\d/s", plain), "rate"
    assert re.search(r"\d+:\d\d:\d\d", plain), "time that is left"
    assert "\x1b[?25h" in seen, "the cursor is back"
    left = screen(seen)
    assert all(line.startswith("Warning: ") for line in left), left
    assert any("ended early (time budget)" in line for line in left)
    assert "\x1b[33mWarning: " in seen


def test_no_color_takes_the_colours_away_but_not_the_bar(picture):
    for budget in BUDGETS:
        _, _, seen = on_a_terminal(picture, *LONG, "--time-budget", budget, NO_COLOR="1")
        if "a.png: estimate" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen):
            break
    assert "a.png: estimate" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    colours = [code for code in re.findall(r"\x1b\[([0-9;]*)m", seen) if re.search(r"(^|;)[34]\d", code)]
    assert colours == []


@pytest.mark.parametrize(("quiet", "terminal"), [(True, "xterm"), (False, "dumb")])
def test_where_a_bar_is_not_wanted_or_cannot_be_drawn_there_is_none(capsys, monkeypatch, quiet, terminal):
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with console.ProgressDisplay("a.png", quiet=quiet) as display:
        assert display.live is None
        display.update(Progress("estimate", done=5, total=9))
    assert capsys.readouterr().err == ""


def test_elsewhere_a_plain_line_every_ten_seconds(capsys, clock):
    with console.ProgressDisplay("a.png (1/2)") as display:
        for second in range(35):
            clock.now = 100.0 + second
            loss = torch.tensor(0.0123)
            display.update(Progress("estimate", 1, 2, 7, done=second, total=60, loss=loss))
        clock.now = 136.0
        display.update(Progress("restore", done=1, total=4))
        clock.now = 141.0
        display.update(Progress("restore", done=2, total=4))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "a.png (1/2): estimate scale 2/7  step 10/60  loss 1.23e-02  10 s",
        "a.png (1/2): estimate scale 2/7  step 20/60  loss 1.23e-02  20 s",
        "a.png (1/2): estimate scale 2/7  step 30/60  loss 1.23e-02  30 s",
        "a.png (1/2): restore  step 2/4  41 s",
    ]


def test_new_stages_are_no_reason_for_a_line(capsys, clock):
    with console.ProgressDisplay("a.png") as display:
        for scale in range(8):
            clock.now += 1.0
            display.update(Progress("estimate", 1, scale + 1, 8))
    assert capsys.readouterr().err == ""


def test_further_attempts_are_named(capsys, clock):
    with console.ProgressDisplay("a.png") as display:
        clock.now += 11.0
        display.update(Progress("estimate", 2, 1, 1, done=5, total=9))
    assert capsys.readouterr().err == "a.png: estimate, attempt 2  step 5/9  11 s\n"


def test_quiet_prints_nothing(capsys, clock):
    with console.ProgressDisplay("a.png", quiet=True) as display:
        clock.now += 100.0
        display.update(Progress("estimate", done=5, total=9))
    assert capsys.readouterr() == ("", "")


def test_losses_are_read_only_when_they_are_shown(clock):
    class Loss:
        reads = 0

        def __float__(self) -> float:
            Loss.reads += 1
            return 1.0

    with console.ProgressDisplay("a.png") as display:
        for step in range(1100):
            clock.now += 0.02
            display.update(Progress("estimate", done=step, total=1000, loss=Loss()))
    assert Loss.reads == 2


def test_nothing_but_plain_text_reaches_a_pipe(picture, deblurkit):
    done = deblurkit("run", str(picture), *LONG, "--time-budget", "0.2")
    assert done.code == 0
    assert "\x1b" not in done.err + done.out
