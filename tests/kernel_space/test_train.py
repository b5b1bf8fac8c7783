"""Training: what it minimises, that it learns, that it can be interrupted anywhere, and that nothing is lost."""

import math
import resource
from pathlib import Path

import pytest
import torch
from PIL import Image

from deblurkit.errors import RunError, UsageError
from deblurkit.kernel_space.losses import cosine_rate, picture_loss
from deblurkit.kernel_space.prepare import find_material, new_space
from deblurkit.kernel_space.reports import Hooks, Outputs, duration
from deblurkit.kernel_space.settings import Sources, TrainParams
from deblurkit.kernel_space.train import Training
from deblurkit.kernel_space.training_state import Checkpoint, check_same_settings, read_checkpoint, write_checkpoint
from deblurkit.kernel_space.validation import gaussian
from deblurkit.kernel_space.world import World
from deblurkit.nets.kernel_space.header import read_header
from deblurkit.nets.kernel_space.weights import load_space
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

pytestmark = pytest.mark.usefixtures("tiny_space")

QUICK = {
    "preset": "tiny",
    "iterations": 24,
    "kernel_iterations": 12,
    "batch": 2,
    "kernel_batch": 4,
    "crop": 24,
    "basis_kernels": 0,
    "log_every": 5,
    "validate_every": 10,
    "checkpoint_every": 8,
    "validation_examples": 3,
    "validation_share": 0.3,
    "codes": 12,
    "samples": 2,
    "lr": 3e-3,
    "kernel_lr": 3e-3,
}


