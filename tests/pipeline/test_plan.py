import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from deblurkit.config import resolve
from deblurkit.core import Observation, Optimizer
from deblurkit.errors import RunError, UsageError
from deblurkit.pipeline import Parts, deblur, observe, prepare
from deblurkit.pipeline.cost import WatchedProblem, expect, pair_seconds, try_steps
from deblurkit.pipeline.plan import make_plan, starts, textured_crop, usual_scales
from deblurkit.registry import registry
from deblurkit.testing import cartoon, curved_kernel

SMALL_NETWORK = {
    "image_prior.name": "dip",
    "image_prior.channels": 8,
    "image_prior.skip_channels": 4,
    "image_prior.scales": 2,
    "kernel_prior.name": "fcn",
    "kernel_prior.hidden_units": 20,
    "data_term.name": "mse",
    "run.threads": 1,
}


def parts_of(**flags) -> Parts:
    dotted = {key.replace("__", "."): value for key, value in flags.items()}
    return Parts.load(resolve(dotted, registry=registry()), registry())


def plan_of(y, parts, **more):
    known = {"kernel_size": 51, "automatic": True, "device": torch.device("cpu"), "threads": 1, **more}
    return make_plan(y, parts, **known)


def test_the_default_plan_of_a_small_colour_picture():
    plan = plan_of(cartoon(1, 3, (200, 150)), parts_of())
    assert plan.size == (200, 150)
    assert (plan.channels, plan.estimated_channels) == (3, 1)
    assert plan.crop == (0, 0, 200, 150)
    assert not plan.cropped
    assert plan.automatic
    assert plan.kernel_size == 49, "a third of the smaller side at most, odd"
    assert plan.scales[-1].factor == 1.0
    assert [scale.factor for scale in plan.scales] == sorted(scale.factor for scale in plan.scales)
    assert all(scale.limit % 2 == 1 for scale in plan.scales)


def test_a_kernel_size_that_was_given_is_kept():
    plan = plan_of(cartoon(1, 1, (64, 64)), parts_of(run__kernel_size=31), kernel_size=31, automatic=False)
    assert plan.kernel_size == 31


@pytest.mark.parametrize("size", [(16, 16), (16, 300), (17, 40)])
def test_automatic_sizes_fit_into_the_smallest_pictures(size):
    plan = plan_of(cartoon(1, 1, (64, 320))[..., : size[0], : size[1]], parts_of())
    assert 3 <= plan.kernel_size <= min(size) // 3
    assert plan.kernel_size % 2 == 1


def test_pictures_that_are_too_small_are_refused():
    with pytest.raises(RunError, match="a picture of 40x15 pixels is too small"):
        plan_of(torch.rand(1, 1, 15, 40), parts_of())
    with pytest.raises(RunError, match="a kernel of 65 pixels is too large for the picture of 80x64"):
        plan_of(cartoon(1, 1, (64, 80)), parts_of(), kernel_size=65, automatic=False)


def test_crops_that_are_too_small_are_refused():
    y = cartoon(1, 1, (64, 80))
    with pytest.raises(RunError, match=r"31 pixels is too large for the crop of 20x20 .* or a larger --crop"):
        plan_of(y, parts_of(run__crop=20), kernel_size=31, automatic=False)
    with pytest.raises(UsageError, match=r"run.crop: 5 pixels say nothing .* give 16 or more, or 0"):
        plan_of(y, parts_of(run__crop=5))
    assert plan_of(y, parts_of(run__crop=30)).kernel_size == 9, "a third of the crop"


def test_large_pictures_are_cropped_where_a_last_step_restores_the_frame():
    y = torch.rand(1, 3, 300, 400)
    assert plan_of(y, parts_of(run__crop=128)).crop[2:] == (128, 128)
    assert plan_of(y, parts_of(run__crop=128)).cropped
    assert plan_of(y, parts_of(run__crop=0)).crop[2:] == (300, 400)
    assert plan_of(y, parts_of(run__crop=128, final__name="none")).crop[2:] == (300, 400)


def test_without_a_last_step_all_channels_are_estimated():
    y = cartoon(1, 3, (64, 64))
    assert plan_of(y, parts_of(final__name="none")).estimated_channels == 3
    result = deblur(y, resolve({"run.channels": "luma", "final.name": "none"} | QUICK, registry=registry()))
    assert result.image.shape == y.shape


QUICK = {"run.kernel_size": 9, "run.threads": 1, "run.restarts": 0}


