import csv
import io
import json
import math

import pytest

from deblurkit.cells.cell import blurry_cell, oracle_cell, run_cell
from deblurkit.cells.engine import Results
from deblurkit.cells.formats import FORMATS, notes_of
from deblurkit.cells.row import Row, conclude
from deblurkit.cells.table import Shape, cell_table, document_of, group_table, summary_table
from deblurkit.registry import registry
from deblurkit.scores import protocol_of

PROTOCOL = protocol_of("levin")
SHAPE = Shape({"variant": "variant"}, differences=True, title="A study", notes=("3 pictures.",))
OTHER = {"run.seed": 1}


@pytest.fixture
def rows(scene, config):
    """Two variants over three pictures, one of whose cells failed, an oracle, and the blurry pictures."""
    from dataclasses import replace

    cases = [scene(number, group="a" if number < 3 else "b") for number in (1, 2, 3)]
    second = replace(config, run=replace(config.run, seed=1))
    one, two = (
        tuple(run_cell(case, chosen, registry(), given_size=False) for case in cases) for chosen in (config, second)
    )
    return [
        Row({"variant": "first"}, one, published={"psnr-aligned": 33.07}, oracle="same"),
        Row({"variant": "second | third"}, two, oracle="same"),
        Row({"variant": "wrong"}, (), error="run.sead: no such parameter"),
        Row(
            {"variant": "oracle"},
            tuple(oracle_cell(case, config, registry()) for case in cases),
            reference=True,
            oracle="same",
        ),
        Row({"variant": "blurry"}, tuple(blurry_cell(case) for case in cases), reference=True),
    ]


@pytest.fixture
def results(rows):
    values = {
        "first": (30.0, 32.0, 34.0),
        "second | third": (31.0, 33.5, None),
        "oracle": (35.0,) * 3,
        "blurry": (31.0,) * 3,
    }
    found = Results()
    for row in rows:
        for cell, psnr in zip(row.cells, values.get(row.label["variant"], ()), strict=True):
            document = {"status": "failed", "error": "it diverged"}
            if psnr is not None:
                ssd = 10 ** (-psnr / 10)
                document = {
                    "status": "ok",
                    "scores": {"psnr-aligned": psnr, "ssd": ssd, "spectral-norm": math.sqrt(ssd)},
                }
                if cell.role != "blurry":
                    document |= {"seconds": 2.0 + cell.case.number, "memory_bytes": 1e8 * cell.case.number}
            found.documents[cell.key] = document
    return found


@pytest.fixture
def concluded(rows, results):
    return conclude(rows, results, PROTOCOL)


@pytest.fixture
def table(concluded):
    return summary_table(concluded, PROTOCOL, SHAPE)


def test_numbers_of_a_row(table):
    first = table.rows[0]
    assert first["psnr-aligned:mean"] == 32.0
    assert first["psnr-aligned:sd"] == pytest.approx(2.0)
    assert first["psnr-aligned:worst"] == 30.0
    assert first["seconds"] == 4.0
    assert first["memory"] == 300.0
    assert first["published:psnr-aligned"] == 33.07
    assert first["count"] == "3"


def test_the_error_ratio_is_that_to_the_oracle_of_the_same_picture(table):
    expected = sum(10 ** ((35.0 - psnr) / 10) for psnr in (30.0, 32.0, 34.0)) / 3
    assert table.rows[0]["error-ratio-ssd"] == pytest.approx(expected)
    assert table.rows[3]["error-ratio-ssd"] == pytest.approx(1.0)


def test_failures_are_no_result_no_gain_or_far_from_the_oracle(concluded, table):
    why = [one.failure for one in concluded[0].scored]
    assert "3.2 times the oracle's" in why[0]
    assert why[1:] == ["", ""]
    assert [one.failure for one in concluded[1].scored] == [
        "it is no better than the blurry picture",
        "",
        "it diverged",
    ]
    assert table.rows[0]["failures"] == pytest.approx(100 / 3)
    assert "failures" not in table.rows[3], "references don't fail"


def test_a_difference_counts_the_pictures_that_both_have(table):
    second = table.rows[1]
    assert second["count"] == "2/3"
    assert second["difference"] == pytest.approx((1.0 + 1.5) / 2)
    assert second["interval"] == "-1.93 to +4.43 (n 2)"
    assert "difference" not in table.rows[0]
    assert "difference" not in table.rows[3], "references are not compared"


def test_failed_rows_and_cells_are_told_below(table):
    assert table.rows[2] == {"variant": "wrong", "count": "failed", "failure": "run.sead: no such parameter"}
    assert "wrong: run.sead: no such parameter" in table.notes
    assert "second | third: it diverged" in table.notes


def test_columns_that_nobody_has_are_left_out_and_all_others_defined(table):
    keys = {column.key for column in table.columns}
    assert "kernel-similarity" not in keys
    assert {"psnr-aligned:mean", "error-ratio-ssd", "difference", "interval"} <= keys
    shown = [score for score in PROTOCOL.scores if keys & {score.name, f"{score.name}:mean"}]
    for score in shown:
        assert any(note.startswith(f"{score.title}: {score.text[:-1]}") for note in notes_of(table))
    assert any("(as published)" in note for note in notes_of(table))


def test_categories_are_averaged_on_their_own(concluded, scene):
    table = group_table(concluded, PROTOCOL, SHAPE.labels)
    assert table.rows[0] == {"variant": "first", "group:a": 31.0, "group:b": 34.0, "average": 32.5}
    assert table.rows[1]["average"] is None, "a category is missing"
    assert group_table(concluded[2:3], PROTOCOL, SHAPE.labels) is None


def test_plain_text_is_aligned(table):
    lines = FORMATS["table"](table).splitlines()
    head, rule, first = lines[1:4]
    assert lines[0] == "A study"
    assert set(rule) == {"-"}
    assert first.index("32.00") + 5 == head.index("PSNR, aligned") + len("PSNR, aligned")
    assert len(first) <= len(rule)


def test_markdown_escapes_bars(table):
    text = FORMATS["markdown"](table)
    assert r"second \| third" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(table.rows)
    assert len({line.replace(r"\|", "").count("|") for line in rows}) == 1


def test_csv_has_all_digits(table):
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](table))))
    assert float(rows[0]["error-ratio-ssd"]) == table.rows[0]["error-ratio-ssd"]
    assert rows[2]["psnr-aligned:mean"] == ""


def test_json_is_strict_and_has_the_failures(table, concluded):
    document = json.loads(json.dumps(document_of(table), allow_nan=False))
    assert document["rows"][2]["failure"] == "run.sead: no such parameter"
    every = document_of(cell_table(concluded, PROTOCOL, SHAPE.labels))
    assert len(every["rows"]) == 12
    assert every["rows"][5]["failure"] == "it diverged"


@pytest.mark.parametrize(("aligned", "failed"), [(29.0, False), (24.0, True)])
def test_a_shifted_result_is_no_failure_where_the_published_score_is_not_aligned(scene, config, aligned, failed):
    cells = run_cell(scene(1), config, registry(), given_size=False), blurry_cell(scene(1))
    found = Results()
    for cell, scores in zip(
        cells, ({"psnr": 21.0, "psnr-aligned": aligned}, {"psnr": 22.0, "psnr-aligned": 25.0}), strict=True
    ):
        found.documents[cell.key] = {"status": "ok", "scores": scores}
    rows = [Row({"variant": "ours"}, cells[:1]), Row({"variant": "blurry"}, cells[1:], reference=True)]
    assert bool(conclude(rows, found, protocol_of("pairs"))[0].scored[0].failure) is failed
