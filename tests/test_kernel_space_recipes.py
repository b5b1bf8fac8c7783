"""The recipes of the encoded kernel space: the published settings, and a few steps of each in a narrow space."""

import pytest
import torch

from deblurkit.config import resolve
from deblurkit.core import Observation
from deblurkit.kernel_priors.encoded import Encoded
from deblurkit.nets.code_net import CodeNet
from deblurkit.optimizers.schedule import decayed
from deblurkit.pipeline import Parts, deblur
from deblurkit.registry import registry
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

NARROW = {
    "image_prior.channels": 4,
    "image_prior.skip_channels": 2,
    "image_prior.scales": 2,
    "image_prior.non_local": False,
    "run.kernel_size": 9,
    "run.threads": 1,
    "run.restarts": 0,
}


def values_of(recipe):
    return resolve({}, registry=registry(), recipe=recipe).values()


def picture(channels=3, size=(48, 56)):
    y = blur_by_definition(cartoon(1, channels, (size[0] + 6, size[1] + 8)), curved_kernel((7, 9)))
    return y + 0.002 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))


def test_the_recipe_of_the_code_has_the_published_settings():
    values = values_of("kernel-space")
    published = {
        "image_prior.name": "dip",
        "image_prior.channels": 128,
        "image_prior.skip_channels": 16,
        "image_prior.scales": 5,
        "image_prior.non_local": True,
        "image_prior.input_channels": 8,
        "image_prior.input_scale": 0.1,
        "image_prior.perturbation": 0.001,
        "image_prior.regulariser": "hyper-laplacian",
        "image_prior.regulariser_weight": 2e-2,
        "image_prior.exponent": 0.66,
        "image_prior.fit_steps": 300,
        "image_prior.fit_lr": 5e-4,
        "kernel_prior.name": "encoded",
        "kernel_prior.code": "network",
        "kernel_prior.penalty": 5e-5,
        "kernel_prior.input_scale": 0.1,
        "kernel_prior.perturbation": 0.001,
        "kernel_prior.fit_steps": 300,
        "kernel_prior.fit_lr": 5e-4,
        "kernel_prior.tiles": 1,
        "kernel_prior.response": False,
        "data_term.name": "perceptual",
        "data_term.switch": 2500,
        "data_term.perceptual_weight": 0.6,
        "data_term.ssim_weight": 1.0,
        "data_term.late_weight": 1.0,
        "optimizer.name": "joint",
        "optimizer.iterations": 5000,
        "optimizer.image_lr": 5e-4,
        "optimizer.kernel_lr": 5e-4,
        "optimizer.decay": 0.7,
        "optimizer.second_phase": 2500,
        "run.start": "blurry",
        "run.channels": "all",
        "final.name": "none",
    }
    assert {key: values[key] for key in published} == published
    assert values["image_prior.regulariser_weight"] * values["optimizer.image_weight"] == pytest.approx(5e-2)
    assert values["kernel_prior.penalty"] * values["optimizer.kernel_weight"] == pytest.approx(5e-4)


@pytest.mark.parametrize(("step", "decays"), [(0, 0), (998, 0), (999, 1), (1998, 1), (1999, 2), (3999, 4), (4999, 5)])
def test_its_schedule_steps_at_the_start_of_an_iteration(step, decays):
    p = resolve({}, registry=registry(), recipe="kernel-space").optimizer.params
    assert decayed(p.image_lr, step, p.milestones, p.decay) == pytest.approx(5e-4 * 0.7**decays)
    assert decayed(p.kernel_lr, step, p.milestones, p.decay) == pytest.approx(5e-4 * 0.7**decays)


def test_both_phases_of_its_loss_change_at_one_step():
    parts = Parts.load(resolve({}, registry=registry(), recipe="kernel-space"), registry())
    switch = parts.config.optimizer.params.second_phase
    term = parts.data_class(parts.config.data_term.params)
    observation = Observation.of(picture())
    other = 0.9 * observation.y + 0.02
    before, last, first, after = (float(term(other, observation, switch + step)) for step in (-2, -1, 0, 1))
    assert before == last
    assert first == after
    # 0.6 P + (1 - SSIM) becomes P
    assert 0 < last - 0.6 * first < 0.5


