"""The page of `deblurkit run --report`: what is shown, what is not, and in which words."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.cli import batch, page
from deblurkit.core import Observation
from deblurkit.pipeline.judge import judge
from deblurkit.testing import blur_by_definition, cartoon, curved_kernel

pytest.importorskip("jinja2", reason="the extra 'report' is not installed")
pytest.importorskip("matplotlib", reason="the extra 'report' is not installed")

QUICK = ("--kernel-size", "9", "--threads", "1", "--polish", "0", "--restarts", "0")


@pytest.fixture
def album(tmp_path) -> Path:
    """Three blurry pictures of 56 x 48 pixels."""
    folder = tmp_path / "album"
    folder.mkdir()
    for seed, name in enumerate("abc"):
        y = blur_by_definition(cartoon(1, 3, (54, 64), seed), curved_kernel((7, 9)))
        y += 0.004 * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
        values = (y[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        Image.fromarray(values).save(folder / f"{name}.png")
    return folder


def articles(path: Path) -> dict[str, str]:
    """The text of each picture's part of a page by its title."""
    parts = path.read_text(encoding="utf-8").split("<article")[1:]
    return {re.search(r"<h3[^>]*>(.*?)</h3>", part, re.DOTALL)[1].strip(): part for part in parts}


def test_what_was_finished_earlier_is_shown(deblurkit, album, tmp_path, monkeypatch):
    out, html = tmp_path / "out", tmp_path / "q.html"
    assert deblurkit("run", str(album / "a.png"), str(album / "b.png"), "-o", str(out), *QUICK).code == 0
    made = []
    monkeypatch.setattr(batch, "write_report", lambda path, page, **_: made.append(page))
    done = deblurkit("run", str(album), "-o", str(out), "--resume", "--report", str(html), *QUICK)
    assert done.code == 0, done.err
    (report,) = made
    assert [one.title for one in report.pictures] == ["a.png", "b.png", "c.png"]
    kernel = np.load(out / "a.kernel.npy")
    for one in report.pictures[:2]:
        assert one.facts["quality"] == "finished earlier"
        assert one.notice == ""
    np.testing.assert_array_equal(report.pictures[0].before, np.asarray(Image.open(album / "a.png")))
    np.testing.assert_array_equal(report.pictures[0].after, np.asarray(Image.open(out / "a.png")))
    np.testing.assert_allclose(report.pictures[0].kernel, kernel, atol=1e-6)
    assert report.pictures[0].facts["kernel"] == f"{max(kernel.shape)} px"
    assert "finished earlier" not in report.pictures[2].facts.values()
    assert [row.get("flag") for row in report.tables[0].rows][:2] == ["finished earlier"] * 2
    assert "may have been made with another configuration" in " ".join(report.lead)


def test_a_page_of_nothing_new(deblurkit, album, tmp_path):
    out, html = tmp_path / "out", tmp_path / "q.html"
    call = ("run", str(album / "a.png"), "-o", str(out), "--resume", "--report", str(html), *QUICK)
    for _ in range(2):
        assert deblurkit(*call).code == 0
        (text,) = articles(html).values()
        assert text.count("data:image/") >= 3
    assert "finished earlier" in text
    # one that cannot be read any more costs its own place only
    (out / "a.png").write_bytes(b"no picture")
    done = deblurkit(*call)
    assert done.code == 0
    assert "the report leaves this picture out" in done.err
    assert articles(html) == {}
    assert "finished earlier" in html.read_text(encoding="utf-8")


def test_no_page_about_nothing(deblurkit, album, tmp_path):
    html = tmp_path / "q.html"
    (album / "broken.png").write_bytes((album / "a.png").read_bytes()[:200])
    for name in ("nosuch.png", "broken.png"):
        done = deblurkit("run", str(album / name), "--report", str(html), *QUICK)
        assert done.code != 0
        assert not html.exists()
        assert f"{html}: not written, since there is no result to show" in done.err
    done = deblurkit("run", str(album / "nosuch.png"), str(album / "a.png"), "--report", str(html), *QUICK)
    assert done.code == 2
    assert list(articles(html)) == ["a.png"]
    assert "nosuch.png" in html.read_text(encoding="utf-8")


def test_only_so_many_are_shown_and_the_page_says_so(deblurkit, album, tmp_path, monkeypatch):
    for module in (page, batch):
        monkeypatch.setattr(module, "MOST_PICTURES", 2)
    out, html = tmp_path / "out", tmp_path / "q.html"
    assert deblurkit("run", str(album / "a.png"), str(album / "b.png"), "-o", str(out), *QUICK).code == 0
    assert deblurkit("run", str(album), "-o", str(out), "--resume", "--report", str(html), *QUICK).code == 0
    assert list(articles(html)) == ["a.png", "c.png"]
    assert "2 of 3 results are shown; the table has all of them." in html.read_text(encoding="utf-8")


def test_pictures_wait_as_bytes_at_the_size_of_the_page(monkeypatch):
    x = torch.tensor([[[[0.0, 0.25, 1.5], [-1.0, float("nan"), 0.5]]]])
    np.testing.assert_array_equal(page.shrunk(x), np.array([[0, 64, 255], [0, 0, 128]], np.uint8))
    assert page.shrunk(x).dtype == np.uint8
    monkeypatch.setattr(page, "LARGEST_SIDE", 20)
    small = page.shrunk(torch.rand(1, 3, 30, 40, generator=torch.Generator().manual_seed(0)))
    assert small.shape == (15, 20, 3)
    assert small.dtype == np.uint8


def test_measures_have_readable_names(deblurkit, album, tmp_path):
    html = tmp_path / "q.html"
    done = deblurkit("run", str(album / "a.png"), "--json", "--report", str(html), *QUICK)
    (image,) = json.loads(done.out)["images"]
    measures = image["quality"]["measures"]
    names = re.findall(r"<dt>(.*?)</dt>", articles(html)["a.png"])
    assert "border_mass" in measures
    assert set(measures) <= set(page.MEASURES)
    assert not set(measures) & {name for name in names if name != "noise"}
    assert not [name for name in names if "_" in name]
    assert "kernel: share in its outermost frame" in names
    assert page.measured({"border_mass": 0.0312, "spread": 3.21}) == {
        "kernel: share in its outermost frame": "3.1%",
        "kernel: root mean square radius": "3.2 px",
    }
    assert page.measured({"of_a_plugin": 2.0}) == {"of a plugin": "2"}


def test_every_measure_of_the_judge_has_a_name():
    x = cartoon(1, 1, (54, 64), 0)
    kernel = curved_kernel((7, 9))
    y = blur_by_definition(x, kernel)
    one = torch.ones_like(y)
    observation = Observation(y, one, 1 - one, torch.full((1, 1), 0.01))
    measures = judge(observation, x, kernel).measures
    assert len(measures) > 6
    assert set(measures) <= set(page.MEASURES)


def test_a_picture_that_may_be_synthesised_says_so_later_too(album):
    document = {"input": str(album / "a.png"), "output": str(album / "b.png"), "kernel": None, "skipped": True}
    shown = page.finished_picture(document, synthesises=True)
    assert shown.notice.startswith("the content may be synthesised")
    assert shown.kernel is None
    assert "kernel" not in shown.facts