def test_a_given_kernel_leaves_nothing_to_estimate_but_a_network_is_still_fitted(tmp_path):
    np.save(tmp_path / "k.npy", curved_kernel((7, 9))[0, 0].numpy())
    known = {"kernel_prior__name": "known", "kernel_prior__file": str(tmp_path / "k.npy")}
    y = cartoon(1, 1, (64, 64))
    assert plan_of(y, parts_of(image_prior__name="hyper-laplacian", **known)).scales == ()
    assert len(plan_of(y, parts_of(image_prior__name="dip", **known)).scales) == 1


def test_devices_that_are_absent_are_refused():
    with pytest.raises(UsageError, match=r"run\.device"):
        prepare(observe(cartoon(1, 1, (64, 64))), parts_of(run__device="cuda:99"), registry())


def test_the_threads_of_a_network_are_not_those_of_the_scout(monkeypatch):
    asked = []
    module = sys.modules["deblurkit.pipeline.deblur"]  # the function of that name hides it
    monkeypatch.setattr(module, "set_threads", lambda count, values: asked.append(values) or 1)
    flags = SMALL_NETWORK | {"run.largest_kernel": 9}
    parts = Parts.load(resolve(flags, registry=registry()), registry())
    plan = prepare(observe(cartoon(1, 1, (64, 64))), parts, registry())
    assert 3 <= plan.kernel_size <= 9, "the scout keeps to the largest kernel"
    assert len(asked) == 2
    assert asked[-1] == max(asked), "the last one is the network's"


def half_sky() -> torch.Tensor:
    """Sky in the upper half, houses in the lower right quarter (1, 1, 400, 600)."""
    y = torch.full((1, 1, 400, 600), 0.7) + 0.002 * torch.randn(
        1, 1, 400, 600, generator=torch.Generator().manual_seed(0)
    )
    y[..., 200:, 300:] = cartoon(1, 1, (50, 60)).repeat(1, 1, 4, 5)
    return y


def test_the_crop_lies_where_the_texture_is():
    top, left, height, width = textured_crop(half_sky(), 150)
    assert (height, width) == (150, 150)
    assert top >= 190
    assert left >= 290


def test_lamps_and_one_strong_edge_do_not_attract_the_crop():
    y = 0.3 * half_sky()
    y[..., 20:140:3, 20:140:3] = 1.0  # a sign of lamps, at the sensor's limit
    y[..., 180:, :40] = 0.9
    top, left, _, _ = textured_crop(y, 150)
    assert top >= 190
    assert left >= 290


def test_a_picture_that_is_smaller_is_taken_whole_and_a_narrow_one_in_full_width():
    assert textured_crop(torch.rand(1, 1, 100, 90), 128) == (0, 0, 100, 90)
    _, left, height, width = textured_crop(torch.rand(1, 1, 300, 90), 128)
    assert (left, height, width) == (0, 128, 90)


@pytest.mark.parametrize(("length", "window"), [(100, 100), (101, 100), (1000, 128)])
def test_windows_reach_from_one_end_to_the_other(length, window):
    places = starts(length, window)
    assert int(places[0]) == 0
    assert int(places[-1]) == length - window
    assert (places.diff() > 0).all()


def test_memory_and_time_grow_with_the_picture():
    parts = parts_of(run__threads=1)
    costs = []
    for size in ((64, 80), (600, 800), (1500, 2000)):
        y = cartoon(1, 3, (64, 80)).repeat(1, 1, -(-size[0] // 64), size[1] // 80)[..., : size[0], : size[1]]
        costs.append(expect(observe(y), parts, plan_of(y, parts)))
    assert costs[0].memory < costs[1].memory < costs[2].memory < 2e9
    assert costs[0].seconds is not None
    assert costs[1].seconds is not None
    assert 0 < costs[0].seconds < costs[1].seconds


def test_one_fft_pair_takes_some_time():
    parts = parts_of()
    plan = plan_of(cartoon(1, 1, (64, 64)), parts)
    assert 0 < pair_seconds((64, 64), plan) < 1


def test_the_memory_of_networks_is_that_of_what_they_keep_for_the_gradient():
    frame = observe(cartoon(1, 1, (160, 160)))
    costs = {}
    for channels in (8, 16):
        parts = Parts.load(resolve(SMALL_NETWORK | {"image_prior.channels": channels}, registry=registry()), registry())
        costs[channels] = expect(frame, parts, plan_of(frame.y, parts, kernel_size=9, automatic=False))
    # four places for every feature map that is kept are too few, a thousand too many
    added = costs[16].memory - costs[8].memory
    assert 4 * 4 * 8 * 160**2 < added < 1000 * 4 * 8 * 160**2
    assert costs[8].seconds is not None
    assert costs[8].seconds > 1


class Slow(Optimizer):
    """Looks at the objective many times before its first step is done."""

    def steps(self, problem):
        for _ in range(10):
            problem.loss(problem.image(), 0)
        raise AssertionError("was not given up")
        yield


def test_a_trial_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr("deblurkit.pipeline.cost.PROBE_SECONDS", 0.0)
    parts = replace(Parts.load(resolve(SMALL_NETWORK, registry=registry()), registry()), optimizer_class=Slow)
    frame = observe(cartoon(1, 1, (64, 64)))
    cost = expect(frame, parts, plan_of(frame.y, parts, kernel_size=9, automatic=False))
    assert cost.seconds is None


def test_the_steps_of_a_trial_are_counted():
    parts = Parts.load(resolve(SMALL_NETWORK | {"optimizer.iterations": 77}, registry=registry()), registry())
    observation = Observation.of(cartoon(1, 1, (48, 48)), noise=0.01)
    made = parts.problem(observation, (9, 9), torch.Generator().manual_seed(0))
    problem = WatchedProblem(**vars(made))
    assert try_steps(problem, parts) == (2, 77)
    assert len(problem.watch.times) == 2
    assert problem.watch.most > 4 * 8 * 48**2


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (1, 4, 32, 32), (1, 32, 32)])
def test_pictures_of_other_layouts_are_refused(shape):
    with pytest.raises(ValueError, match="y: needs one picture"):
        deblur(torch.rand(shape), resolve({}, registry=registry()))


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match="valid: needs"):
        deblur(torch.rand(1, 1, 32, 32), resolve({}, registry=registry()), valid=torch.ones(1, 1, 32, 31))


