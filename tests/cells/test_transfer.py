from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.cells.carry_out import carry_out
from deblurkit.cells.cell import blurry_cell
from deblurkit.cells.code import BlurParams, CodeParams
from deblurkit.cells.made import made_cases
from deblurkit.cells.transfer import reblur_cases, transfer_cases, transfer_cell
from deblurkit.config import resolve
from deblurkit.errors import ConfigError, UsageError
from deblurkit.ops.convolve import convolve_valid
from deblurkit.registry import registry
from deblurkit.scores import protocol_of

SIDE = 96


@pytest.fixture
def data(tmp_path):
    """Two pictures with structure, and two kernels of odd and unequal sides."""
    (tmp_path / "sharp").mkdir()
    (tmp_path / "kernels").mkdir()
    for index, name in enumerate("ab"):
        values = np.random.default_rng(index).integers(0, 256, (16, 17), dtype=np.uint8)
        Image.fromarray(values).resize((136, 128), Image.Resampling.NEAREST).save(tmp_path / "sharp" / f"{name}.png")
    line = np.zeros((7, 5))
    line[3] = 1 / 5
    np.save(tmp_path / "kernels" / "k1.npy", line)
    np.save(tmp_path / "kernels" / "k2.npy", np.full((3, 3), 1 / 9))
    return tmp_path


@pytest.fixture
def made(data):
    def make(**values):
        return made_cases([data / "sharp"], BlurParams(kernels=data / "kernels", side=SIDE, **values))

    return make


@pytest.fixture
def config():
    return resolve({"run.threads": 1}, registry=registry(), recipe="kernel-space-cpu")


def cell(case, config, **code):
    return transfer_cell(case, config, CodeParams(**code), registry())


def test_a_made_pair_is_a_valid_convolution_of_the_middle(made):
    case = made()["k1"][0]
    sample = case.load()
    assert sample.y.shape == sample.truths[0].shape == (1, 1, SIDE, SIDE)
    assert sample.kernel.shape == (1, 1, 31, 31)
    assert float(sample.kernel.sum()) == pytest.approx(1.0)
    inner = convolve_valid(sample.truths[0], sample.kernel)
    assert torch.allclose(inner, sample.y[..., 15:-15, 15:-15], atol=1e-6)
    assert case.kernel_size() == 31


def test_noise_is_in_the_blurry_picture_and_not_in_the_truth(made):
    clean, noisy = made()["k1"][0], made(noise=0.05)["k1"][0]
    assert torch.equal(noisy.clean().y, clean.load().y)
    assert float((noisy.load().y - clean.load().y).std()) == pytest.approx(0.05, rel=0.05)
    assert torch.equal(noisy.load().y, noisy.load().y)
    assert torch.equal(reblur_cases([noisy])[0].load().truths[0], clean.load().y)
    assert noisy.fingerprint() != clean.fingerprint()


def test_what_is_worked_on_is_the_target(made):
    cases = transfer_cases(made())
    source, target = made()["k1"]
    sample = cases[0].load()
    assert (cases[0].name, cases[0].group, cases[0].layout) == ("a_k1_to_b", "k1", "reblur")
    assert torch.equal(sample.y, target.load().truths[0])
    assert torch.equal(sample.truths[0], target.load().y)
    assert cases[0].source == source
    assert len({case.fingerprint() for case in cases}) == len(cases) == 4


def test_the_fingerprint_sees_what_is_in_the_files(made, data):
    case = transfer_cases(made())[0]
    before = case.fingerprint()
    np.save(data / "kernels" / "k1.npy", np.full((3, 3), 1 / 9))
    assert transfer_cases(made())[0].fingerprint() != before


def test_the_score_looks_at_the_inner_part_alone():
    truth = torch.rand(1, 1, 50, 60)
    image = truth.clone()
    image[..., 15:-15, 15:-15] += 0.1
    image[..., :15, :] = 0.0  # beyond the border
    from deblurkit.datasets import Sample

    values = protocol_of("reblur").measure(image, Sample(truth, (truth,), None), None)
    assert values["psnr-reblur"] == pytest.approx(20.0, abs=1e-4)
    assert set(values) == {"psnr-reblur", "ssim-reblur"}
    tiny = Sample(truth, (truth[..., :40, :],), None)
    assert protocol_of("reblur").measure(image[..., :40, :], tiny, None) == {}


@pytest.mark.parametrize("by", ["space", "ratio"])
def test_a_convolution_is_taken_and_given(made, config, by):
    case = transfer_cases(made())[2]
    outcome = carry_out(cell(case, config, by=by))
    assert outcome.document["status"] == "ok", outcome.document
    untouched = carry_out(blurry_cell(case)).document["scores"]["psnr-reblur"]
    assert outcome.document["scores"]["psnr-reblur"] > untouched + 15
    assert outcome.document["scores"]["kernel-similarity"] > 0.99
    assert outcome.image.shape == (1, SIDE, SIDE)
    assert outcome.kernel.shape == (31, 31)


def test_steps_on_the_code_do_not_make_it_worse(made, config):
    case = reblur_cases(made()["k1"])[0]
    plain, refined = (carry_out(cell(case, config, steps=steps)).document["scores"] for steps in (0, 5))
    assert refined["psnr-reblur"] >= plain["psnr-reblur"] - 1e-6


def test_what_makes_no_difference_is_not_in_the_key(made, config, data):
    case = transfer_cases(made())[0]
    other = resolve({"run.threads": 1, "image_prior.strength": 2.0}, registry=registry(), recipe="kernel-space-cpu")
    assert cell(case, config).key == cell(case, other).key
    assert cell(case, config).key != cell(case, config, steps=1).key
    assert cell(case, config, by="ratio").identity.keys() == {"deblurkit"}
    assert cell(case, config, by="ratio").seed == 0


def test_what_goes_wrong_is_said(made, config, data):
    convolution = resolve({}, registry=registry(), recipe="fast")
    case = transfer_cases(made())[0]
    with pytest.raises(ConfigError, match=r"kernel_prior.name: 'convolution' has no space of blurs"):
        cell(case, convolution)
    assert cell(case, convolution, by="ratio").config["kernel_prior"] == {}
    tiled = carry_out(cell(case, config, tiles=9)).document
    assert tiled["status"] == "failed"
    assert "too small" in tiled["error"]
    with pytest.raises(UsageError, match="is called like another one"):
        made_cases([data / "sharp", _copy(data)], BlurParams(kernels=data / "kernels"))


def test_a_damaged_space_is_a_failed_cell(made, config, tmp_path):
    case = transfer_cases(made())[0]
    document = {**cell(case, config).config, "kernel_prior": {"space": str(tmp_path / "none.safetensors")}}
    outcome = carry_out(replace(cell(case, config), config=document))
    assert outcome.document["status"] == "failed"
    assert "none.safetensors" in outcome.document["error"]


def _copy(data):
    (data / "more").mkdir()
    Image.open(data / "sharp" / "a.png").save(data / "more" / "a.png")
    return data / "more"


def test_settings_of_the_other_way_make_no_other_cell():
    from deblurkit.cells.code import CodeParams

    assert CodeParams(by="space", gamma=2.2).used() == CodeParams(by="space").used()
    assert CodeParams(by="ratio", steps=7).used() == CodeParams(by="ratio").used()
    assert CodeParams(by="space", steps=7).used() != CodeParams(by="space").used()
    assert CodeParams(by="ratio", gamma=2.2).used()["gamma"] == 2.2
