"""The scorer against numbers that others measured on Levin's set."""

import importlib.util
import json
import os
import statistics
from pathlib import Path

import pytest

from deblurkit import metrics
from deblurkit.datasets import find_cases
from deblurkit.scores import protocol_of

DATA = Path(os.environ.get("DEBLURKIT_DATA", "../shared/data")) / "levin"
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scorer.py"

pytestmark = pytest.mark.skipif(not (DATA / "alignment.json").is_file(), reason=f"{DATA} is absent; set DEBLURKIT_DATA")


@pytest.fixture(scope="module")
def known():
    return json.loads((DATA / "alignment.json").read_text())


@pytest.fixture(scope="module")
def program():
    if not SCRIPT.is_file():
        pytest.skip("the benchmarks are not here")
    spec = importlib.util.spec_from_file_location("scorer", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def samples(layout):
    return {case.name: case.load() for case in find_cases(DATA, layout)}


def test_the_blurry_row(known):
    png, exact = samples("levin"), samples("levin-exact")
    measure = protocol_of("levin").measure
    found = {name: measure(png[name].y, exact[name], None)["psnr-aligned"] for name in png}
    for name, value in found.items():
        # theirs has two decimals, and looks for quarters of a pixel only around the best whole one
        assert value == pytest.approx(
            known["wiener_oracle"][name.replace("kernel", "k")]["psnr_blurry_vs_x_ij"], abs=0.006
        )
    assert statistics.mean(found.values()) == pytest.approx(known["mean_blurry_psnr"], abs=0.005)
    plain = statistics.mean(float(metrics.psnr(png[name].y, png[name].truths[0])) for name in png)
    assert plain < statistics.mean(found.values()) - 1.0


def test_a_plain_deconvolution(program, known):
    name = "im1_kernel3"
    (png,) = (case.load() for case in find_cases(DATA, "levin") if case.name == name)
    (exact,) = (case.load() for case in find_cases(DATA, "levin-exact") if case.name == name)
    measure = protocol_of("levin").measure
    results = [program.wiener(png.y, exact.kernel, weight) for weight in program.WEIGHTS]
    image = max(results, key=lambda one: measure(one, exact, None)["psnr-aligned"])
    theirs = known["wiener_oracle"][name.replace("kernel", "k")]
    assert measure(image, exact, None)["psnr-aligned"] == pytest.approx(theirs["psnr_vs_x_ij"], abs=0.006)
    assert measure(image, exact, None)["ssd"] == pytest.approx(theirs["ssd_vs_x_ij"], abs=0.006)
    assert measure(image, png, None)["psnr-aligned"] == pytest.approx(theirs["psnr_vs_png_gt"], abs=0.006)


@pytest.mark.parametrize(
    ("name", "steps", "tolerance"),
    [
        ("im1_kernel5", 20, 5e-3),
        *(pytest.param(name, 200, 1e-4, marks=pytest.mark.slow) for name in ("im1_kernel4", "im2_kernel7")),
    ],
)
def test_levins_own_errors(program, known, monkeypatch, name, steps, tolerance):
    """Their solver, written anew, leads to their squared errors: crop, shifts, interpolation and truth are theirs."""
    monkeypatch.setattr(program, "STEPS", steps)
    (exact,) = (case.load() for case in find_cases(DATA, "levin-exact") if case.name == name)
    values = protocol_of("levin-exact").measure(program.sparse(exact.y, exact.kernel), exact, None)
    theirs = known["levin_ssd_true_kernel"][int(name[2]) - 1][int(name[-1]) - 1]
    assert values["ssd"] == pytest.approx(theirs, rel=tolerance)
