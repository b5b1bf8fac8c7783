import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from tiny_levin import QUICK, save, without_costs, write

from deblurkit.cells import carry_out as carry_out_module
from deblurkit.cells import engine


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("levin") / "set")


@pytest.fixture
def benchmark(deblurkit, data, tmp_path):
    def run(*args, dataset=data):
        return deblurkit("benchmark", str(dataset), "-o", str(tmp_path / "run"), *QUICK, *args)

    return run


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run folder with all its cells, and its JSON."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    command = [sys.executable, "-m", "deblurkit", "benchmark", str(data), "-o", str(folder), *QUICK, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return folder, json.loads(done.stdout), done.stderr


def test_one_table_with_found_and_given_size_oracle_and_blurry(finished):
    _, document, err = finished
    rows = document["tables"][0]["rows"]
    assert [row["row"] for row in rows] == ["fast, size found", "fast, size given", "oracle (true kernel)", "blurry"]
    assert [row["count"] for row in rows] == ["4"] * 4
    oracle, blurry = rows[2], rows[3]
    assert oracle["psnr-aligned:mean"] > blurry["psnr-aligned:mean"] + 3
    assert oracle["error-ratio-ssd"] == pytest.approx(1.0)
    assert oracle["kernel-similarity"] == pytest.approx(1.0, abs=1e-4)
    assert rows[0]["error-ratio-ssd"] >= 0.9
    assert {"psnr-aligned:median", "psnr-aligned:worst", "failures", "seconds", "memory"} <= rows[0].keys()
    assert len(document["cells"]) == 16
    assert document["layout"] == "levin"
    assert document["config"]["run"]["threads"] == 1
    assert any("nothing is drawn at random" in note for note in document["tables"][0]["notes"])
    assert "(16/16" in err


def test_a_second_run_carries_nothing_out(finished, deblurkit, data, monkeypatch):
    folder, document, _ = finished
    monkeypatch.setattr(engine, "carry_out", None)
    again = deblurkit("benchmark", str(data), "-o", str(folder), *QUICK, "--format", "json")
    assert again.code == 0
    assert json.loads(again.out)["tables"] == document["tables"]


def test_formats_say_the_same(finished, deblurkit, data):
    folder, document, _ = finished
    value = document["tables"][0]["rows"][0]["psnr-aligned:mean"]
    texts = {
        form: deblurkit("benchmark", str(data), "-o", str(folder), *QUICK, "--format", form).out
        for form in ("table", "markdown", "csv")
    }
    assert f"{value:.2f}" in texts["table"]
    assert f"| {value:.2f} |" in texts["markdown"]
    assert float(next(csv.DictReader(io.StringIO(texts["csv"])))["psnr-aligned:mean"]) == value
    cells = list(csv.DictReader(io.StringIO((folder / "cells.csv").read_text())))
    assert len(cells) == 16
    assert json.loads((folder / "table.json").read_text())["tables"] == document["tables"]


def test_killed_in_the_middle_and_resumed_it_is_the_same_table(finished, data, tmp_path):
    _, document, _ = finished
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "deblurkit", "benchmark", str(data), "-o", str(folder), *QUICK, "--format", "json"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (kept := list(folder.glob("cells/*/cell.json"))) and time.monotonic() < until:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert 0 < len(kept) < 16, "it was killed in the middle"
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/cell.json")}
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert without_costs(json.loads(done.stdout)) == without_costs(document)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was finished is not done twice"
    assert not list(folder.rglob("*.part"))
    assert f"{len(kept)} of 16 cells are finished already" in done.stderr


def test_local_workers_make_the_same_table(finished, data, tmp_path):
    _, document, _ = finished
    command = [sys.executable, "-m", "deblurkit", "benchmark", str(data), "-o", str(tmp_path / "run"), *QUICK]
    done = subprocess.run([*command, "--jobs", "2", "--format", "json"], capture_output=True, text=True, check=True)
    assert without_costs(json.loads(done.stdout)) == without_costs(document)


