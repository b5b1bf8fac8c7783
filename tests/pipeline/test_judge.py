from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.config import resolve
from deblurkit.core import Observation
from deblurkit.metrics import align
from deblurkit.pipeline import deblur, observe
from deblurkit.pipeline.judge import Quality, is_collapsed, judge, sparsity, spread
from deblurkit.registry import registry
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

KERNEL = curved_kernel((15, 17))
SAMPLES = Path(__file__).parent.parent / "data"


def scene(noise: float = 0.005) -> tuple[Observation, torch.Tensor]:
    """An observation, and its true latent image."""
    x = cartoon(1, 3, (94, 96))
    y = blur_by_definition(x, KERNEL)
    return Observation.of(y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)), noise), x


def embedded(kernel: torch.Tensor, side: int) -> torch.Tensor:
    big = torch.zeros(1, 1, side, side)
    top, left = (side - kernel.shape[-2]) // 2, (side - kernel.shape[-1]) // 2
    big[..., top : top + kernel.shape[-2], left : left + kernel.shape[-1]] = kernel
    return big


def delta(side: int) -> torch.Tensor:
    return embedded(torch.ones(1, 1, 1, 1), side)


def test_the_truth_is_good():
    observation, x = scene()
    quality = judge(observation, x, KERNEL)
    assert quality.flag == "good"
    assert quality.reasons == ()
    assert quality.measures["residual"] == pytest.approx(0.005, rel=0.1)
    assert quality.measures["noise"] == pytest.approx(0.005)
    assert quality.measures["contrast"] > 1


def test_a_delta_kernel_found_no_blur():
    observation, x = scene()
    quality = judge(observation, x[..., 7:-7, 8:-8], delta(1))
    assert quality.flag == "doubtful"
    assert quality.reasons[0].startswith("no blur was found")
    assert quality.measures["peak"] == 1


