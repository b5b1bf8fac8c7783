from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.ablation.rows import NAME, ablation_rows, resolve_variants, study_cases, varying
from deblurkit.ablation.study import Variant, read_study
from deblurkit.cells.transfer import TransferCase
from deblurkit.errors import ConfigError, UsageError
from deblurkit.registry import registry


@pytest.fixture
def study(tmp_path):
    def read(text, reduced=False):
        file = tmp_path / "study.toml"
        file.write_text(text)
        return read_study(file, reduced=reduced)

    return read


@pytest.fixture
def pictures(tmp_path):
    """Two sharp pictures and two kernels."""
    folder = tmp_path / "sharp"
    folder.mkdir()
    (tmp_path / "kernels").mkdir()
    for index, name in enumerate(("one", "two")):
        values = np.random.default_rng(index).integers(0, 256, (110, 120, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{name}.png")
    np.save(tmp_path / "kernels" / "k1.npy", np.eye(5) / 5)
    np.save(tmp_path / "kernels" / "k2.npy", np.full((3, 3), 1 / 9))
    return folder


def resolved(found, **flags):
    return resolve_variants(found, registry(), {"threads": 1, **flags})


def labels(found):
    return varying(found.variants, [{} if isinstance(one, str) else one.values() for one in resolved(found)])


def test_every_variant_is_resolved_with_the_flags_on_top(study):
    found = study(
        'base = "fast"\n[[variant]]\nname = "a"\nrun.crop = 99\n[[variant]]\nname = "b"\nrun.device = "cuda"\n'
    )
    first, second = resolved(found, device="cpu")
    assert (first.config.run.crop, first.config.run.device, first.config.run.threads) == (99, "cpu", 1)
    assert (second.config.run.crop, second.config.run.device) == (640, "cpu")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('kernel_prior.name = "fcm"', "no kernel prior 'fcm'; did you mean 'fcn'"),
        ('image_prior.name = "l0-gradient"\noptimizer.name = "joint"', "joint"),
        ("run.crpo = 3", "run.crpo: no such parameter; did you mean 'crop'"),
        ("optimizer.iterations = 0", r"optimizer.iterations: must be an integer with x>=1, not 0 \(.*variant 'b'\)"),
        ("optimizer.iterations = 'many'", "optimizer.iterations"),
    ],
)
def test_a_variant_that_does_not_fit_is_a_row_that_says_so(study, wrong, said):
    found = study(f'base = "fast"\n[[variant]]\nname = "a"\n[[variant]]\nname = "b"\n{wrong}\n')
    good, bad = resolved(found)
    assert not isinstance(good, str)
    assert isinstance(bad, str)
    with pytest.raises(ConfigError, match=said):
        resolved(replace(found, variants=found.variants[1:]))  # nothing is left
    rows = ablation_rows(found, [good, bad], [], registry())
    assert [bool(row.error) for row in rows[:2]] == [False, True]
    assert rows[1].cells == ()


def test_a_space_that_is_not_there_is_an_error_of_its_row_alone(study):
    found = study(
        'base = "kernel-space-cpu"\n[[variant]]\nname = "a"\n'
        '[[variant]]\nname = "b"\nkernel_prior.space = "b.safetensors"\n'
    )
    good, bad = resolved(found)
    assert not isinstance(good, str)
    assert "b.safetensors: cannot be read" in bad


def test_a_grid_value_that_a_component_has_not_is_an_error_of_its_rows_alone(study):
    found = study(
        'base = "selfdeblur"\n[grid]\nkernel_prior.hidden_layers = [0, 1]\n'
        '[[variant]]\nname = "fcn"\n[[variant]]\nname = "dip"\nkernel_prior.name = "dip"\n'
    )
    one, two, three, four = resolved(found)
    assert [one.config.kernel_prior.params.hidden_layers, two.config.kernel_prior.params.hidden_layers] == [0, 1]
    assert all("kernel_prior.hidden_layers: no such parameter" in text for text in (three, four))
    assert [label["kernel_prior.hidden_layers"] for label in labels(found)] == ["0", "1", "0", "1"]


def test_only_what_varies_is_a_column(study):
    found = study(
        'base = "selfdeblur"\n[[variant]]\nname = "a"\n[[variant]]\nname = "b"\noptimizer.iterations = 7\n'
        '[[variant]]\nname = "c"\noptimizer.milestones = [1, 2]\n'
    )
    assert labels(found) == [
        {NAME: "a", "optimizer.iterations": "5000", "optimizer.milestones": "2000,3000,4000"},
        {NAME: "b", "optimizer.iterations": "7", "optimizer.milestones": "2000,3000,4000"},
        {NAME: "c", "optimizer.iterations": "5000", "optimizer.milestones": "1,2"},
    ]