def test_a_damaged_cell_is_told_and_done_anew(benchmark, tmp_path):
    first = json.loads(benchmark("--only", "im1_kernel1", "--sizes", "auto", "--format", "json").out)
    path = next((tmp_path / "run" / "cells").glob("*/cell.json"))
    path.write_text(path.read_text()[:100])
    again = benchmark("--only", "im1_kernel1", "--sizes", "auto", "--format", "json")
    assert again.code == 0
    assert f"{path}: is damaged" in again.err
    assert "2 of 3 cells are finished already" in again.err
    assert without_costs(json.loads(again.out)) == without_costs(first)


def test_a_failing_picture_costs_itself(benchmark, data, tmp_path):
    other = write(tmp_path / "set", images=2, kernels=(1,))
    (other / "im2_kernel1_img.png").write_bytes((other / "im2_kernel1_img.png").read_bytes()[:300])
    done = benchmark("--sizes", "auto", "--format", "json", dataset=other)
    assert done.code == 1
    rows = json.loads(done.out)["tables"][0]["rows"]
    assert [row["count"] for row in rows] == ["1/2", "1/2", "1/2"]
    assert "im2_kernel1_img.png" in rows[0]["failure"]
    assert rows[0]["failures"] >= 50.0
    assert done.err.count("Error: ") == 3
    assert "Traceback" not in done.err


def test_pictures_of_two_sizes_are_told(benchmark, tmp_path):
    import torch

    other = write(tmp_path / "set", images=1, kernels=(1,))
    save(other / "gt" / "im1.png", torch.rand(1, 1, 60, 64))
    done = benchmark("--sizes", "auto", dataset=other)
    assert done.code == 1
    assert "im1.png" in done.err
    assert "60" in done.err


def test_a_data_set_without_truths_is_refused_at_once(benchmark, tmp_path):
    other = write(tmp_path / "set", images=1, kernels=(1,))
    (other / "gt" / "im1.png").unlink()
    done = benchmark(dataset=other)
    assert (done.code, done.out) == (2, "")
    assert "im1" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--only", "im9*"), "no picture is called 'im9*'; they are called im1_kernel1, im1_kernel2"),
        (("--only", "im1*", "--only", "typo"), "no picture is called 'typo'"),
        (("--seeds", "1,x"), "'1,x' is no list of seeds"),
        (("--seeds", "-1"), "is no list of seeds"),
        (("--layout", "levin2"), "levin2"),
        (("--recipe", "fastt"), "did you mean 'fast'"),
        (("--jobs", "-1"), "--jobs"),
        (("--jobs", "2", "--executor", "in-process"), "local"),
        (("--executor", "locale"), "did you mean 'local'"),
        (("--report", "page.pdf"), "page.pdf"),
        (("--score", "no-such-score"), "no-such-score"),
        (("--sizes", "given", "--kernel-size", "5"), "there is no size to give, since the configuration names one"),
    ],
)
def test_wrong_input_is_refused_in_a_sentence(benchmark, tmp_path, args, told):
    done = benchmark(*args)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "run").exists()


def test_what_goes_wrong_in_every_cell_is_a_failed_table(benchmark):
    done = benchmark("--device", "cuda:77", "--only", "im1_kernel1", "--format", "json")
    assert done.code == 1
    assert "cuda" in json.loads(done.out)["tables"][0]["rows"][0]["failure"]


def test_fresh_keeps_what_is_there_until_it_is_replaced(finished, deblurkit, data):
    folder, document, _ = finished
    done = deblurkit(
        "benchmark", str(data), "-o", str(folder), *QUICK, "--fresh", "--jobs", "2", "--executor", "in-process"
    )
    assert done.code == 2
    again = deblurkit("benchmark", str(data), "-o", str(folder), *QUICK, "--format", "json")
    assert json.loads(again.out)["tables"] == document["tables"]


def test_a_seed_is_a_seed(benchmark):
    assert "4 pictures; seeds 7." in benchmark("--seed", "7", "--dry-run").out
    assert "seeds 8, 9." in benchmark("--seed", "7", "--seeds", "8,9", "--dry-run").out