@pytest.fixture
def pairs(tmp_path):
    """Write four pairs, blurred by two kernels."""
    for index in range(4):
        scene = cartoon(1, 3, (46, 50), seed=index) if index else cartoon(1, 3, (46, 50))
        y = blur_by_definition(scene, curved_kernel((7, 7)))
        for name, picture in (("sharp", scene[..., 3:-3, 3:-3]), ("blur", y)):
            path = tmp_path / "pairs" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((picture[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()).save(path)
    return tmp_path / "pairs"


class Run:
    """A training in a folder, and what it said."""

    def __init__(
        self, out: Path, sources: Sources, *, stop_at: int = 0, at_step=None, resume=False, **settings
    ) -> None:
        self.lines, self.warnings = [], []
        params = TrainParams(**{**QUICK, **settings})
        space = new_space(params)
        material = find_material(sources, params, space, self.warnings.append)
        self.training = Training(
            space,
            material,
            params,
            outputs=Outputs(out),
            world=World(torch.device("cpu")),
            card={"data": material.description},
            hooks=Hooks(
                step=lambda step: at_step(self.training) if at_step else None,
                log=self.lines.append,
                warn=self.warnings.append,
                stop=lambda: bool(stop_at) and self.training.step == stop_at,
            ),
        )
        if resume:
            self.training.resume()

    def finish(self) -> "Run":
        self.training.run()
        return self


def test_the_loss_falls_and_everything_is_written(tmp_path, pairs):
    out = tmp_path / "space.safetensors"
    run = Run(out, Sources(pairs=(pairs,)), iterations=60, lr=1e-2).finish()
    curve = [loss for step, loss in run.training.history if step > 12]
    assert curve[-1] < 0.8 * curve[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "pairs",
        "space.last.pt",
        "space.safetensors",
        "space.samples",
    ]
    assert [path.name for path in sorted((tmp_path / "space.samples").iterdir())][:2] == [
        "step-000012.png",
        "step-000022.png",
    ]
    assert any("validation" in line and "doing nothing" in line for line in run.lines)
    assert any("examples/s" in line and "ETA" in line for line in run.lines)
    space = load_space(out)
    assert space.statistics.mean.shape == (5,)
    assert torch.equal(space.statistics.factor, space.statistics.factor.tril())
    drawn = space.draw((24, 24), generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (1, 5, 1, 1)
    with Image.open(tmp_path / "space.samples" / "step-000012.png") as figure:
        assert figure.width > 4 * 18


@pytest.mark.parametrize("moment", [5, 12, 21])  # on kernels, between the stages, on pictures
@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path, pairs, moment, workers):
    sources = Sources(pairs=(pairs,))
    whole = Run(tmp_path / "whole.safetensors", sources).finish().training
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path / "cut.safetensors", sources, stop_at=moment).finish()
    assert read_checkpoint(tmp_path / "cut.last.pt").step == moment
    assert load_space(tmp_path / "cut.safetensors").window == 7
    rest = Run(tmp_path / "cut.safetensors", sources, resume=True, workers=workers).finish().training
    assert rest.history == whole.history
    assert rest.best == whole.best
    for name, tensor in whole.space.state_dict().items():
        assert torch.equal(tensor, rest.space.state_dict()[name]), name


def test_the_global_generator_is_left_alone(tmp_path, pairs):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Run(tmp_path / "a.safetensors", Sources(pairs=(pairs,))).finish()
    assert torch.equal(before, torch.get_rng_state())


def test_resuming_under_other_settings_or_data_is_refused(tmp_path, pairs):
    sources = Sources(pairs=(pairs,))
    out = tmp_path / "a.safetensors"
    Run(out, sources, iterations=1, kernel_iterations=1).finish()
    with pytest.raises(UsageError, match=r"a\.last\.pt: was trained under other settings \(lr: 0.003, now 0.1\)"):
        Run(out, sources, iterations=1, kernel_iterations=1, lr=0.1, resume=True)
    (pairs / "sharp" / "0.png").unlink()
    (pairs / "blur" / "0.png").unlink()
    was = r"2 pairs to train on, 2 pairs held out, kernels from trajectories-7"
    now = r"2 pairs to train on, 1 pairs held out, kernels from trajectories-7"
    with pytest.raises(
        UsageError, match=rf"was trained with other pictures, pairs or kernels \({was}; now {now}\); resume with the"
    ):
        Run(out, sources, iterations=1, kernel_iterations=1, resume=True)
    with pytest.raises(UsageError, match=r"other settings \(lr: 0.003, now 0.1\) and with other pictures"):
        Run(out, sources, iterations=1, kernel_iterations=1, lr=0.1, resume=True)
    (pairs / "sharp" / "1.png").rename(pairs / "sharp" / "0.png")
    (pairs / "blur" / "1.png").rename(pairs / "blur" / "0.png")
    Run(tmp_path / "c.safetensors", sources, iterations=1, kernel_iterations=1).finish()
    (pairs / "sharp" / "0.png").rename(pairs / "sharp" / "1.png")
    (pairs / "blur" / "0.png").rename(pairs / "blur" / "1.png")
    with pytest.raises(UsageError, match=r"kernels \(as many as now, of other names or in another order\)"):
        Run(tmp_path / "c.safetensors", sources, iterations=1, kernel_iterations=1, resume=True)
    with pytest.raises(UsageError, match="nothing to resume"):
        Run(tmp_path / "b.safetensors", sources, resume=True)


def test_a_full_disk_costs_nothing_but_the_checkpoint(tmp_path, pairs):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    good = []

    def fill(training):
        if training.step == 9:
            good.append((tmp_path / "a.last.pt").read_bytes())
        # a file cannot grow beyond 2000 bytes from step 10 to 20
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000 if 10 <= training.step <= 20 else limits[0], limits[1]))
        if training.step == 20:
            assert (tmp_path / "a.last.pt").read_bytes() == good[0]

    try:
        run = Run(tmp_path / "a.safetensors", Sources(pairs=(pairs,)), at_step=fill).finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert any("a.last.pt: cannot be written" in text and "former file is untouched" in text for text in run.warnings)
    assert read_checkpoint(tmp_path / "a.last.pt").step == 36
    assert not list(tmp_path.glob(".deblurkit-*"))

    def always(training):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))

    try:
        with pytest.raises(RunError, match="cannot be written"):
            Run(tmp_path / "b.safetensors", Sources(pairs=(pairs,)), at_step=always).finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_one_damaged_picture_is_named_once_and_left_out(tmp_path, pairs):
    path = pairs / "blur" / "1.png"
    path.write_bytes(path.read_bytes()[:-400])  # its header is fine
    run = Run(tmp_path / "a.safetensors", Sources(pairs=(pairs,))).finish()
    (warning,) = run.warnings
    assert warning.startswith(f"{path}: ")
    assert "left out" in warning
    for name in ("0", "2", "3"):
        other = pairs / "sharp" / f"{name}.png"
        other.write_bytes(other.read_bytes()[:-400])
    with pytest.raises(RunError, match="None of the 2 examples can be decoded"):
        Run(tmp_path / "b.safetensors", Sources(pairs=(pairs,))).finish()


