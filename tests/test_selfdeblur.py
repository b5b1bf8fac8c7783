"""SelfDeblur through the whole program: the published settings, and a reduced run on real photographs (slow)."""

import os
from pathlib import Path

import pytest

from deblurkit.config import resolve
from deblurkit.images import read_image
from deblurkit.metrics import align
from deblurkit.pipeline import deblur
from deblurkit.registry import registry

LEVIN = Path(os.environ.get("DEBLURKIT_DATA", Path(__file__).parents[2] / "shared" / "data")) / "levin" / "png"


def test_recipe_has_the_published_settings():
    values = resolve({}, registry=registry(), recipe="selfdeblur").values()
    published = {
        "image_prior.name": "dip",
        "image_prior.channels": 128,
        "image_prior.skip_channels": 16,
        "image_prior.scales": 5,
        "image_prior.non_local": True,
        "image_prior.input_channels": 8,
        "image_prior.input_scale": 0.1,
        "image_prior.perturbation": 0.001,
        "image_prior.regulariser": "none",
        "kernel_prior.name": "fcn",
        "kernel_prior.hidden_layers": 1,
        "kernel_prior.hidden_units": 1000,
        "kernel_prior.inputs": 200,
        "data_term.name": "mse-then-ssim",
        "data_term.switch": 1000,
        "optimizer.name": "joint",
        "optimizer.iterations": 5000,
        "optimizer.image_lr": 1e-2,
        "optimizer.kernel_lr": 1e-4,
        "optimizer.milestones": [2000, 3000, 4000],
        "optimizer.decay": 0.5,
        "final.name": "none",
    }
    assert {key: values[key] for key in published} == published


def test_paper_recipe_differs_where_the_paper_does():
    code, paper = (
        resolve({}, registry=registry(), recipe=recipe).values() for recipe in ("selfdeblur", "selfdeblur-paper")
    )
    changed = {key for key in paper if key not in code or code[key] != paper[key]}
    assert changed == {
        "image_prior.non_local",
        "image_prior.regulariser",
        "image_prior.regulariser_weight",
        "data_term.name",
    }
    assert paper["data_term.name"] == "mse"


@pytest.mark.slow
@pytest.mark.parametrize(("image", "kernel", "size"), [(1, 3, 13), (3, 5, 11)])
def test_reduced_run_deblurs_a_real_photograph(image, kernel, size):
    """32 channels and 1500 iterations, the schedule in proportion; about ten minutes each on one core."""
    source = LEVIN / f"im{image}_kernel{kernel}_img.png"
    if not source.is_file():
        pytest.skip(f"{source} is not there: set DEBLURKIT_DATA to the folder of the test data")
    config = resolve(
        {
            "image_prior.channels": 32,
            "optimizer.iterations": 1500,
            "optimizer.milestones": (600, 900, 1200),
            "data_term.switch": 300,
            "run.kernel_size": size,
            "run.restarts": 0,
        },
        registry=registry(),
        recipe="selfdeblur",
    )
    result = deblur(read_image(source).pixels, config)
    score = align(result.image, read_image(LEVIN / f"gt/im{image}.png").pixels).psnr
    print(f"im{image} kernel{kernel}: {score:.2f} dB, {result.seconds['total']:.0f} s, {result.quality.flag}")
    assert score >= 30