@pytest.mark.parametrize(
    ("flags", "levels"),
    [
        ({"kernel_prior__name": "convolution", "optimizer__name": "alternating"}, 0),
        ({"kernel_prior__name": "encoded", "optimizer__name": "alternating"}, 0),
        ({"kernel_prior__name": "encoded", "optimizer__name": "alternating", "kernel_prior__code": "network"}, 1),
        ({"kernel_prior__name": "encoded", "optimizer__name": "joint"}, 1),
        ({"kernel_prior__name": "fcn", "optimizer__name": "joint"}, 1),
        ({"kernel_prior__name": "fcn", "optimizer__name": "joint", "run__scales": 3}, 3),
        ({"kernel_prior__name": "encoded", "optimizer__name": "joint", "run__scales": 3}, 3),
        ({"kernel_prior__name": "convolution", "optimizer__name": "alternating", "run__scales": 2}, 2),
        # what shows no kernel cannot hand one on
        ({"kernel_prior__name": "encoded", "optimizer__name": "joint", "run__scales": 3, "kernel_prior__tiles": 2}, 1),
        ({"kernel_prior__name": "bicubic", "optimizer__name": "joint", "run__scales": 3}, 1),
    ],
)
def test_how_many_scales(compact_file, flags, levels):
    if flags["kernel_prior__name"] == "encoded":
        flags = {"kernel_prior__space": compact_file, **flags}
    parts = parts_of(image_prior__name="hyper-laplacian", **flags)
    assert usual_scales(parts) == levels


def test_auto_goes_by_the_kernel_size_with_closed_forms_alone(compact_file):
    y = cartoon(1, 1, (200, 150))
    common = {"image_prior__name": "hyper-laplacian", "kernel_prior__name": "encoded", "final__name": "auto"}
    known = {"kernel_size": 31, "automatic": False}
    closed = parts_of(**common, kernel_prior__space=compact_file, optimizer__name="alternating")
    assert len(plan_of(y, closed, **known).scales) > 4
    moved = parts_of(**common, kernel_prior__space=compact_file, optimizer__name="joint")
    assert [scale.factor for scale in plan_of(y, moved, **known).scales] == [1.0]
    assert plan_of(y, moved, **known).starts == plan_of(y, moved, **known, noise=0.02).starts == 1
    assert plan_of(y, closed, **known, noise=0.02).starts > 1


@pytest.mark.parametrize("flags", [{"kernel_prior.code": "network", "kernel_prior.fit_steps": 2}, {}])
def test_what_a_learned_space_takes_is_tried_out(compact_file, flags):
    flags = {"kernel_prior.name": "encoded", "kernel_prior.space": compact_file, "run.start": "own", **flags}
    small = {key: value for key, value in SMALL_NETWORK.items() if not key.startswith("kernel_prior")}
    parts = Parts.load(resolve(small | flags, registry=registry()), registry())
    frame = observe(cartoon(1, 1, (64, 64)))
    cost = expect(frame, parts, plan_of(frame.y, parts, kernel_size=9, automatic=False))
    assert cost.memory > 3e8
    assert cost.seconds is not None
    assert cost.seconds > 0
