import os
import signal
import time
from dataclasses import replace

import pytest
import torch

from deblurkit.cells import carry_out as module
from deblurkit.cells.carry_out import Watcher, carry_out, shared_out
from deblurkit.cells.cell import blurry_cell, oracle_cell, run_cell
from deblurkit.cells.memory import peak_bytes, start_watching
from deblurkit.config import resolve
from deblurkit.datasets.case import Sample
from deblurkit.errors import ImageError, RunError, UsageError
from deblurkit.metrics import align
from deblurkit.ops.convolve import convolve_valid
from deblurkit.pipeline import Progress
from deblurkit.registry import registry


@pytest.fixture
def blurred(scene, monkeypatch):
    """A case whose picture really is a blurred one."""
    case = scene(3)
    torch.manual_seed(0)
    latent = torch.nn.functional.interpolate(torch.rand(1, 1, 18, 18), size=(68, 68), mode="nearest")
    sample = Sample(convolve_valid(latent, case.kernel()), (latent[..., 2:-2, 2:-2],), case.kernel())
    monkeypatch.setattr(type(case), "load", lambda self: sample)
    return case


def test_the_blurry_picture_is_scored_as_it_is(blurred):
    outcome = carry_out(blurry_cell(blurred))
    sample = blurred.load()
    assert outcome.document["scores"]["psnr-aligned"] == align(sample.y, sample.truths[0]).psnr
    assert "seconds" not in outcome.document
    assert outcome.image.shape == (1, 64, 64)
    assert outcome.kernel is None


def test_a_run_and_its_oracle(blurred, config):
    blurry, oracle, run = (
        carry_out(cell)
        for cell in (
            blurry_cell(blurred),
            oracle_cell(blurred, config, registry()),
            run_cell(blurred, config, registry(), given_size=True),
        )
    )
    for outcome in (oracle, run):
        assert outcome.document["status"] == "ok", outcome.document
        assert outcome.document["seconds"] > 0
        assert outcome.document["memory_bytes"] > 1e7
        assert outcome.document["threads"] == 1
        assert outcome.image.shape == (1, 64, 64)
    scores = [outcome.document["scores"] for outcome in (blurry, oracle, run)]
    assert scores[1]["psnr-aligned"] > scores[0]["psnr-aligned"] + 3
    assert scores[1]["kernel-similarity"] == pytest.approx(1.0, abs=1e-5)
    assert run.kernel.sum() == pytest.approx(1.0, abs=1e-4)
    assert run.document["history"]


def test_gradients_leave_a_curve_and_the_same_result_twice(blurred):
    flags = {
        "image_prior.name": "identity",
        "kernel_prior.name": "convolution",
        "data_term.name": "mse",
        "optimizer.name": "joint",
        "optimizer.iterations": 20,
        "run.start": "own",
        "run.kernel_size": 5,
        "run.threads": 1,
        "final.name": "none",
    }
    cell = run_cell(blurred, resolve(flags, registry=registry()), registry(), given_size=False)
    first, second = carry_out(cell).document, carry_out(cell).document
    assert first["scores"] == second["scores"]
    steps = [row["step"] for row in first["curve"] if row["attempt"] == 1]
    assert steps == sorted(set(steps))
    assert set(first["curve"][0]) == {"attempt", "step", "psnr"}


