import math
from itertools import pairwise

import pytest
import torch

from deblurkit.config import resolve
from deblurkit.core import Observation
from deblurkit.metrics import kernel_similarity
from deblurkit.pipeline import Parts, Progress, deblur, observe
from deblurkit.pipeline.estimate import SMALLEST_SIDE, at_scale, estimate, odd, pyramid, radius_of, window
from deblurkit.registry import registry
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

KERNEL = curved_kernel((9, 11))


def observation(channels: int = 1) -> Observation:
    y = blur_by_definition(cartoon(1, channels, (108, 110)), KERNEL)
    return observe(y + 0.003 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)))


def parts_of(**flags) -> Parts:
    dotted = {key.replace("__", "."): value for key, value in flags.items()}
    return Parts.load(resolve({"run.threads": 1} | dotted, registry=registry()), registry())


def run(parts, told, *, count=0, limit=15, automatic=True, deadline=math.inf, seed=0):
    y = observation()
    scales = pyramid(limit, 2**0.5, count, y.size)
    return estimate(
        *(y, parts, scales),
        automatic=automatic,
        seed=seed,
        attempt=0,
        deadline=deadline,
        listener=told,
    )


def test_the_pyramid_ends_at_full_size_and_begins_where_the_kernel_is_small():
    scales = pyramid(51, 2**0.5, 0, (400, 500))
    assert scales[-1].factor == 1.0
    assert scales[-1].limit == 51
    assert scales[0].limit <= 7
    for coarse, fine in pairwise(scales):
        assert fine.factor / coarse.factor == pytest.approx(2**0.5)
        assert coarse.limit <= fine.limit
    assert all(scale.limit % 2 == 1 for scale in scales)


def test_no_scale_is_smaller_than_a_picture_can_be():
    assert all(64 * scale.factor >= SMALLEST_SIDE for scale in pyramid(51, 2**0.5, 0, (64, 300)))
    assert [scale.factor for scale in pyramid(5, 1.5, 0, (20, 20))] == [1.0]
    assert len(pyramid(51, 2**0.5, 3, (400, 400))) == 3


@pytest.mark.parametrize(("radius", "side"), [(0, 3), (1, 3), (1.01, 5), (2, 5), (7.5, 17)])
def test_windows_are_odd(radius, side):
    assert odd(radius) == side


def test_a_shrunk_observation_has_less_noise_and_believes_only_what_is_all_believed():
    y = torch.full((1, 1, 80, 60), 0.5) + 0.02 * torch.randn(1, 1, 80, 60, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 1, 80, 60)
    mask[..., 40, 30] = 0
    half = at_scale(Observation.of(y, 0.02, mask=mask), 0.5)
    assert half.size == (40, 30)
    assert float(half.noise) == pytest.approx(0.01)
    assert float(half.y.std()) == pytest.approx(0.01, rel=0.3)
    assert float(half.mask[..., 18:22, 13:17].min()) == 0
    assert float(half.mask.mean()) > 0.9
    whole = Observation.of(y, 0.02)
    assert at_scale(whole, 1.0) is whole


def test_the_window_follows_the_kernel_up_to_its_limit():
    scale = pyramid(31, 2**0.5, 0, (300, 300))[-1]
    kernel = torch.zeros(1, 1, 21, 21)
    kernel[0, 0, 10, 7:12] = 0.2
    assert radius_of(kernel) == 3
    assert window(scale, None, 1.0, True) == (31, 31)
    assert window(scale, kernel, 2**0.5, False) == (31, 31)
    assert window(scale, kernel, 2**0.5, True) == (odd(3 * 2**0.5 + 1),) * 2
    kernel[0, 0, 0, 0] = 0.1
    assert window(scale, kernel, 4.0, True) == (31, 31)


def test_a_blind_estimation_finds_the_kernel():
    told: list[Progress] = []
    found = run(parts_of(), told.append)
    assert found.stopped == ""
    assert found.kernel is not None
    assert kernel_similarity(found.kernel, KERNEL).direct > 0.85
    estimating = [event for event in told if event.stage == "estimate"]
    assert found.steps == len(estimating)
    assert {event.scale for event in estimating} == set(range(1, estimating[0].scales + 1))
    assert all(event.done <= event.total for event in told)
    assert {"scale", "step", "loss"} <= set(found.history[0])
    assert all(math.isfinite(row["loss"]) for row in found.history)


def test_the_same_seed_gives_the_same_result():
    network = {
        "image_prior__name": "dip",
        "image_prior__channels": 4,
        "image_prior__scales": 2,
        "kernel_prior__name": "fcn",
    }
    parts = parts_of(**network, optimizer__iterations=3, data_term__name="mse", run__scales=1)
    kernels = [run(parts, lambda event: None, count=1, seed=seed).kernel for seed in (1, 1, 2)]
    assert torch.equal(kernels[0], kernels[1])
    assert not torch.equal(kernels[0], kernels[2])


def stop_at(scale: int):
    def listen(event: Progress) -> None:
        if event.stage == "estimate" and event.scale == scale:
            raise KeyboardInterrupt

    return listen


def test_ctrl_c_keeps_what_was_reached():
    found = run(parts_of(), stop_at(2))
    assert found.stopped == "interrupted"
    assert found.latent is None
    assert found.kernel is not None
    assert found.kernel.shape == (1, 1, 15, 15), "as large as at full size"
    assert float(found.kernel.sum()) == pytest.approx(1, abs=1e-5)


def test_the_deadline_ends_it_after_the_step_at_hand():
    found = run(parts_of(), lambda event: None, deadline=-math.inf)
    assert found.stopped == "time budget"
    assert found.steps == 1


@pytest.mark.parametrize("final", ["none", "auto"])
def test_a_stop_at_a_coarse_scale_gives_an_image_all_the_same(final):
    flags = {"final.name": final, "run.kernel_size": 11, "run.threads": 1, "run.channels": "all", "run.scales": 3}
    result = deblur(observation().y, resolve(flags, registry=registry()), listener=stop_at(1))
    assert result.stopped == "interrupted"
    assert result.image.shape == (1, 1, 100, 100)
    assert bool(result.image.isfinite().all())


@pytest.mark.parametrize("kernel", ["fcn", "convolution", "dip"])
def test_low_precision_is_for_the_networks_alone(kernel):
    flags = {"image_prior.name": "dip", "image_prior.channels": 4, "image_prior.scales": 2, "kernel_prior.name": kernel}
    flags |= {"data_term.name": "mse-then-ssim", "data_term.switch": 1, "optimizer.name": "joint"}
    flags |= {"optimizer.iterations": 3, "run.precision": "bfloat16", "run.kernel_size": 9, "run.threads": 1}
    flags |= {"run.restarts": 0, "final.name": "none"}
    result = deblur(observation().y[..., :48, :48], resolve(flags, registry=registry()))
    assert result.image.dtype == torch.float32
    assert bool(result.image.isfinite().all())
    assert result.stopped == ""


def test_a_loss_that_is_no_number_ends_it(monkeypatch):
    from deblurkit.core import Problem

    real = Problem.loss

    def loss(self, x, step, **weights):
        value, terms = real(self, x, step)
        return value * float("nan") if step == 2 else value, terms

    monkeypatch.setattr(Problem, "loss", loss)
    parts = parts_of(
        image_prior__name="total-variation", optimizer__name="joint", optimizer__iterations=9, data_term__name="mse"
    )
    found = run(parts, lambda event: None, count=1)
    assert found.stopped == "diverged"
    assert found.steps == 3
    assert found.latent is not None
    assert bool(found.latent.isfinite().all())