def test_another_component_is_one_column_and_not_all_of_its_parameters(study):
    text = 'base = "selfdeblur"\n[[variant]]\nname = "a"\n[[variant]]\nname = "b"\nkernel_prior.name = "dip"\n'
    assert labels(study(text)) == [{NAME: "a", "kernel_prior.name": "fcn"}, {NAME: "b", "kernel_prior.name": "dip"}]
    more = study(text + '[[variant]]\nname = "c"\nkernel_prior.hidden_layers = 2\n')
    assert labels(more) == [
        {NAME: "a", "kernel_prior.name": "fcn", "kernel_prior.hidden_layers": "1"},
        {NAME: "b", "kernel_prior.name": "dip"},
        {NAME: "c", "kernel_prior.name": "fcn", "kernel_prior.hidden_layers": "2"},
    ]


def test_columns_of_the_grid_keep_their_order():
    points = [{"run.crop": 1, "run.starts": 2}, {"run.crop": 1, "run.starts": 2}]
    variants = [Variant(name, point, (), {}, {}) for name, point in zip("ab", points, strict=True)]
    assert varying(variants, [{}, {}]) == [{NAME: one, "run.crop": "1", "run.starts": "2"} for one in "ab"]


def test_a_row_has_every_picture_with_every_seed_and_references_stand_below(study, tmp_path):
    generator = np.random.default_rng(0)
    for number in (1, 2):
        for place in (tmp_path / f"p{number}_blur.png", tmp_path / f"p{number}_sharp.png"):
            Image.fromarray(generator.integers(0, 256, (64, 64), dtype=np.uint8)).save(place)
    found = study(
        'base = "fast"\nseeds = [3, 4]\n[[variant]]\nname = "a"\npublished.psnr = 3\n'
        '[[variant]]\nname = "b"\nrun.crop = 9\n'
        '[[published]]\nname = "others"\nscores.psnr = 30\n'
    )
    cases = study_cases(found, [tmp_path])
    rows = ablation_rows(found, resolved(found), cases, registry(), extras=("mine",))
    assert [row.label[NAME] for row in rows] == ["a", "b", "others", "blurry"]
    assert [(cell.case.name, cell.seed) for cell in rows[0].cells] == [("p1", 3), ("p1", 4), ("p2", 3), ("p2", 4)]
    assert [row.reference for row in rows] == [False, False, True, True]
    assert [row.published for row in rows] == [{"psnr": 3.0}, {}, {"psnr": 30.0}, {}]
    assert rows[2].cells == ()
    assert {cell.extras for row in rows for cell in row.cells} == {("mine",)}


TRANSFER = 'task = "transfer"\nbase = "kernel-space-cpu"\n[blur]\nkernels = "kernels"\nside = 64\n'


def test_blur_goes_from_every_picture_to_the_next_kernel_by_kernel(study, pictures):
    found = study(f'{TRANSFER}[[variant]]\nname = "a"\n')
    cases = study_cases(found, [pictures])
    assert [(case.name, case.group) for case in cases] == [
        ("one_k1_to_two", "k1"),
        ("two_k1_to_one", "k1"),
        ("one_k2_to_two", "k2"),
        ("two_k2_to_one", "k2"),
    ]
    itself = study_cases(replace(found, task="reblur"), [pictures])
    assert [case.name for case in itself] == ["one_k1", "two_k1", "one_k2", "two_k2"]
    assert all(isinstance(case, TransferCase) and case.source == case.target for case in itself)


def test_rows_of_a_space_its_control_and_of_what_has_no_space(study, pictures):
    found = study(
        f'{TRANSFER}[[variant]]\nname = "space"\n[[variant]]\nname = "steps"\ncode.steps = 2\n'
        '[[variant]]\nname = "ratio"\ncode.by = "ratio"\n'
        '[[variant]]\nname = "none"\nkernel_prior.name = "convolution"\n'
        '[[variant]]\nname = "typo"\ncode.step = 2\n'
    )
    cases = study_cases(found, [pictures])
    rows = ablation_rows(found, resolved(found), cases, registry())
    assert [row.label[NAME] for row in rows] == ["space", "steps", "ratio", "none", "typo", "untouched (sharp)"]
    assert rows[1].label["code.steps"] == "2"
    assert (
        "has no space of blurs to take a code from; name one that has a parameter 'space', or set code.by"
        in rows[3].error
    )
    assert "code.step: no such parameter; did you mean 'steps'" in rows[4].error
    keys = {cell.key for row in rows for cell in row.cells}
    assert len(keys) == sum(len(row.cells) for row in rows) == 4 * 4


def test_pictures_and_kernels_that_are_not_there(study, pictures, tmp_path):
    found = study(f'{TRANSFER}[[variant]]\nname = "a"\n')
    with pytest.raises(UsageError, match="a transfer needs two pictures or more"):
        study_cases(found, [pictures / "one.png"])
    elsewhere = replace(found, blur=replace(found.blur, kernels=tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"nowhere: does not exist; name a folder of kernels by blur\.kernels"):
        study_cases(elsewhere, [pictures])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no kernels"):
        study_cases(replace(found, blur=replace(found.blur, kernels=tmp_path / "empty")), [pictures])
    small = replace(found, blur=replace(found.blur, side=100))
    with pytest.raises(UsageError, match=r"needs 130 on each side: lower blur.side, or leave"):
        study_cases(small, [pictures])[0].load()
    assert torch.equal(study_cases(found, [pictures])[0].load().y, study_cases(found, [pictures])[0].load().y)