def test_a_kernel_of_a_pixel_or_two_is_the_softness_of_a_sharp_picture():
    observation, _ = scene()
    soft = torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]])[None, None]
    quality = judge(observation, torch.nn.functional.pad(observation.y, (1, 1, 1, 1)), soft)
    assert quality.reasons == (
        "hardly any blur was found: the kernel is about 1 px wide, no more than the softness of a sharp picture",
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers(value):
    observation, x = scene()
    broken = x.clone()
    broken[0, 0, 5, 5] = value
    assert judge(observation, broken, KERNEL).flag == "bad"
    assert "diverged" in judge(observation, broken, KERNEL).reasons[0]
    kernel = KERNEL.clone()
    kernel[0, 0, 0, 0] = value
    assert judge(observation, x, kernel).flag == "bad"
    assert "the kernel has values" in judge(observation, x, kernel).reasons[0]


def test_black_and_flat_images():
    observation, x = scene()
    for image in (torch.zeros_like(x), torch.full_like(x, 0.5)):
        quality = judge(observation, image, KERNEL)
        assert quality.flag == "bad"
        assert "the image collapsed to a nearly flat picture" in quality.reasons
    assert "the image is much darker or brighter than the blurry one" in judge(observation, x - 0.3, KERNEL).reasons


def test_more_contrast_than_deblurring_gives_is_ringing():
    observation, x = scene()
    ringing = x + 0.3 * torch.sin(torch.arange(x.shape[-1]) * 3.0)
    quality = judge(observation, ringing, KERNEL, blur_by_definition(x, KERNEL))
    assert quality.flag == "doubtful"
    assert "times the contrast of the blurry one" in quality.reasons[0]


def test_a_flat_picture_has_no_blur_to_find():
    y = torch.full((1, 1, 40, 40), 0.5)
    quality = judge(Observation.of(y, 0.0), torch.full((1, 1, 44, 44), 0.5), torch.full((1, 1, 5, 5), 0.04))
    assert quality == Quality("bad", ("the picture is flat: it shows nothing whose blur could be found",), {})


def test_a_kernel_at_the_border_of_its_window_wanted_more():
    observation, _ = scene()
    kernel = torch.zeros(1, 1, 9, 9)
    kernel[0, 0, 4, :] = 1 / 9
    quality = judge(observation, torch.nn.functional.pad(observation.y, (4, 4, 4, 4)), kernel)
    assert any("reaches the border of its window; give a larger --kernel-size" in reason for reason in quality.reasons)
    inside = embedded(kernel, 13)
    quality = judge(observation, torch.nn.functional.pad(observation.y, (6, 6, 6, 6)), inside)
    assert not any("border" in reason for reason in quality.reasons)


def test_a_kernel_that_fills_its_window_shows_no_path():
    observation, _ = scene()
    quality = judge(observation, torch.nn.functional.pad(observation.y, (4, 4, 4, 4)), torch.full((1, 1, 9, 9), 1 / 81))
    assert quality.flag == "bad"
    assert any("shows no motion path" in reason for reason in quality.reasons)


@pytest.mark.parametrize(("error", "flag"), [(0.0, "good"), (0.05, "doubtful"), (0.2, "bad")])
def test_the_residual_is_compared_with_the_noise(error, flag):
    observation, x = scene()
    blurred = blur_by_definition(x, KERNEL)
    wrong = blurred + error * torch.randn(blurred.shape, generator=torch.Generator().manual_seed(1))
    quality = judge(observation, x, KERNEL, wrong)
    assert quality.flag == flag
    assert quality.measures["residual"] == pytest.approx((error**2 + 0.005**2) ** 0.5, rel=0.1)
    assert any("re-blurring" in reason for reason in quality.reasons) == (flag != "good")


def test_masked_pixels_do_not_count_and_are_mentioned():
    observation, x = scene()
    mask = observation.mask.clone()
    mask[..., :20, :20] = 0
    y = observation.y.clone()
    y[..., :20, :20] = 1.0
    quality = judge(Observation.of(y, 0.005, mask=mask), x, KERNEL)
    assert quality.flag == "doubtful"
    assert not quality.retry, "another start would not see more"
    assert quality.reasons[0].startswith("6% of the pixels are saturated or missing")
    assert quality.measures["residual"] < 0.006


def test_better_results_have_lower_ranks():
    ranks = [
        Quality(flag, (), {"residual": residual}).rank for flag in ("good", "doubtful", "bad") for residual in (1, 2)
    ]
    assert ranks == sorted(ranks)
    assert Quality("bad", (), {}).rank > Quality("bad", (), {"residual": 9.0}).rank


def test_without_a_kernel_the_image_alone_is_judged():
    observation, x = scene()
    assert judge(observation, x, None).flag == "good"
    assert "residual" not in judge(observation, x, None).measures
    assert "residual" in judge(observation, x, None, observation.y).measures


def test_spread_is_the_root_mean_square_radius():
    kernel = torch.zeros(1, 1, 5, 5)
    kernel[0, 0, 1, 2] = kernel[0, 0, 3, 2] = 0.5
    assert spread(kernel) == pytest.approx(1.0)
    assert spread(delta(7)) == 0


def sample(name: str) -> torch.Tensor:
    with Image.open(SAMPLES / f"{name}.png") as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def test_the_sample_is_good():
    blurry, sharp = sample("sample_blurry"), sample("sample_sharp")
    result = deblur(blurry, resolve({"run.threads": 1}, registry=registry()))
    assert result.quality.flag == "good", result.quality.reasons
    assert align(result.image, sharp).psnr > align(blurry, sharp).psnr + 5
    assert 5 < result.quality.measures["spread"] < 12


def test_a_sharp_picture_is_not_passed_off_as_deblurred():
    config = resolve({"run.threads": 1}, registry=registry())
    result = deblur(sample("sample_sharp"), config)
    assert result.quality.flag == "doubtful"
    assert "blur was found" in result.quality.reasons[0]
    assert not any("border" in reason for reason in result.quality.reasons)


def test_noise_of_the_observation_is_what_the_residual_is_compared_with():
    observation = observe(scene(0.02)[0].y)
    assert float(observation.noise) == pytest.approx(0.02, rel=0.3)


@pytest.mark.parametrize(
    ("spread", "peak", "collapsed"),
    [(1.2, 0.4, False), (1.8, 0.1, True), (3.0, 0.27, True), (3.2, 0.23, False), (9.0, 0.05, False)],
)
def test_a_kernel_that_fell_back_towards_a_point_wants_another_start(spread, peak, collapsed):
    """Below 1.5 px the picture is sharp; wide kernels have low peaks; between them the estimation may have given up."""
    assert is_collapsed({"spread": spread, "peak": peak}) is collapsed


def test_a_collapsed_kernel_is_doubtful_and_tried_again():
    observation, x = scene()
    kernel = torch.zeros(1, 1, 9, 9)
    kernel[0, 0, 4, 4], kernel[0, 0, 4, 0], kernel[0, 0, 4, 8] = 0.6, 0.2, 0.2
    quality = judge(observation, x, kernel)
    assert quality.flag == "doubtful"
    assert quality.retry
    assert any("little blur was found" in reason for reason in quality.reasons)


def test_sparsity_is_mean_over_root_mean_square_of_gradient_magnitudes():
    x = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    x[0, 0, 4, 4] = 0.6
    # within 5 x 5, forward differences on 4 x 4: left of the dot, above it, and both ways at it
    lengths = [0.6, 0.6, 0.6 * 2**0.5]
    expected = (sum(lengths) / 16) / (sum(one**2 for one in lengths) / 16) ** 0.5
    assert sparsity(x, (5, 5)) == pytest.approx(expected)
    x[0, 0, 0, 0] = 1.0
    assert sparsity(x, (5, 5)) == pytest.approx(expected), "the margin is not in the frame"
    ramp = torch.linspace(0, 1, 9, dtype=torch.float64).expand(1, 1, 9, 9)
    assert sparsity(ramp, (9, 9)) == pytest.approx(1.0), "equal everywhere: not sparse at all"
    assert sparsity(torch.full((1, 3, 9, 9), 0.5), (5, 5)) == 0


def test_sparsity_does_not_depend_on_contrast_and_counts_what_is_shown():
    x = scene()[1]
    assert sparsity(0.5 * x, (80, 80)) == pytest.approx(sparsity(x, (80, 80)), rel=1e-5)
    assert sparsity(x + 2, (80, 80)) == 0, "white is white"


def test_ringing_and_blur_make_gradients_less_sparse():
    observation, x = scene(0.0)
    shown = [
        x,
        x + 0.05 * torch.sin(torch.arange(x.shape[-1]) * 2.0),
        torch.nn.functional.pad(observation.y, (8, 8, 7, 7)),
    ]
    values = [judge(observation, one, KERNEL).measures["sparsity"] for one in shown]
    assert values[0] < 0.95 * values[1]
    assert values[0] < 0.95 * values[2]
    assert values[0] == sparsity(x, observation.size)


@pytest.mark.parametrize(("error", "flag"), [(0.06, "doubtful"), (0.2, "bad")])
@pytest.mark.parametrize("kernel", [KERNEL, None])
def test_a_generator_that_misses_the_picture_is_the_likelier_cause(kernel, error, flag):
    observation, x = scene()
    quality = judge(observation, x, kernel, observation.y + error, synthesised=True)
    assert quality.flag == flag
    (reason,) = (reason for reason in quality.reasons if "re-blurring" in reason)
    assert "the generator" in reason
    assert "draw this picture, or " in reason
    assert "generator" not in str(judge(observation, x, kernel, observation.y + error).reasons)


def test_what_is_hidden_from_the_prior_need_not_be_missing_from_the_picture():
    observation, x = scene()
    mask = observation.mask.clone()
    mask[..., :20, :] = 0
    hidden = Observation.of(observation.y, 0.005, mask=mask)
    quality = judge(hidden, x, KERNEL, unseen=0.0)
    assert quality.flag == "good"
    assert quality.measures["saturated"] == 0
    assert judge(hidden, x, KERNEL, unseen=0.5).reasons[0].startswith("50% of the pixels are saturated or missing")


@pytest.mark.parametrize(("kernel", "cause"), [(KERNEL, "not the same everywhere"), (None, "did not converge")])
def test_what_a_large_residual_may_mean_depends_on_the_model(kernel, cause):
    observation, x = scene()
    quality = judge(observation, x, kernel, observation.y + 0.2)
    assert quality.flag == "bad"
    assert any(reason.endswith(cause) for reason in quality.reasons)
