"""What goes from a coarse scale to the next, and what does not stay behind."""

import gc
import weakref

import pytest
import torch

from deblurkit.config import resolve
from deblurkit.core import Observation
from deblurkit.pipeline import estimate as module
from deblurkit.pipeline.estimate import at_scale, estimate, pyramid, warm_start
from deblurkit.pipeline.parts import Parts
from deblurkit.pipeline.progress import silent
from deblurkit.registry import registry

FLAGS = {
    "image_prior.name": "identity",
    "kernel_prior.name": "convolution",
    "data_term.name": "mse",
    "optimizer.name": "joint",
    "optimizer.iterations": 2,
    "run.start": "own",
    "run.scale_ratio": 2.0,
    "final.name": "none",
}


def parts_with(**flags):
    return Parts.load(resolve({**FLAGS, **flags}, registry=registry()), registry())


def ramp():
    plane = 0.2 + 0.004 * torch.arange(96.0)[:, None] + 0.003 * torch.arange(120.0)
    y = plane[None, None]
    return Observation(y, torch.ones_like(y), torch.zeros_like(y), torch.full((1,), 0.01))


@pytest.mark.parametrize("decimation", ["average", "stride"])
def test_an_image_that_is_fitted_starts_where_the_coarser_one_was(decimation):
    parts, whole = parts_with(**{"run.decimation": decimation}), ramp()
    stride = decimation == "stride"
    coarse, fine = (
        parts.problem(at_scale(whole, factor, stride=stride), (7, 7), torch.Generator()) for factor in (0.5, 1.0)
    )
    latent = torch.nn.functional.pad(coarse.observation.y, (3, 3, 3, 3), mode="replicate")
    warm_start(fine, parts, None, latent, 2.0, coarse, stride=stride)
    with torch.no_grad():
        start = fine.image()[..., 3:-3, 3:-3]
    inner = (..., slice(20, -20), slice(20, -20))
    assert float((start - whole.y)[inner].abs().max()) < (2e-3 if stride else 2e-2)
    if stride:
        assert float((start - whole.y)[inner].mean().abs()) < 1e-4, "half a pixel would be 0.0035"


def test_a_coarse_scale_that_nobody_took_over_is_let_go(monkeypatch):
    seen, alive = [], []
    real = module.minimise

    def watched(problem, *args):
        gc.collect()
        alive.append(sum(one() is not None for one in seen))
        seen.append(weakref.ref(problem.image))
        return real(problem, *args)

    monkeypatch.setattr(module, "minimise", watched)
    whole = ramp()
    estimate(
        whole,
        parts_with(),
        pyramid(9, 2.0, 3, whole.size),
        automatic=False,
        seed=0,
        attempt=0,
        deadline=float("inf"),
        listener=silent,
    )
    assert alive == [0, 0]