def test_a_curve_is_of_the_finest_scale_and_costs_a_tenth(blurred, monkeypatch):
    sample = blurred.load()
    latent = torch.nn.functional.pad(sample.truths[0], (2, 2, 2, 2), mode="replicate")
    watcher = Watcher(sample)
    watcher.started -= 1000.0
    watcher(Progress("estimate", scale=1, scales=2, done=1, total=4, latent=latent))
    watcher(Progress("restore", scale=2, scales=2, done=1, total=4, latent=latent))
    watcher(Progress("estimate", scale=2, scales=2, done=1, total=4))
    assert watcher.rows == []
    watcher(Progress("estimate", scale=2, scales=2, done=1, total=4, latent=latent + 0.01))
    assert watcher.rows == [{"attempt": 1, "step": 1, "psnr": pytest.approx(40.0, abs=0.01)}]
    watcher.spent = 101.0
    watcher(Progress("estimate", scale=2, scales=2, done=2, total=4, latent=latent))
    assert len(watcher.rows) == 1
    watcher.spent = 0.0
    watcher(Progress("estimate", scale=2, scales=2, done=2, total=4, latent=latent[..., :40, :40]))
    assert len(watcher.rows) == 1, "a crop is not scored"


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ImageError("im1.png: is damaged."), "im1.png: is damaged."),
        (UsageError("im1.png: has no truth."), "im1.png: has no truth."),
        (MemoryError(), "out of memory; give a smaller --crop or smaller pictures"),
        (IndexError("list index\nout of range"), "unexpected IndexError: list index out of range"),
    ],
)
def test_whatever_goes_wrong_is_the_outcome(scene, monkeypatch, raised, told):
    def refuse(self):
        raise raised

    monkeypatch.setattr(type(scene()), "load", refuse)
    assert carry_out(blurry_cell(scene())).document == {"status": "failed", "error": told}


def test_a_plugin_that_is_gone_is_a_failure(blurred, config):
    cell = run_cell(blurred, config, registry(), given_size=False)
    gone = replace(cell, config={**cell.config, "image_prior": {"name": "gone"}})
    assert carry_out(gone).document["error"].startswith("no image prior 'gone'")


def test_an_interrupted_run_is_no_outcome(blurred, config, monkeypatch):
    def deblur(y, config, listener):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "deblur", deblur)
    with pytest.raises(KeyboardInterrupt):
        carry_out(run_cell(blurred, config, registry(), given_size=False))

    class Stopped:
        stopped = "interrupted"
        image = torch.zeros(1, 1, 64, 64)

    monkeypatch.setattr(module, "deblur", lambda *args, **kwargs: Stopped())
    with pytest.raises(KeyboardInterrupt):
        carry_out(run_cell(blurred, config, registry(), given_size=False))


def test_an_interruption_that_was_swallowed_ends_the_cell_all_the_same(blurred, config, monkeypatch):
    real = module.deblur

    def deblur(y, config, listener):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            return real(y, config, listener=listener)

    monkeypatch.setattr(module, "deblur", deblur)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        carry_out(run_cell(blurred, config, registry(), given_size=False))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_further_score_that_cannot_be_had_costs_itself_alone(blurred, monkeypatch):
    class Strict:
        def measure(self, image, sample):
            raise RunError("niqe: cannot judge this picture (too small).")

    monkeypatch.setattr(module, "extra_scores", lambda names: (Strict(),))
    document = carry_out(blurry_cell(blurred)).document
    assert document["scores"]["psnr-aligned"] > 0
    assert document["notes"] == ["niqe: cannot judge this picture (too small)."]


def test_an_oracle_without_a_true_kernel_says_so(scene, config):
    outcome = carry_out(oracle_cell(scene(size=None), config, registry()))
    assert "has no true kernel" in outcome.document["error"]


def test_accelerators_take_turns(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [shared_out(name, slot) for name in ("auto", "cuda") for slot in (0, 1, 2)] == [
        "cuda:0",
        "cuda:1",
        "cuda:0",
    ] * 2
    assert shared_out("cpu", 1) == "cpu"
    assert shared_out("cuda:1", 0) == "cuda:1"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert shared_out("auto", 3) == "auto"


def test_the_peak_is_that_since_the_start():
    cpu = torch.device("cpu")
    start_watching(cpu)
    before = peak_bytes(cpu)
    held = torch.ones(30_000_000)
    assert peak_bytes(cpu) - before > 60_000_000
    del held
    assert before > 1e7
