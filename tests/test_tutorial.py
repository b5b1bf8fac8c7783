"""The tutorial's commands, one after the other, do what it says and print what it shows."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from deblurkit.cli import main
from deblurkit.errors import ExitCode

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "tutorial.md"
TEXT = FILE.read_text(encoding="utf-8") if FILE.is_file() else ""
BRIEF = ("--largest-kernel", "11", "--starts", "1", "--restarts", "0", "--polish", "0")
STUDY = "tutorial/study.toml"

pytestmark = pytest.mark.skipif(not TEXT, reason="docs/ lies only in a checkout")


def blocks():
    """The code blocks as language and lines."""
    return [(one, text.splitlines()) for one, text in re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.M | re.S)]


def shell_lines():
    return [shlex.split(line) for language, lines in blocks() if language == "sh" for line in lines]


def shortened(words):
    """A command, with what makes it quick on a small picture."""
    words = ["96" if word == "200" else word for word in words]
    return [*words, *BRIEF] if words[0] in ("run", "benchmark") else words


def carry_out(capsys, shorten):
    """Carry all blocks out; yield the lines that the tutorial shows, and those that were printed."""
    printed = ""
    for language, lines in blocks():
        if language == "toml":
            small = "[run]\nlargest_kernel = 11\nstarts = 1\nrestarts = 0\npolish = 0\n\n"
            head, variants = "\n".join(lines).split("\n\n", 1)
            Path(STUDY).write_text(f"{head}\n\n{small if shorten else ''}{variants}\n")
        elif language == "text":
            yield lines, printed.splitlines()
        else:
            printed = ""
            for words in map(shlex.split, lines):
                if words[0] != "deblurkit":
                    assert words[0] in ("cp", "mkdir")
                    subprocess.run(words, check=True)
                    continue
                code = main(shortened(words[1:]) if shorten else words[1:])
                out, err = capsys.readouterr()
                assert code == ExitCode.DONE, err
                printed += out


def cells(line):
    """The words of a line; a table's columns stand two spaces apart."""
    return re.split(r"\s{2,}", line.strip())


def copy_sample(into, box):
    """Put the sample's files where the tutorial has them, the pictures cut."""
    from PIL import Image

    (into / "tests" / "data").mkdir(parents=True)
    for name in ("sample_blurry.png", "sample_sharp.png"):
        with Image.open(ROOT / "tests" / "data" / name) as picture:
            picture.crop(box or (0, 0, *picture.size)).save(into / "tests" / "data" / name)
    shutil.copy(ROOT / "tests" / "data" / "sample_kernel.npy", into / "tests" / "data")


def test_every_command_does_what_the_text_says(tmp_path, monkeypatch, capsys):
    copy_sample(tmp_path, (110, 50, 280, 190))
    monkeypatch.chdir(tmp_path)
    compared = 0
    for shown, printed in carry_out(capsys, shorten=True):
        rows = [cells(line) for line in printed if line.strip()]
        for line in map(cells, shown):
            if line[0] in ("variant", "result"):
                assert any(row[: len(line)] == line for row in rows), (line, rows)
            else:
                alike = [row for row in rows if row[0] == line[0]]
                assert alike, f"not printed: {line[0]}"
                assert any(len(row) >= len(line) for row in alike)
            compared += 1
    assert compared > 15
    for name in re.findall(r"`(tutorial/[\w./]+)`", TEXT):
        assert Path(name).exists() or Path(name).is_dir(), name
    page = Path("tutorial/study.html").read_text()
    assert "<script" in page
    assert not re.search(r"(src|href)=\"https?:", page)
    before = {path: path.stat().st_mtime_ns for path in Path("tutorial/runs/study/cells").rglob("*") if path.is_file()}
    again = ["ablate", STUDY, "-o", "tutorial/runs/study", "-q"]
    assert main(again) == ExitCode.DONE or "failed" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing is computed twice"


@pytest.mark.slow
def test_the_numbers_are_real(tmp_path, monkeypatch, capsys):
    """What is printed with the whole sample is what the tutorial shows, up to the processor's rounding."""
    copy_sample(tmp_path, None)
    monkeypatch.chdir(tmp_path)
    for shown, printed in carry_out(capsys, shorten=False):
        left = [line for line in printed if line.strip()]
        for line in shown:
            alike = [one for one in left if cells(one)[0] == cells(line)[0] and len(cells(one)) >= len(cells(line))]
            assert alike, (line, printed)
            same = alike[0]
            left.remove(same)
            for ours, theirs in zip(cells(line), cells(same), strict=False):
                numbers = [[float(x) for x in re.findall(r"[+-]?\d+\.\d+", text)] for text in (ours, theirs)]
                assert numbers[0] == pytest.approx(numbers[1], abs=0.3), (line, same)


def test_the_study_is_short_and_the_parts_exist():
    ((_, lines),) = [block for block in blocks() if block[0] == "toml"]
    assert len([line for line in lines if line]) <= 12
    assert len(tomllib.loads("\n".join(lines))["variant"]) == 3


def test_every_command_of_the_project_that_the_title_promises_is_in_it():
    used = {words[1] for words in shell_lines() if words[0] == "deblurkit"}
    assert {"run", "metrics", "deconvolve", "list", "benchmark", "ablate"} <= used