def test_a_loss_that_explodes_ends_the_training_with_a_sentence(tmp_path, pairs):
    def spoil(training):
        if training.step == 14:
            torch.nn.init.constant_(training.space.decoder.weight, math.nan)

    with pytest.raises(RunError, match=r"not finite at step 1[56]"):
        Run(tmp_path / "a.safetensors", Sources(pairs=(pairs,)), at_step=spoil).finish()
    assert all(torch.isfinite(tensor).all() for tensor in read_checkpoint(tmp_path / "a.last.pt").space.values())


def test_sources_that_contradict_or_do_not_fit_are_refused(tmp_path, pairs):
    for sources, settings, message in (
        (Sources(pairs=(pairs,), sharp=(pairs,)), {}, "both named"),
        (Sources(), {}, "No pictures are named"),
        (Sources(pairs=(pairs / "sharp",)), {}, r"on the fly by --sharp \S+pairs/sharp --kernels trajectories\."),
        (Sources(pairs=(pairs,)), {"crop": 64}, r"0\.png: is 44 x 40 pixels, and a crop of 64 pixels needs 64"),
        (Sources(sharp=(pairs / "sharp",)), {"crop": 40}, "a crop of 40 pixels and the kernel around it need 46"),
        (Sources(sharp=(Path("textures"),)), {"texture_side": 64, "crop": 60}, "set --texture-side 66"),
        (Sources(pairs=(pairs,)), {"stages": 3}, "stages: the preset 'tiny' has no such setting"),
        (Sources(pairs=(pairs,)), {"preset": "tyni"}, "tyni: no such kernel space preset"),
        (Sources(sharp=(pairs,), kernels=(Path("trajectories"),)), {"kernel_window": 9}, "set --window 9"),
        (Sources(pairs=(pairs,)), {"init": Path("nowhere.safetensors")}, "nowhere.safetensors"),
    ):
        with pytest.raises(UsageError, match=message):
            Run(tmp_path / "a.safetensors", sources, **settings)


def test_blur_on_the_fly_from_pictures_and_textures(tmp_path, pairs):
    sources = Sources(sharp=(pairs / "sharp", Path("textures")))
    run = Run(tmp_path / "a.safetensors", sources, textures=2, texture_side=64, noise=0.02, grey=True).finish()
    assert run.training.best > 5
    assert "textures" in read_header(run.training.outputs.space).card["data"]


def test_validation_pairs_of_their_own_leave_all_others_for_training(tmp_path, pairs):
    run = Run(tmp_path / "a.safetensors", Sources(pairs=(pairs,), validation=(pairs,)))
    assert run.training.material.training.names == ["0", "1", "2", "3"]
    held = Run(tmp_path / "b.safetensors", Sources(pairs=(pairs,))).training.material
    assert (held.training.names, held.validation.names) == (["0", "1"], ["2", "3"])


def test_a_variational_space_is_trained_and_starts_from_a_plain_one(tmp_path, pairs):
    sources = Sources(pairs=(pairs,))
    Run(tmp_path / "plain.safetensors", sources).finish()
    run = Run(tmp_path / "vae.safetensors", sources, vae=True, init=tmp_path / "plain.safetensors")
    plain = load_space(tmp_path / "plain.safetensors").state_dict()
    own = run.training.space.state_dict()
    assert torch.equal(own["decoder.weight"], plain["decoder.weight"])
    assert own["extractor.2.weight"].shape != plain["extractor.2.weight"].shape
    assert load_space(run.finish().training.outputs.space).vae


