"""The command train-kernel-space: settings and files, resuming after kill -9, several processes."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.cli.train_kernel_space import read_settings
from deblurkit.errors import ConfigError
from deblurkit.kernel_space.settings import Sources
from deblurkit.kernel_space.training_state import read_checkpoint
from deblurkit.nets.kernel_space import weights
from deblurkit.nets.kernel_space.header import read_header
from deblurkit.nets.kernel_space.weights import load_space

TINY = Path(__file__).parents[1] / "data" / "tiny_space.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SETTINGS = (
    *("--preset", "tiny", "--iterations", "20", "--kernel-iterations", "10", "--batch", "2", "--kernel-batch", "4"),
    *("--crop", "24", "--log-every", "5", "--validate-every", "10", "--validation-examples", "2", "--codes", "4"),
    *("--validation-share", "0.3", "--checkpoint-every", "6", "--threads", "1", "--device", "cpu"),
)


@pytest.fixture
def pairs(tmp_path):
    """Write four pairs of noise and of its mean over 3 x 3 pixels."""
    generator = np.random.default_rng(0)
    for index in range(4):
        sharp = generator.integers(0, 256, (34, 34, 3)).astype(np.float64)
        blurry = np.mean([np.roll(sharp, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)], 0)
        for name, picture in (("sharp", sharp), ("blur", blurry)):
            path = tmp_path / "pairs" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.astype(np.uint8)).save(path)
    return tmp_path / "pairs"


@pytest.fixture
def train(deblurkit, monkeypatch):
    monkeypatch.syspath_prepend(str(TINY.parent))
    monkeypatch.setitem(weights.PRESETS, "tiny", "tiny_space:TinySpace")
    return lambda *args: deblurkit("train-kernel-space", *map(str, args))


def test_a_space_comes_out_with_its_card_and_its_log(train, tmp_path, pairs):
    out = tmp_path / "out" / "space.safetensors"
    done = train(pairs, "-o", out, *SETTINGS, "--seed", "5")
    assert done.code == 0, done.err
    assert done.out == f"{out}\n"
    assert "Trained 30 steps, validation" in done.err
    lines = (out.parent / "space.log").read_text().splitlines()
    assert [line for line in lines if line in done.err.splitlines()] == lines
    assert sum("  loss " in line for line in lines) == 6
    card = read_header(out).card
    assert card["seed"] == "5"
    assert card["data"].startswith("pairs: pairs")
    assert float(card["validation_psnr"]) > 0
    assert load_space(out).statistics is not None


def test_nothing_is_replaced_unasked(train, tmp_path, pairs):
    out = tmp_path / "space.safetensors"
    assert train(pairs, "-o", out, *SETTINGS, "-q").code == 0
    again = train(pairs, "-o", out, *SETTINGS)
    assert again.code == 2
    assert "space.last.pt: is the state of an earlier training; continue it by --resume" in again.err
    resumed = train(pairs, "-o", out, *SETTINGS, "--resume")
    assert resumed.code == 0
    assert "resumed" in resumed.err
    assert train(pairs, "-o", out, *SETTINGS, "--overwrite", "-q").code == 0
    assert train(pairs, "-o", tmp_path / "space.pth", *SETTINGS).err.startswith("Error: ")


def test_sharp_pictures_alone_are_no_pairs_and_what_to_do_with_them_is_said(train, tmp_path, pairs):
    (pairs / "sharp").rename(tmp_path / "KODAK set")
    done = train(tmp_path / "KODAK set", "-o", tmp_path / "a.safetensors", *SETTINGS)
    assert done.code == 2
    assert "holds no pairs of sharp and blurry pictures" in done.err
    words = shlex.split(done.err.strip().removesuffix(".").rpartition(" by ")[2])
    assert words == ["--sharp", str(tmp_path / "KODAK set"), "--kernels", "trajectories"]
    assert train(*words, "-o", tmp_path / "a.safetensors", *SETTINGS).code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "No pictures are named"),
        (["nowhere"], "nowhere: does not exist"),
        (["--itertions", "3"], "--iterations"),
        (["--sharp", "textures", "--device", "toaster"], "Error: --device: 'toaster' is no device"),
        (["--sharp", "textures", "--device", "meta"], "Error: --device: 'meta' is not supported"),
        (["--lr", "-1"], "must be a finite number with x>0"),
        (["--sharp", "textures", "--kernels", "nowhere.npy"], "nowhere.npy: does not exist"),
        (["somewhere", "--kernels", "trajectories"], "--kernels: blur sharp pictures"),
        (["--sharp", "textures", "--preset", "compact", "--window", "9", "--dimensions", "2"], "dimensions: must lie"),
    ],
)
def test_bad_input_is_one_sentence(train, tmp_path, args, message):
    done = train("-o", tmp_path / "a.safetensors", "--preset", "tiny", *args)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "a.safetensors").exists()


def test_a_file_has_sources_and_settings_and_flags_beat_it(tmp_path):
    file = tmp_path / "train.toml"
    file.write_text(
        'sharp = ["textures", "more"]\nkernels = "trajectories"\nlr = 0.5\nbatch = 3\ninit = "a.safetensors"\n'
    )
    sources, params = read_settings(file, Sources(), {"batch": 4})
    assert sources == Sources(sharp=(Path("textures"), tmp_path / "more"), kernels=(Path("trajectories"),))
    assert (params.lr, params.batch, params.init) == (0.5, 4, tmp_path / "a.safetensors")
    sources, _ = read_settings(file, Sources(pairs=(Path("p"),)), {})
    assert (sources.pairs, sources.sharp) == ((Path("p"),), ())
    for text, message in (
        ("iteration = 3", r"iteration: no such setting; did you mean 'iterations'\? \(.*train.toml\)"),
        ("lr = 'fast'", "lr: must be a finite number"),
        ("pairs = 3", "pairs: must be a path or a list of paths"),
        ("eta_min = 1.0", "eta_min: is larger than lr"),
        ("iterations =", "no valid TOML"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_settings(file, Sources(), {})


def test_a_device_of_a_file_is_told_by_its_key(train, tmp_path):
    file = tmp_path / "train.toml"
    file.write_text("device = 'toaster'\n")
    args = ("--sharp", "textures", "--config", file, "-o", tmp_path / "a.safetensors")
    done = train(*args)
    assert done.err.startswith("Error: device: 'toaster' is no device")
    assert done.err.endswith(f"({file})\n")
    assert train(*args, "--device", "grill").err.startswith("Error: --device: 'grill' is no device")


def start(*args, launcher=(), **environment) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *launcher, str(TINY), "train-kernel-space", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, **environment},
    )


def curve(path):
    return read_checkpoint(path).history


def test_kill_9_and_resume_end_as_without(train, tmp_path, pairs):
    settings = (*SETTINGS, "--iterations", "300", "--validate-every", "1000", "-q")
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    assert train(pairs, "-o", whole, *settings).code == 0
    process = start(pairs, "-o", cut, *settings)
    state, ends = tmp_path / "cut.last.pt", time.monotonic() + 60
    while not state.exists() and time.monotonic() < ends:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert 0 < read_checkpoint(state).step < 310
    assert train(pairs, "-o", cut, *settings, "--resume").code == 0
    assert curve(state) == curve(tmp_path / "whole.last.pt")
    one, other = load_space(whole).state_dict(), load_space(cut).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_ctrl_c_writes_a_checkpoint(tmp_path, pairs):
    out = tmp_path / "a.safetensors"
    process = start(pairs, "-o", out, *SETTINGS, "--iterations", "1000000")
    ends = time.monotonic() + 60
    while not (tmp_path / "a.last.pt").exists() and time.monotonic() < ends:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted; --resume continues here" in (tmp_path / "a.log").read_text()
    assert f"step {read_checkpoint(tmp_path / 'a.last.pt').step}/" in err
    assert out.exists()


def test_two_processes_see_what_one_sees_with_the_doubled_batch(train, tmp_path, pairs):
    alone = (*SETTINGS, "--batch", "4", "--kernel-batch", "64")
    assert train(pairs, "-o", tmp_path / "one.safetensors", *alone, "-q").code == 0
    halved = (pairs, "-o", tmp_path / "two.safetensors", *SETTINGS, "--batch", "2", "--kernel-batch", "32")
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = str(door.getsockname()[1])
    # what PyTorch's launcher says to the processes that it starts
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [start(*halved, **common, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(2)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert [out.strip() for out, _ in said] == [str(tmp_path / "two.safetensors"), ""]
    assert ["step 30/30  pictures  loss" in err for _, err in said] == [True, False]
    one, two = curve(tmp_path / "one.last.pt"), curve(tmp_path / "two.last.pt")
    assert [step for step, _ in one] == [step for step, _ in two]
    assert [loss for _, loss in two] == pytest.approx([loss for _, loss in one], rel=1e-5)


@pytest.mark.slow
def test_the_launcher_starts_processes_of_which_one_speaks(tmp_path, pairs):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = start(pairs, "-o", tmp_path / "two.safetensors", *SETTINGS, launcher=launcher)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.strip() == str(tmp_path / "two.safetensors")
    assert err.count("step 30/30  pictures  loss") == 1
    (pairs / "sharp" / "0.png").unlink()
    failing = start(pairs, "-o", tmp_path / "three.safetensors", *SETTINGS, launcher=launcher)
    _, err = failing.communicate(timeout=120)
    assert failing.returncode != 0
    assert err.count("has no partner") == 1
