import subprocess
import sys
from pathlib import Path

import pytest
from deblurkit.config import resolve
from deblurkit.pipeline import deblur
from deblurkit.registry import registry
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

import deblurkit_inr

CONFIGS = Path(deblurkit_inr.__file__).parent / "configs"
SMALL = {"channels": 4, "skip_channels": 2, "scales": 2}


@pytest.mark.parametrize(
    ("kind", "name"), [("image_prior", "inr"), ("kernel_prior", "inr"), ("data_term", "cross-scale-ssim")]
)
def test_deblurkit_finds_it_under_its_distribution(kind, name):
    entry = registry().find(kind, name)
    assert entry.provider.distribution == "deblurkit-inr"
    assert not [broken for broken in registry().broken if broken.provider == entry.provider]
    entry.spec.load()


def test_reading_the_plugin_does_not_import_torch():
    program = "import sys, deblurkit_inr.plugin; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("name", ["deblur-inr", "deblur-inr-laptop"])
def test_the_configs_are_whole(name):
    config = resolve({}, registry=registry(), file=CONFIGS / f"{name}.toml")
    assert (config.image_prior.name, config.kernel_prior.name) == ("inr", "inr")
    assert (config.run.scales, config.run.scale_ratio, config.run.decimation) == (3, 2.0, "stride")
    assert config.final.name == "none"


def restored(image, kernel, *, channels=1, masked=False, **more):
    y = blur_by_definition(cartoon(1, channels, (76, 78)), curved_kernel((7, 9)))[..., :70, :70]
    valid = None
    if masked:
        valid = (y[:, :1] * 0 + 1).clone()
        valid[..., 10:16, 20:30] = 0
    flags = {"image_prior.name": image, "kernel_prior.name": kernel, "run.kernel_size": 9, "run.threads": 1}
    flags |= {f"image_prior.{key}": value for key, value in SMALL.items()} | {"run.restarts": 0, "final.name": "none"}
    flags |= {"data_term.name": "cross-scale-ssim", "optimizer.name": "joint", "run.start": "own"}
    flags |= {"optimizer.iterations": 3} | {key.replace("__", "."): value for key, value in more.items()}
    return deblur(y, resolve(flags, registry=registry()), valid=valid)


@pytest.mark.parametrize(
    ("image", "kernel", "more"),
    [
        ("inr", "inr", {}),
        ("inr", "fcn", {}),
        ("dip", "inr", {}),
        ("inr", "encoded", {"data_term__name": "ssim"}),
        ("inr", "dip", {}),
        ("inr", "inr", {"run__start": "blurry", "image_prior__fit_steps": 5}),
        ("inr", "inr", {"run__start": "kernel", "kernel_prior__fit_steps": 20}),
    ],
)
def test_it_works_with_parts_from_the_other_side(image, kernel, more):
    result = restored(image, kernel, **more)
    assert result.image.shape == (1, 1, 70, 70)
    assert bool(result.image.isfinite().all())
    assert result.stopped == ""


def alternating(**more):
    return {"optimizer__name": "alternating", "optimizer__iterations": 2, "optimizer__image_steps": 2} | more


@pytest.mark.parametrize(("image", "kernel"), [("inr", "convolution"), ("inr", "inr"), ("dip", "inr")])
def test_parts_may_take_turns(image, kernel):
    steps = {"optimizer__kernel_steps": 2}
    result = restored(image, kernel, **alternating(**steps))
    assert bool(result.image.isfinite().all())
    assert float(result.kernel.sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kernel", ["inr", "convolution"])
def test_scales_colour_and_missing_pixels(kernel):
    more = {"run__scales": 2, "run__scale_ratio": 2, "run__decimation": "stride"}
    more |= {"data_term__until": 2} if kernel == "inr" else alternating()
    result = restored("inr", kernel, channels=3, masked=True, **more)
    assert result.image.shape == (1, 3, 70, 70)
    assert bool(result.image.isfinite().all())
    assert {row["scale"] for row in result.history} == {1, 2}
    compared = [row["scale"] for row in result.history if "scales" in row]
    assert compared == ([2, 2] if kernel == "inr" else [])


def test_a_picture_that_is_too_small_at_a_coarse_scale_says_so():
    from deblurkit.errors import RunError

    with pytest.raises(RunError, match=r"image_prior.scales or run.scales"):
        restored("inr", "inr", image_prior__scales=7, run__scales=1)