def test_the_recipe_of_the_paper_is_algorithm_1_on_equation_6():
    values = values_of("kernel-space-paper")
    wanted = {
        "image_prior.name": "dip",
        "image_prior.regulariser": "hyper-laplacian",
        "image_prior.perturbation": 0.0,
        "kernel_prior.name": "encoded",
        "kernel_prior.code": "network",
        "kernel_prior.perturbation": 0.0,
        "kernel_prior.fit_steps": 0,
        "data_term.name": "charbonnier",
        "data_term.epsilon": 1e-3,
        "optimizer.name": "alternating",
        "optimizer.renew_kernel": True,
        "final.name": "none",
        "run.start": "own",
    }
    assert {key: values[key] for key in wanted} == wanted
    assert values["optimizer.kernel_steps"] > values["optimizer.image_steps"]
    assert values["kernel_prior.penalty"] > 0
    assert values["image_prior.regulariser_weight"] > 0


def test_the_quick_recipe_stays_with_closed_forms():
    config = resolve({}, registry=registry(), recipe="kernel-space-cpu")
    parts = Parts.load(config, registry())
    assert parts.closed_kernel
    assert parts.many_scales
    assert parts.kernel_class.alternative(config.kernel_prior.params) is not None


STEPS = {
    "kernel-space": {
        "image_prior.fit_steps": 2,
        "kernel_prior.fit_steps": 2,
        "data_term.switch": 2,
        "optimizer.iterations": 4,
        "optimizer.second_phase": 2,
    },
    "kernel-space-paper": {"optimizer.iterations": 2, "optimizer.kernel_steps": 3},
}


@pytest.mark.parametrize("recipe", STEPS)
@pytest.mark.parametrize(("channels", "size"), [(3, (48, 56)), (1, (40, 150))])
def test_a_few_steps_in_a_published_space(paper_file, recipe, channels, size):
    flags = {**NARROW, **STEPS[recipe], "kernel_prior.space": paper_file}
    y = picture(channels, size)
    result = deblur(y, resolve(flags, registry=registry(), recipe=recipe))
    assert result.image.shape == y.shape
    assert bool(result.image.isfinite().all())
    assert result.kernel is None
    assert not result.restored
    assert result.stopped == ""
    # a round of the paper is one step of the image and three of the kernel
    assert len(result.history) == flags["optimizer.iterations"] * (4 if recipe == "kernel-space-paper" else 1)
    assert all(row["kernel"] > 0 and row["image"] > 0 and row["data"] > 0 for row in result.history)


@pytest.mark.parametrize("recipe", STEPS)
def test_a_few_steps_in_a_compact_space_show_a_kernel(compact_file, recipe):
    flags = {**NARROW, **STEPS[recipe], "kernel_prior.space": compact_file}
    result = deblur(picture(), resolve(flags, registry=registry(), recipe=recipe))
    assert result.kernel is not None
    assert result.kernel.shape == (1, 1, 9, 9)
    assert float(result.kernel.sum()) == pytest.approx(1, abs=1e-5)


def test_the_energies_of_its_second_phase_weigh_more(paper_file, monkeypatch):
    """With networks that stand still, the terms jump by the factors and by nothing else."""
    flags = {**NARROW, **STEPS["kernel-space"], "kernel_prior.space": paper_file}
    flags |= {"optimizer.image_lr": 1e-12, "optimizer.kernel_lr": 1e-12}
    flags |= {"image_prior.perturbation": 0.0, "kernel_prior.perturbation": 0.0}
    history = deblur(picture(), resolve(flags, registry=registry(), recipe="kernel-space")).history
    for term, factor in (("image", 2.5), ("kernel", 10.0)):
        terms = [row[term] for row in history]
        assert terms[1] == pytest.approx(terms[0], rel=1e-3)
        assert terms[2] == pytest.approx(factor * terms[1], rel=1e-3)
        assert terms[3] == pytest.approx(terms[2], rel=1e-3)


def test_the_paper_draws_the_code_s_network_anew_in_every_round(paper_file, monkeypatch):
    drawn = []
    real = Encoded._draw_networks
    monkeypatch.setattr(Encoded, "_draw_networks", lambda self, like: drawn.append(self) or real(self, like))
    flags = {**NARROW, **STEPS["kernel-space-paper"], "kernel_prior.space": paper_file, "optimizer.iterations": 3}
    deblur(picture(), resolve(flags, registry=registry(), recipe="kernel-space-paper"))
    assert len(drawn) == 1 + 3
    assert all(isinstance(net, CodeNet) for net in drawn[-1].networks.networks)
