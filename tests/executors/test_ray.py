"""A cluster on this machine, started once by the executor's own means; every test here connects to it."""

import socket
import subprocess
import sys
import threading
import warnings
from functools import partial

import pytest

pytest.importorskip("ray", reason="Ray is not installed; it is the extra 'ray'")

from deblurkit.core.executor import Finished
from deblurkit.errors import ConfigError, RunError, UsageError
from deblurkit.executors import ray as room
from deblurkit.executors import trials
from deblurkit.executors.plugin import RayParams
from deblurkit.executors.ray import Ray
from deblurkit.registry import registry
from deblurkit.testing import ExecutorContract


@pytest.fixture(scope="module")
def cluster():
    """Two workers, which every executor then finds instead of starting its own."""
    import ray

    with room._cluster("", 2) as made:
        yield made
    assert not ray.is_initialized()


@pytest.mark.usefixtures("cluster")
class TestContract(ExecutorContract):
    spec = registry().spec("executor", "ray")
    patience = 20.0


def test_a_deadly_task_fails_after_its_retries_and_the_others_do_not(cluster, tmp_path, capfd):
    work = partial(trials.die, tmp_path, (1, 4), 99)
    done = {one.index: one for one in Ray(RayParams(retries=1), jobs=2).run(work, range(6))}
    error = "its worker died 2 times"
    assert done == {task: Finished(task, error=error) if task in (1, 4) else Finished(task, task) for task in range(6)}
    begun = [len(list(tmp_path.glob(f"{task}.*.begun"))) for task in range(6)]
    assert begun == [2 if task in (1, 4) else 1 for task in range(6)]
    # Ray's own words about dead workers would spoil the result of a command
    assert capfd.readouterr() == ("", "")


def test_a_connection_that_was_there_before_stays(cluster):
    import ray

    assert [one.value for one in Ray(RayParams(), jobs=1).run(trials.double, [4])] == [8]
    assert ray.is_initialized()


def test_workers_find_the_modules_that_this_process_finds(cluster, tmp_path, monkeypatch):
    (tmp_path / "of_the_user.py").write_text("def triple(task, slot):\n    return 3 * task\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import of_the_user

    (done,) = Ray(RayParams()).run(of_the_user.triple, [4])
    assert (done.value, done.error) == (12, "")


def test_a_function_of_the_script_itself_may_be_the_work(cluster):
    namespace = {"__name__": "__main__"}
    exec("def work(task, slot):\n    return task + 1", namespace)
    (done,) = Ray(RayParams()).run(namespace["work"], [1])
    assert (done.value, done.error) == (2, "")


def test_gpus_of_the_cluster_are_shared_and_seen_as_the_first(cluster):
    class Rich:
        """Ray as it would be with two GPUs."""

        def __getattr__(self, name):
            return getattr(cluster.ray, name)

        @staticmethod
        def cluster_resources():
            return {"CPU": 8.0, "GPU": 2.0}

    assert [room._Cluster(Rich(), jobs).share for jobs in (1, 2, 3, 4, 5)] == [1.0, 1.0, 0.5, 0.5, 1 / 3]
    assert cluster.share == 0.0


@pytest.mark.parametrize("prefix", ["", "ray://"])
@pytest.mark.parametrize(("answer", "cause"), [(None, "no answer within 1 seconds"), (b"HTTP/1.1 400 no", "is no Ray")])
def test_an_address_of_something_else(monkeypatch, prefix, answer, cause):
    monkeypatch.setattr(room, "PATIENCE", 1.0 if answer is None else 5.0)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        address = f"{prefix}127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(RunError) as error:
            list(Ray(RayParams(address=address)).run(trials.double, [1]))
    text = str(error.value)
    assert text.startswith(f"executor.address: no Ray cluster at {address} (")
    assert cause in text
    assert text.endswith("; start one by 'ray start --head', or leave the address out")


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "auto"])
def test_an_address_where_nobody_is(address, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(RunError, match=r"executor.address: no Ray cluster at .* \(Connection refused\); start one"):
        list(Ray(RayParams(address=address.format(port=port))).run(trials.double, [1]))


def test_a_cluster_that_refuses_us_is_not_said_to_be_absent():
    def refuse(**settings):
        raise ConnectionError("Failed to connect.\nlong words")

    with pytest.raises(RunError, match=r"at h:1 takes no connection \(Failed to connect\); .*RAY_AUTH_TOKEN\)$"):
        room._connect(refuse, {"address": "h:1"})
    with pytest.raises(RunError, match=r"no Ray cluster at auto \(Failed to connect\); start one"):
        room._connect(refuse, {"address": "auto"})
    with pytest.raises(RunError, match=r"executor 'ray': no cluster can be started: Failed to connect\."):
        room._connect(refuse, {"address": "local"})


@pytest.mark.parametrize("address", ["the moon", "host", "host:", "host:port", "http://host:1", "ray://host"])
def test_an_address_that_is_none(address):
    with pytest.raises(UsageError, match=r"executor.address: must be auto, HOST:PORT, ray://HOST:PORT or empty, not "):
        Ray(RayParams(address=address))


def test_bad_numbers():
    with pytest.raises(ConfigError, match=r"retries: must be an integer with x>=0, not -1"):
        RayParams(retries=-1)
    with pytest.raises(UsageError, match="jobs: must be at least 1, not 0"):
        Ray(RayParams(), jobs=0)


def test_without_ray_the_cure_is_named():
    program = (
        "import sys\nsys.modules['ray'] = None\n"
        "from deblurkit.executors.ray import Ray\nfrom deblurkit.executors.plugin import RayParams\n"
        "try:\n    Ray(RayParams(), jobs=2)\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "UsageError executor 'ray': Ray is not installed; pip install 'deblurkit[ray]'\n"


def test_what_ray_says_of_its_future_is_not_passed_on():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with room._quiet():
            warnings.warn("soon", FutureWarning, stacklevel=1)
            warnings.warn("real", UserWarning, stacklevel=1)
    assert [str(one.message) for one in seen] == ["real"]