def test_flags_that_change_results_are_told(finished, benchmark):
    assert "Changed by flags: run.largest_kernel = 7" in finished[1]["tables"][0]["notes"][1]
    assert "The oracle restores with the true kernel by 'hyper-laplacian'." in finished[1]["tables"][0]["notes"]


def test_two_processes_do_not_work_in_one_folder(finished, deblurkit, data):
    import fcntl

    folder, _, _ = finished
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = deblurkit("benchmark", str(data), "-o", str(folder), *QUICK)
    assert done.code == 2
    assert "another process is at work in it" in done.err


def test_a_run_folder_that_cannot_be_written(deblurkit, data, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    done = deblurkit("benchmark", str(data), "-o", str(file), *QUICK)
    assert done.code == 2
    assert "is a file, not a run folder" in done.err
    done = deblurkit("benchmark", str(data), "-o", str(file / "below"), *QUICK)
    assert done.code == 2
    assert "cannot be written" in done.err


def test_dry_run_shows_cells_and_touches_nothing(benchmark, tmp_path):
    done = benchmark("--dry-run", "--format", "json")
    assert done.code == 0
    rows = json.loads(done.out)["rows"]
    assert [(row["cells"], row["finished"]) for row in rows] == [(4, 0)] * 4
    assert rows[0]["seconds"] > 0
    assert not (tmp_path / "run").exists()
    assert "Run folder" in benchmark("--dry-run").out


def test_gradients_draw_at_random_and_so_have_three_seeds(benchmark):
    done = benchmark("--dry-run", "--image-prior", "identity", "--kernel-prior", "fcn", "--only", "im1_kernel1")
    assert done.code == 0
    assert "identity x fcn, size found" in done.out
    assert "seeds 0, 1, 2" in done.out
    assert "  3  " in done.out


def test_a_size_that_is_named_is_the_only_one(benchmark):
    done = benchmark("--dry-run", "--kernel-size", "9")
    assert "fast, size 9" in done.out
    assert "size given" not in done.out


def test_ctrl_c_keeps_what_is_finished(benchmark, monkeypatch, tmp_path):
    real, calls = carry_out_module.carry_out, []

    def interrupted(cell, slot):
        calls.append(cell)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(cell, slot)

    monkeypatch.setattr(engine, "carry_out", interrupted)
    done = benchmark("--only", "im1_kernel1")
    assert (done.code, done.out) == (130, "")
    assert "1 of 4 cells are finished and kept" in done.err
    monkeypatch.setattr(engine, "carry_out", real)
    done = benchmark("--only", "im1_kernel1")
    assert done.code == 0
    assert "1 of 4 cells are finished already" in done.err


def test_fresh_carries_everything_out_again(benchmark, tmp_path):
    benchmark("--only", "im1_kernel1", "--sizes", "auto")
    paths = list((tmp_path / "run" / "cells").glob("*/cell.json"))
    before = [path.stat().st_mtime_ns for path in paths]
    done = benchmark("--only", "im1_kernel1", "--sizes", "auto", "--fresh")
    assert done.code == 0
    assert all(path.stat().st_mtime_ns > old for path, old in zip(paths, before, strict=True))


def test_the_report_shows_every_result(finished, deblurkit, data, tmp_path):
    pytest.importorskip("jinja2", reason="the extra 'report' is not installed")
    pytest.importorskip("matplotlib", reason="the extra 'report' is not installed")
    folder, _, _ = finished
    page = tmp_path / "page.html"
    done = deblurkit("benchmark", str(data), "-o", str(folder), *QUICK, "--report", str(page))
    assert done.code == 0
    assert f"{page}: the report" in done.err
    text = page.read_text(encoding="utf-8")
    for name in ("im1_kernel1", "im2_kernel2", "fast, size found", "fast, size given", "oracle (true kernel)"):
        assert name in text
    assert page.stat().st_size < 15e6
