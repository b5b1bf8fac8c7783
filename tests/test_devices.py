import os

import pytest
import torch

from deblurkit import devices
from deblurkit.devices import SMALL, choose_device, set_threads
from deblurkit.errors import UsageError


@pytest.fixture(autouse=True)
def _same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have so many CUDA devices, Apple GPUs, cores and load."""

    def pretend(cuda: int = 0, mps: bool = False, cores: int = 8, load: float = 0.0) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
        monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load), raising=False)

    return pretend


def test_auto_takes_what_is_there(machine):
    machine(cuda=1, mps=True)
    assert choose_device("auto").type == "cuda"
    machine(mps=True)
    assert choose_device("auto").type == "mps"
    machine()
    assert choose_device("auto").type == "cpu"


def test_devices_that_are_named(machine):
    machine(cuda=2, mps=True)
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("mps") == torch.device("mps")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cuda", "cuda was asked for, but PyTorch sees no CUDA device here; use --device cpu or auto"),
        ("cuda:3", "cuda was asked for"),
        ("mps", "mps was asked for, but PyTorch sees no Apple GPU here; use --device cpu or auto"),
        ("toaster", "'toaster' is no device; use auto, cpu, cuda, cuda:N or mps"),
        ("", "is no device"),
        ("cuda:x", "is no device"),
        ("meta", "'meta' is not supported"),
    ],
)
def test_devices_that_are_absent(machine, name, words):
    machine()
    with pytest.raises(UsageError, match=r"^run\.device: ") as caught:
        choose_device(name)
    assert words in str(caught.value)


def test_a_cuda_device_beyond_the_last(machine):
    machine(cuda=2)
    with pytest.raises(UsageError, match="'cuda:2' is absent; there are 2 CUDA devices, from cuda:0 on"):
        choose_device("cuda:2")


@pytest.mark.parametrize("count", [1, 2])
def test_threads_that_are_asked_for(machine, count):
    machine(load=100.0)
    assert set_threads(count, SMALL * 100) == count
    assert torch.get_num_threads() == count


@pytest.mark.parametrize(
    ("cores", "load", "values", "count"),
    [
        (8, 0.0, SMALL - 1, 1),  # too little work to share
        (8, 0.0, SMALL, 4),
        (2, 0.0, SMALL, 2),
        (2, 1.0, SMALL, 1),
        (2, 9.0, SMALL, 1),
        (8, 5.0, SMALL, 3),
    ],
)
def test_threads_are_chosen_by_work_and_free_cores(machine, cores, load, values, count):
    machine(cores=cores, load=load)
    assert set_threads(0, values) == count
    assert torch.get_num_threads() == count


def test_systems_without_affinity_and_load(machine, monkeypatch):
    machine()
    monkeypatch.delattr(devices.os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(devices.os, "getloadavg", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert set_threads(0, SMALL) == 1
