"""A worker of a benchmark is killed in the middle: nothing is lost, nothing done twice, the table is the same."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from tiny_levin import QUICK, without_costs, write

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="finds the workers in /proc, as Linux has it"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("levin") / "set", kernels=(1, 2, 3))


def command(data, folder, *args):
    sizes = ("--sizes", "auto", "--format", "json")
    return [sys.executable, "-m", "deblurkit", "benchmark", str(data), "-o", str(folder), *QUICK, *sizes, *args]


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """The table of one process."""
    folder = tmp_path_factory.mktemp("alone")
    return json.loads(subprocess.run(command(data, folder), capture_output=True, text=True, check=True).stdout)


def descendants(pid):
    """Processes below a process, with their command lines."""
    parents, lines = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            lines[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
    found, todo = {}, [pid]
    while todo:
        here = todo.pop()
        below = [child for child, parent in parents.items() if parent == here]
        found.update({child: lines[child] for child in below})
        todo += below
    return found


@pytest.mark.parametrize(
    ("args", "worker"),
    [
        (("--jobs", "2"), ".*spawn_main"),
        pytest.param(("--jobs", "2", "--executor", "ray"), "ray::_carry_out", id="ray"),
    ],
)
def test_a_killed_worker_changes_nothing(data, alone, tmp_path, args, worker):
    if "ray" in worker:
        pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    running = subprocess.Popen(
        command(data, tmp_path, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while not list(tmp_path.glob("cells/*/cell.json")) and time.monotonic() < until and running.poll() is None:
        time.sleep(0.01)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*/cell.json")}
    lines = descendants(running.pid).items()
    workers = [pid for pid, line in lines if re.match(worker, line)]
    assert workers, "there is somebody to kill"
    os.kill(workers[0], signal.SIGKILL)
    out, err = running.communicate(timeout=240)
    assert running.returncode == 0, err
    assert 0 < len(kept) < 18, "it was killed in the middle"
    assert without_costs(json.loads(out)) == without_costs(alone)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was finished is not done twice"
    assert len(list(tmp_path.glob("cells/*/cell.json"))) == 18
    assert err.count("(18/18") == 1
