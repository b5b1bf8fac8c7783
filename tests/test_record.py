import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deblurkit.config import resolve
from deblurkit.errors import RunError, UsageError
from deblurkit.pipeline import Result, deblur
from deblurkit.pipeline.cost import Cost
from deblurkit.record import (
    cost_document,
    environment,
    lines,
    notice,
    plan_document,
    record_files,
    rounded,
    summary,
    write_record,
)
from deblurkit.registry import registry
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

CONFIG = resolve(
    {"run.kernel_size": 9, "run.threads": 1, "run.restarts": 0, "run.polish": 0, "run.seed": 5}, registry=registry()
)


@pytest.fixture(scope="module")
def result() -> Result:
    return deblur(blur_by_definition(cartoon(1, 3, (54, 64)), curved_kernel((7, 9))), CONFIG)


def strict(text: str):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def document(result: Result, kernel: Path | None = Path("b.kernel.npy")):
    made = summary(result, CONFIG, source=Path("a.png"), image=Path("b.png"), kernel=kernel)
    return strict(json.dumps(made, allow_nan=False))


def test_the_summary_has_everything(result):
    made = document(result)
    assert (made["input"], made["output"], made["kernel"]) == ("a.png", "b.png", "b.kernel.npy")
    assert made["quality"]["flag"] == result.quality.flag
    assert made["quality"]["reasons"] == list(result.quality.reasons)
    assert {"noise", "residual", "contrast"} <= set(made["quality"]["measures"])
    assert set(made["seconds"]) == {"estimate", "restore", "total"}
    assert made["kernel_size"] == [9, 9]
    assert made["restored"] is True
    assert made["kept_start"] is False
    assert made["reframed"] is False
    assert made["attempts"] == 1
    assert made["stopped"] == ""
    assert made["plan"]["size"] == [48, 56]
    assert made["config"] == CONFIG.to_json()


def test_the_threads_that_were_chosen_are_recorded(result, tmp_path):
    open_ = replace(CONFIG, run=replace(CONFIG.run, threads=0))
    write_record(tmp_path, result, open_, registry(), overwrite=False)
    assert json.loads((tmp_path / "config.json").read_text())["run"]["threads"] == result.plan.threads == 1


def test_without_a_kernel_there_is_null(result):
    made = document(replace(result, kernel=None), None)
    assert made["kernel"] is None
    assert made["kernel_size"] is None


def test_what_is_no_number_is_null(result):
    odd = replace(result.quality, measures={"residual": float("nan"), "contrast": float("inf")})
    assert document(replace(result, quality=odd))["quality"]["measures"] == {"residual": None, "contrast": None}


def test_another_frame_is_in_the_document(result):
    assert document(replace(result, reframed=True))["reframed"] is True


def test_the_notice_has_only_measures_that_are_numbers(result):
    odd = replace(result.quality, measures={"residual": float("nan"), "plain_psnr": float("nan")})
    text = notice(replace(result, synthesised=True, quality=odd))
    assert text.endswith("never identify anybody by it")
    one = replace(result.quality, measures={"residual": 0.0123, "plain_psnr": float("inf")})
    assert notice(replace(result, synthesised=True, quality=one)).endswith(
        "(blurred again it misses the picture by 0.012)"
    )


def test_a_plan_in_plain_values(result):
    made = strict(json.dumps(plan_document(result.plan, "float32"), allow_nan=False))
    assert made["crop"] == {"top": 0, "left": 0, "height": 48, "width": 56}
    assert made["kernel_window"] == 9
    assert made["scales"][-1] == 1
    assert made["device"] in ("cpu", "cuda", "mps")
    assert made["precision"] == "float32"
    given = plan_document(replace(result.plan, scales=(), automatic=True), "float32")
    assert given["kernel_window"] is None
    assert given["automatic"] is False


def test_an_unknown_time_is_null():
    assert cost_document(Cost(7, None)) == {"memory_bytes": 7, "expected_seconds": None}
    assert cost_document(Cost(7, 1.23456789)) == {"memory_bytes": 7, "expected_seconds": 1.23457}


def test_the_record_is_written_whole_and_accepted_back(result, tmp_path):
    folder = tmp_path / "new" / "record"
    write_record(folder, result, CONFIG, registry(), overwrite=False)
    assert sorted(folder.iterdir()) == sorted(record_files(folder))
    again = resolve({}, registry=registry(), file=folder / "config.json")
    assert again.to_json() == CONFIG.to_json()
    assert set(again.origins.values()) == {str(folder / "config.json")}
    history = [strict(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in history] == [pytest.approx(row["loss"], rel=1e-5) for row in result.history]
    assert len(history) == len(result.history) > 3
    found = strict((folder / "environment.json").read_text())
    assert found == environment(registry(), str(result.plan.device))


def test_a_record_is_replaced_only_on_demand(result, tmp_path):
    write_record(tmp_path, result, CONFIG, registry(), overwrite=False)
    with pytest.raises(UsageError, match="exists already"):
        write_record(tmp_path, result, CONFIG, registry(), overwrite=False)
    (tmp_path / "config.json").write_text("mine")
    write_record(tmp_path, result, CONFIG, registry(), overwrite=True)
    assert (tmp_path / "config.json").read_text() != "mine"


def test_a_place_that_cannot_be_written(result, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        write_record(tmp_path / "file", result, CONFIG, registry(), overwrite=False)


def test_the_environment_names_what_decides_a_result():
    found = environment(registry(), "cpu")
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["device"] == "cpu"
    assert any(label.startswith("deblurkit ") for label in found["plugins"])
    assert str(Path.home()) not in json.dumps(found), "nothing private"


def test_lines_are_json_each():
    rows = [{"step": 0, "loss": 0.123456789}, {"step": 1, "loss": float("nan")}]
    assert [strict(line) for line in lines(rows).splitlines()] == [
        {"step": 0, "loss": 0.123457},
        {"step": 1, "loss": None},
    ]
    assert lines([]) == ""


@pytest.mark.parametrize(
    ("value", "kept"), [(0.0, 0.0), (123456789.0, 123457000.0), (1e-12, 1e-12), (float("-inf"), None)]
)
def test_six_digits_are_kept(value, kept):
    assert rounded(value) == kept