def test_the_picture_loss_is_its_formula(tiny_space):
    space = tiny_space.TinySpace(vae=True)
    sharp, blurry = torch.rand(2, 3, 20, 20), torch.rand(2, 3, 20, 20)
    noise = torch.randn(2, 5, 1, 1)
    mean, spread = space.distribution(sharp, blurry)
    estimate = space.blur(sharp, mean + spread * noise)
    total = 0.0
    for d in (estimate - blurry[..., 3:-3, 3:-3]).flatten().tolist():
        total += math.sqrt(d * d + 1e-6)
    for m, s in zip(mean.flatten().tolist(), spread.flatten().tolist(), strict=True):
        total += 10 * (m * m + s * s - math.log(1e-8 + s * s) - 1)
    params = TrainParams(vae=True, reduction="sum")
    assert picture_loss(space, sharp, blurry, noise, params).item() == pytest.approx(total / 2, rel=1e-4)
    params = TrainParams(vae=True)
    assert picture_loss(space, sharp, blurry, noise, params).item() == pytest.approx(total / 2 / 588, rel=1e-4)


def test_the_schedule_is_half_a_cosine_in_every_period():
    rates = [cosine_rate(step, 0, high=1.0, low=0.1, periods=(2, 4)) for step in range(11)]
    half = [0.1 + 0.9 * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert rates == pytest.approx([1.0, 0.55, *half, *half, 1.0])
    assert cosine_rate(10, 10, high=1.0, low=0.1) == pytest.approx(1.0)
    assert cosine_rate(9, 10, high=1.0, low=0.1) < 0.13


def test_the_gaussian_has_the_moments_of_the_codes():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(4000, 3, generator=generator, dtype=torch.float64) @ torch.tensor(
        [[1.0, 0.5, 0], [0, 2, 0.3], [0, 0, 0.1]], dtype=torch.float64
    ) + torch.tensor([1.0, -2, 3])
    found = gaussian(codes)
    assert torch.allclose(found.mean.double(), codes.mean(0))
    assert torch.allclose((found.factor @ found.factor.mT).double(), codes.T.cov(), atol=1e-3)
    few = gaussian(codes[:2])  # fewer than dimensions
    assert torch.isfinite(few.factor).all()


def test_a_checkpoint_that_is_none_is_refused(tmp_path):
    path = tmp_path / "a.last.pt"
    for content in (b"", b"rubbish", b"PK\x03\x04rubbish"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"a\.last\.pt: cannot be read"):
            read_checkpoint(path)
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(UsageError, match="is no checkpoint"):
        read_checkpoint(path)
    write_checkpoint(path, Checkpoint(3, {"w": torch.ones(1)}, {}, {"lr": 1.0}))
    assert read_checkpoint(path).step == 3
    assert read_checkpoint(path).best == -math.inf
    check_same_settings({"a": 1}, {"a": 1}, path)


def test_a_checkpoint_without_counts_of_its_data_is_read_and_compared(tmp_path):
    path = tmp_path / "a.last.pt"
    write_checkpoint(path, Checkpoint(3, {"w": torch.ones(1)}, {}, {"data": "a"}))
    old = torch.load(path, weights_only=True)
    del old["content"]
    torch.save(old, path)
    assert read_checkpoint(path).content == ""
    with pytest.raises(UsageError, match=r"pictures, pairs or kernels \(now 3 pairs to train on\)"):
        check_same_settings({"data": "a"}, {"data": "b"}, path, contents=("", "3 pairs to train on"))


def test_durations_are_told_in_hours():
    assert duration(3725.4) == "1:02:05"


@pytest.mark.parametrize("stop_at", [0, 21])  # finished, interrupted
def test_a_space_that_is_gone_is_written_again_on_resume(tmp_path, pairs, stop_at):
    out, sources = tmp_path / "space.safetensors", Sources(pairs=(pairs,))
    run = Run(out, sources, stop_at=stop_at)
    if stop_at:
        with pytest.raises(KeyboardInterrupt):
            run.finish()
    else:
        run.finish()
    out.unlink()
    Run(out, sources, resume=True).finish()
    assert load_space(out).statistics is not None
