import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from deblurkit.core.executor import Finished
from deblurkit.errors import ConfigError, DeblurkitError, RunError, UsageError
from deblurkit.executors import local, trials
from deblurkit.executors.in_process import InProcess
from deblurkit.executors.local import Local
from deblurkit.executors.plugin import LocalParams
from deblurkit.params import Params

LONG = 600.0


def gone(pid: int, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
            # a zombie whose parent does not ask for it is dead too
            if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def begun(folder, task):
    return len(list(folder.glob(f"{task}.*.begun")))


@pytest.mark.parametrize("retries", [0, 2])
def test_a_deadly_task_fails_after_its_retries_and_the_others_do_not(tmp_path, retries):
    work = partial(trials.die, tmp_path, (1, 4), 99)
    done = {one.index: one for one in Local(LocalParams(retries=retries), jobs=2).run(work, range(6))}
    cause = "its worker died 3 times (killed by signal 9)" if retries else "its worker died (killed by signal 9)"
    assert done == {task: Finished(task, error=cause) if task in (1, 4) else Finished(task, task) for task in range(6)}
    assert [begun(tmp_path, task) for task in range(6)] == [retries + 1 if task in (1, 4) else 1 for task in range(6)]


def test_a_worker_that_ends_by_itself_says_so():
    (done,) = Local(LocalParams(retries=0)).run(partial(trials.leave, 7), [0])
    assert done.error == "its worker died (exit 7)"


def test_a_death_between_two_tasks_costs_nothing(tmp_path):
    with closing(Local(LocalParams(retries=0)).run(partial(trials.linger, tmp_path), [0.0, 0.0])) as arriving:
        first = next(arriving).value
        os.kill(first, signal.SIGKILL)
        # its first thread can be a zombie while another one still ends; only now the system calls it dead
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        second = next(arriving)
        assert second.error == ""
        assert second.value != first
        assert list(arriving) == []


def test_workers_stay_for_many_tasks_and_have_one_slot_each():
    found = {one.value for one in Local(LocalParams(), jobs=2).run(trials.slot_of, [0.01] * 12)}
    assert len(found) == 2
    assert {slot for _, slot in found} == {0, 1}
    assert os.getpid() not in {pid for pid, _ in found}


def test_what_a_worker_prints_does_not_reach_stdout(capfd):
    list(Local(LocalParams()).run(trials.shout, ["a word"]))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "a word\n")


def test_workers_import_no_torch_unless_their_work_does():
    (done,) = Local(LocalParams()).run(trials.imported, [("torch", "numpy")])
    assert done.value == []


def test_a_process_that_the_work_left_behind_holds_nothing_up(tmp_path):
    """It keeps the pipes open, so that nothing stirs when the worker dies."""
    started = time.monotonic()
    (done,) = Local(LocalParams(retries=0)).run(partial(trials.leave_a_child, tmp_path), [30.0])
    child = int(next(tmp_path.iterdir()).name)
    try:
        assert done.error == "its worker died (killed by signal 9)"
        assert time.monotonic() - started < 10
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_system_has_no_process_left(monkeypatch):
    def refuse(self):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", refuse)
    with pytest.raises(RunError, match=r"no worker process can be started: Resource temp.*; take fewer --jobs"):
        list(Local(LocalParams()).run(trials.double, [1]))


def test_ctrl_c_is_heard_once_and_the_workers_are_stopped(tmp_path):
    """The signal reaches the whole group, as from a terminal."""
    program = (
        "import sys\nfrom functools import partial\nfrom pathlib import Path\n"
        "from deblurkit.executors import trials\n"
        "from deblurkit.executors.local import Local\nfrom deblurkit.executors.plugin import LocalParams\n"
        f"work = partial(trials.linger, Path({str(tmp_path)!r}))\n"
        "try:\n"
        f"    for one in Local(LocalParams(), jobs=2).run(work, [0.0, {LONG}, {LONG}]):\n"
        "        print('kept', one.index, flush=True)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "kept 0\n"
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "interrupted\n", "")
    assert all(gone(int(path.name)) for path in tmp_path.iterdir())


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_their_parent(tmp_path, end):
    program = (
        "from functools import partial\nfrom pathlib import Path\n"
        "from deblurkit.executors import trials\n"
        "from deblurkit.executors.local import Local\nfrom deblurkit.executors.plugin import LocalParams\n"
        f"list(Local(LocalParams(), jobs=2).run(partial(trials.linger, Path({str(tmp_path)!r})), [{LONG}, {LONG}]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    process.send_signal(end)
    process.wait(10)
    assert all(gone(int(path.name)) for path in tmp_path.iterdir())


def test_an_iterator_that_nobody_closed_does_not_hold_the_program(tmp_path):
    program = (
        "from deblurkit.executors import trials\n"
        "from deblurkit.executors.local import Local\nfrom deblurkit.executors.plugin import LocalParams\n"
        f"kept = Local(LocalParams(), jobs=2).run(trials.slot_of, [0.0, {LONG}])\n"
        "print(next(kept).index)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def wait_for(holds, seconds=15.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


@pytest.mark.parametrize("kind", [InProcess, Local])
@pytest.mark.parametrize("jobs", [0, -1])
def test_there_must_be_a_worker(kind, jobs):
    with pytest.raises(UsageError, match=f"jobs: must be at least 1, not {jobs}"):
        kind(LocalParams() if kind is Local else Params(), jobs=jobs)


def test_retries_cannot_be_negative():
    with pytest.raises(ConfigError, match=r"retries: must be an integer with x>=0, not -1"):
        LocalParams(retries=-1)


def test_in_process_goes_one_by_one_and_lets_ctrl_c_through():
    def work(task, slot):
        if task == 2:
            raise KeyboardInterrupt
        raise SystemExit("enough")

    arriving = InProcess(Params()).run(work, range(3))
    assert next(arriving) == Finished(0, error="unexpected SystemExit: enough")
    next(arriving)
    with pytest.raises(KeyboardInterrupt):
        next(arriving)


def test_in_process_has_one_worker():
    with pytest.raises(UsageError, match="'in-process' has one worker, not 2; take --executor local, or --jobs 1"):
        InProcess(Params(), jobs=2)
    assert issubclass(UsageError, DeblurkitError)
    assert local.GLANCE < 5
