import json
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from tiny_levin import without_costs, write

from deblurkit.cells import engine

STUDY = """
summary = "What the floor of small values does."
base = "fast"
images = "{images}"
seeds = [0]

[run]
largest_kernel = 7
starts = 1
restarts = 0
polish = 1

[[variant]]
name = "usual"
published = {{ psnr-aligned = 33.07 }}

[[variant]]
name = "no floor"
kernel_prior.weak = 0.0

[grid]
image_prior.name = ["l0-gradient", "hyper-laplacian"]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("levin") / "set", images=1)


@pytest.fixture
def study(tmp_path, data):
    def make(text=STUDY, **changes):
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "floor.toml"
        path.write_text(text.format(images=data.as_posix()))
        return path

    return make


@pytest.fixture
def ablate(deblurkit, tmp_path):
    def run(path, *args):
        return deblurkit("ablate", str(path), "-o", str(tmp_path / "run"), *args)

    return run


def rows_of(done):
    return json.loads(done.out)["tables"][0]["rows"]


def test_variants_cross_the_grid_and_only_what_varies_is_a_column(ablate, study):
    done = ablate(study(), "--format", "json")
    assert done.code == 0, done.err
    rows = rows_of(done)
    assert [(row["variant"], row.get("image_prior.name")) for row in rows[:4]] == [
        ("usual", "l0-gradient"),
        ("usual", "hyper-laplacian"),
        ("no floor", "l0-gradient"),
        ("no floor", "hyper-laplacian"),
    ]
    assert [row["kernel_prior.weak"] for row in rows[:4]] == ["0.03", "0.03", "0", "0"]
    labels = [column["key"] for column in json.loads(done.out)["tables"][0]["columns"]]
    assert [key for key in labels if "." in key] == ["image_prior.name", "kernel_prior.weak"]
    assert [row["variant"] for row in rows[4:]] == ["oracle (true kernel)", "blurry"]
    assert rows[0]["difference"] is None
    assert rows[1]["difference"] == pytest.approx(rows[1]["psnr-aligned:mean"] - rows[0]["psnr-aligned:mean"])


def test_a_changed_study_carries_out_only_what_is_new(ablate, study, monkeypatch):
    ablate(study())
    done_before = []
    real = engine.carry_out

    def counted(cell, slot):
        done_before.append(cell)
        return real(cell, slot)

    monkeypatch.setattr(engine, "carry_out", counted)
    assert ablate(study()).code == 0
    assert done_before == []
    done = ablate(study(**{"kernel_prior.weak = 0.0": "kernel_prior.weak = 0.01"}), "--format", "json")
    assert len(done_before) == 4, "one variant, two points of the grid, two pictures"
    assert rows_of(done)[2]["kernel_prior.weak"] == "0.01"


def test_a_variant_with_a_misspelt_key_is_a_failed_row_and_the_others_are_carried_out(ablate, study):
    done = ablate(study(**{"kernel_prior.weak": "kernel_prior.waek"}), "--format", "json")
    assert done.code == 1
    rows = rows_of(done)
    assert [row["count"] for row in rows] == ["2", "2", "failed", "failed", "2", "2"]
    assert "kernel_prior.waek: no such parameter; did you mean 'weak'? (" in rows[2]["failure"]
    assert "variant 'no floor'" in rows[2]["failure"]
    assert "floor.toml" in done.err.splitlines()[0], "it is told before anything is computed"


@pytest.mark.parametrize("key", ["run.seed = 3", "run.threads = 2"])
def test_a_variant_cannot_choose_what_a_flag_decides(ablate, study, key):
    done = ablate(study(**{"kernel_prior.weak = 0.0": key}), "--dry-run", "--format", "json")
    assert done.code == 1
    assert "is not chosen here" in json.loads(done.out)["rows"][2]["error"]
    assert json.loads(done.out)["rows"][0]["error"] == ""


def test_a_size_that_is_given_is_not_chosen(ablate, study):
    text = 'size = "given"\n' + STUDY.replace("kernel_prior.weak = 0.0", "run.kernel_size = 3")
    done = ablate(study(text), "--dry-run", "--format", "json")
    assert "it is given by the true kernel" in json.loads(done.out)["rows"][2]["error"]


def test_every_last_step_has_its_oracle(ablate, study, deblurkit, data, tmp_path):
    text = STUDY.replace("kernel_prior.weak = 0.0", "final.strength = 4.0").replace('"l0-gradient", ', "")
    rows = rows_of(ablate(study(text), "--format", "json"))
    names = [row["variant"] for row in rows]
    assert names[2:] == [
        "oracle (true kernel), as usual, 1, hyper-laplacian",
        "oracle (true kernel), as no floor, 4, hyper-laplacian",
        "blurry",
    ]
    assert rows[2]["psnr-aligned:mean"] != rows[3]["psnr-aligned:mean"]
    assert rows[2]["error-ratio-ssd"] == rows[3]["error-ratio-ssd"] == pytest.approx(1.0)
    flags = ("--final.strength", "4", "--image-prior", "hyper-laplacian", "--largest-kernel", "7", "--starts", "1")
    more = ("--recipe", "fast", "--restarts", "0", "--polish", "1", "--sizes", "auto", "--format", "json")
    alone = deblurkit("benchmark", str(data), "-o", str(tmp_path / "alone"), *flags, *more)
    assert rows_of(alone)[0]["error-ratio-ssd"] == rows[1]["error-ratio-ssd"]


def test_parts_that_do_not_fit_are_a_failed_row(ablate, study):
    done = ablate(
        study(**{"kernel_prior.weak = 0.0": 'optimizer.name = "joint"\nkernel_prior.name = "known"'}),
        "--format",
        "json",
    )
    assert done.code == 1
    assert rows_of(done)[0]["count"] == "2"
    assert rows_of(done)[2]["count"] == "failed"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"summary =": "sumary ="}, "sumary: no such key; did you mean 'summary'? ("),
        ({'base = "fast"': 'base = "fats"'}, "no recipe 'fats'"),
        ({"[[variant]]": "[[varient]]"}, "varient: no such key; did you mean 'variant'?"),
        ({"seeds = [0]": 'seeds = ["a"]'}, "seeds: must be a list of integers"),
        ({'name = "no floor"': 'name = "usual"'}, "two variants have one name"),
        ({'images = "{images}"': 'images = "nowhere"'}, "nowhere"),
        ({'images = "{images}"': ""}, "images: the study names none"),
        ({"largest_kernel = 7": "largest_kernel = 8"}, "run.largest_kernel: must be an odd integer"),
        ({"[grid]": "[grid"}, "is no valid TOML"),
        ({"[run]": "[run]\nseed = 3"}, "run.seed: is not chosen here: name them in seeds"),
        ({"[run]": "[run]\nthreads = 2"}, "run.threads: is not chosen here: give them by --threads"),
        ({"psnr-aligned = ": "psnr-alinged = "}, "published.psnr-alinged: no such score; did you mean 'psnr-aligned'?"),
        ({"seeds = [0]": 'seeds = [0]\ncases = ["im9"]'}, "no picture is called 'im9'"),
    ],
)
def test_what_is_wrong_with_all_is_told_before_anything_runs(ablate, study, tmp_path, changes, told):
    done = ablate(study(**changes))
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "run").exists()


def test_missing_study_and_missing_reduction(ablate, study, tmp_path):
    done = ablate(tmp_path / "none.toml")
    assert done.code == 2
    assert "none.toml" in done.err
    done = ablate(study(), "--reduced")
    assert done.code == 2
    assert "has no reduced size" in done.err


def test_reduced_seeds_pictures_and_settings(ablate, study):
    text = STUDY + '\n[reduced]\ncases = ["im1_kernel1"]\nseeds = [0, 1]\n[reduced.run]\nlargest_kernel = 5\n'
    done = ablate(study(text), "--reduced", "--dry-run", "--format", "json")
    assert done.code == 0
    document = json.loads(done.out)
    assert [row["cells"] for row in document["rows"]] == [2, 2, 2, 2, 1, 1]
    assert document["variants"]["usual, l0-gradient, 0.03"]["run"]["largest_kernel"] == 5
    whole = json.loads(ablate(study(text), "--dry-run", "--format", "json").out)
    assert whole["variants"]["usual, l0-gradient, 0.03"]["run"]["largest_kernel"] == 7


def test_one_at_a_time(ablate, study):
    text = 'mode = "one-at-a-time"\n' + STUDY + "kernel_prior.strong = [0.05, 0.2]\n"
    done = ablate(study(text), "--dry-run", "--format", "json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["rows"]
    assert len(rows) == 2 * (1 + 2 + 2) + 2


def test_flags_beat_the_study(ablate, study, tmp_path):
    other = write(tmp_path / "other", images=2, kernels=(3,))
    done = ablate(study(), "--images", str(other), "--seeds", "4,5", "--only", "im2*", "--dry-run", "--format", "json")
    assert json.loads(done.out)["rows"][0]["cells"] == 2
    assert json.loads(done.out)["layout"] == "levin"


def test_the_report_has_the_rows_and_curves(ablate, study, tmp_path):
    pytest.importorskip("jinja2", reason="the extra 'report' is not installed")
    pytest.importorskip("matplotlib", reason="the extra 'report' is not installed")
    page = tmp_path / "page.html"
    assert ablate(study(), "--report", str(page)).code == 0
    text = page.read_text(encoding="utf-8")
    for words in ("no floor", "What the floor of small values does.", "Objective on the way", "oracle"):
        assert words in text


def test_same_table_from_local_workers(ablate, study, tmp_path, deblurkit):
    text = STUDY.replace('"l0-gradient", ', "")
    first = json.loads(ablate(study(text), "--format", "json").out)
    done = deblurkit("ablate", str(study(text)), "-o", str(tmp_path / "other"), "--jobs", "2", "--format", "json")
    assert without_costs(json.loads(done.out)) == without_costs(first)
