import base64
import hashlib
import io
import itertools
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image

from deblurkit.errors import UsageError
from deblurkit.report import Column, Curve, Page, Picture, Plot, Table, check_report, render, write_report
from deblurkit.report.pictures import Quality, Source, fit, kernel_bytes, ladder
from deblurkit.report.plots import MAX_POINTS, description, draw
from deblurkit.report.tables import number_text, shown_rows
from deblurkit.report.view import view_of

pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'deblurkit[report]'")
matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'deblurkit[report]'")

VOID = {"meta", "link", "img", "input", "br", "hr", "path", "use", "rect"}
HOSTILE = (
    "</title><script>alert('x')</script><img src=x onerror=alert(1)> \"quoted\" & $\\frac{1}{2$ {{ 7*7 }} "
    "\x00\x1b\ud800"
)
SHOWN = HOSTILE.replace("\x00", "�").replace("\x1b", "�").replace("\ud800", "�")
TABLE = Table(
    "Kernels compared",
    (
        Column("name", "Variant", numeric=False),
        Column("psnr", "PSNR, dB", "As published.", better="higher"),
        Column("time", "Time, s", digits=0, better="lower"),
    ),
    (
        {"name": "oracle", "psnr": 40.0, "time": 1.0, "reference": 1.0},
        {"name": "one", "psnr": 31.256, "time": 7.0},
        {"name": "two", "psnr": 30.0, "time": 12.0},
        {"name": "three", "psnr": math.nan, "time": None},
        {"name": "four", "psnr": 99.0, "failure": "the loss became NaN; lower the rate."},
    ),
    ("Mean of six.",),
)
PLOT = Plot("Loss", "iteration", "loss", (Curve("joint", (0, 1, 2), (1.0, 0.1, 0.01)), Curve("k", (0,), (0.5,))), True)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


class Tree(HTMLParser):
    """Elements in order, with their texts; fails where tags don't nest."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.text = [], [], {}
        self.feed(html)
        self.close()
        assert self.open == [], "elements stay open"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, len(self.elements) - 1))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in ("path", "use", "rect"):
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1][0] == tag, f"</{tag}> closes <{self.open[-1][0]}>"
        self.open.pop()

    def handle_data(self, data):
        for _, index in self.open:
            self.text[index] = self.text.get(index, "") + data

    def all(self, tag, **attrs):
        return [a for t, a in self.elements if t == tag and all(a.get(k) == v for k, v in attrs.items())]

    def texts(self, tag):
        return [" ".join(self.text.get(i, "").split()) for i, (found, _) in enumerate(self.elements) if found == tag]


@pytest.fixture(scope="module")
def full():
    picture = Picture(
        "im1", noise(20, 30), noise(20, 30, 3), noise(20, 30), noise(5, 5), noise(7, 7), {"PSNR": "30.1 dB"}, (PLOT,),
        notice="the content is synthesised.",
    )  # fmt: skip
    page = Page(
        "Report", ("First.", "Second."), (TABLE,), (PLOT, PLOT), (picture, picture), {"run": {"seed": 3}}, {"x": "y"}
    )
    return render(page)


def test_structure(full):
    tree = Tree(full)
    assert full.startswith("<!DOCTYPE html>")
    assert tree.all("html")[0]["lang"] == "en"
    assert tree.texts("title") == ["Report"]
    levels = [int(tag[1]) for tag, _ in tree.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attrs["id"] for _, attrs in tree.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for attribute in ("for", "aria-labelledby"):
        named = {attrs[attribute] for _, attrs in tree.elements if attribute in attrs}
        assert named
        assert named <= set(ids)
    for attrs in tree.all("a"):
        assert attrs["href"].removeprefix("#") in ids
    for reference in re.findall(r'url\(#([^)]+)\)|<use href="#([^"]+)"', full):
        assert "".join(reference) in ids


def test_every_image_and_control_has_a_name(full):
    tree = Tree(full)
    assert len(tree.all("img")) == 2 * (3 + 2)
    assert all(len(attrs["alt"]) > 10 for attrs in tree.all("img"))
    assert len(tree.all("svg", role="img")) == 4
    assert all("joint: 1 at 0, 0.01 at 2" in attrs["aria-label"] for attrs in tree.all("svg", role="img"))
    labels = {attrs["for"] for attrs in tree.all("label")}
    sliders = tree.all("input", type="range")
    assert len(sliders) == 2
    assert {attrs["id"] for attrs in sliders} <= labels
    assert len(tree.all("button", **{"aria-pressed": "false"})) == 2
    assert all(attrs.get("type") == "button" for attrs in tree.all("button"))
    assert [attrs["aria-sort"] for attrs in tree.all("th", scope="col")] == ["none"] * 3


def test_says_what_was_synthesised(full):
    tree = Tree(full)
    notices = [text for text in tree.texts("p") if text.startswith("Notice.")]
    assert notices == ["Notice. The content is synthesised."] * 2
    assert "see the notice" in tree.all("img")[1]["alt"]


def test_config_and_environment_are_folded_and_whole(full):
    tree = Tree(full)
    assert {"Resolved configuration", "Environment"} <= set(tree.texts("summary"))
    assert json.loads(tree.texts("pre")[0]) == {"run": {"seed": 3}}
    assert not any("open" in attrs for attrs in tree.all("details"))


def test_names_nothing_outside_itself(full):
    assert re.findall(r"https?:|//[\w.]+\.\w+|@import|@font-face", full) == []
    tree = Tree(full)
    for _, attrs in tree.elements:
        for name in ("src", "href", "xlink:href"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
    assert tree.all("script") == [{}]


def test_only_its_own_script_may_run(full):
    script = re.search("<script>(.*?)</script>", full, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = Tree(full).all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_everything_is_escaped():
    plot = Plot(HOSTILE, HOSTILE, HOSTILE, (Curve(HOSTILE, (0, 1), (1, 2)), Curve(HOSTILE, (0, 1), (1, 2))))
    column = Column("a", HOSTILE, HOSTILE, numeric=False)
    table = Table(HOSTILE, (column,), ({"a": HOSTILE, "failure": HOSTILE}, {"a": HOSTILE}), (HOSTILE,))
    picture = Picture(
        HOSTILE, noise(4, 4), noise(4, 5), None, noise(3, 3), None, {HOSTILE: HOSTILE}, (plot,), notice=HOSTILE
    )
    values = {HOSTILE: [HOSTILE]}
    html = render(Page(HOSTILE, (HOSTILE,), (table,), (plot,), (picture,) * 4, values, values))
    html.encode()
    tree = Tree(html)
    assert len(tree.all("script")) == 1
    assert all(attrs["src"].startswith("data:") for attrs in tree.all("img"))
    assert not any(name.startswith("on") for _, attrs in tree.elements for name in attrs)
    assert "alert(1)" in html
    clean = " ".join(SHOWN.split())
    for tag in ("title", "h1", "h2", "h3", "dt", "dd"):
        assert clean in tree.texts(tag), tag
    assert "49" not in "".join(tree.texts("h1"))
    whole = HOSTILE.replace("\ud800", "�")
    assert json.loads(tree.texts("pre")[0]) == {whole: [whole]}


def test_an_empty_page():
    tree = Tree(render(Page("Nothing", ())))
    assert tree.texts("h1") == ["Nothing"]
    assert not tree.all("h2")
    tree = Tree(
        render(Page("t", (), (Table("None", (), ()), Table("No rows", TABLE.columns, ())), (Plot("p", "", "", ()),)))
    )
    assert "No rows." in tree.texts("p")
    assert "No values to draw." in tree.texts("p")


def test_best_values_are_marked_without_references_and_failures():
    rows = shown_rows(TABLE)
    best = [(i, cell.text) for i, row in enumerate(rows) for cell in row.cells if cell.best]
    assert best == [(1, "31.26"), (1, "7")]
    assert rows[4].failure == "the loss became NaN; lower the rate."
    assert [cell.missing for cell in rows[3].cells] == [False, True, True]
    assert rows[4].cells[2].missing
    tie = Table("t", (Column("a", "a", better="lower"),), ({"a": 1.0}, {"a": 1}, {"a": 2.0}))
    assert [row.cells[0].best for row in shown_rows(tie)] == [True, True, False]
    alone = Table("t", (Column("a", "a", better="lower"),), ({"a": 1.0}, {"a": math.nan}))
    assert not any(row.cells[0].best for row in shown_rows(alone))


def test_a_failure_with_a_column_of_its_own_is_not_told_twice():
    table = Table("t", (Column("n", "n", numeric=False), Column("failure", "why", numeric=False)), (
        {"n": "a", "failure": "too dark"}, {"n": "b", "failure": ""}))  # fmt: skip
    html = render(Page("t", (), (table,)))
    assert html.count("too dark") == 1
    assert Tree(html).texts("th")[2] == "a Failed"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1.005, 2, "1.00"), (-3.456, 1, "−3.5"), (0.0, 2, "0.00"), (-0.0, 1, "0.0"), (2.5e-7, 3, "2.5e−07"),
        (math.inf, 2, "∞"), (-math.inf, 2, "−∞"), (1234567.0, 0, "1234567"), (1e20, 2, "1.00e+20"),
    ],
)  # fmt: skip
def test_numbers(value, digits, text):
    assert number_text(value, digits) == text


def test_numbers_are_sorted_by_their_values():
    columns = (Column("a", "a"), Column("b", "b", numeric=False))
    row = {"a": np.float32(0.1), "b": 0.5}
    first, second = shown_rows(Table("t", columns, (row,)))[0].cells
    assert float(first.number) == float(np.float32(0.1))
    assert (second.text, second.number) == ("0.5", "0.5")
    infinite = shown_rows(Table("t", columns[:1], ({"a": -math.inf},)))[0].cells[0]
    assert infinite.number == "-Infinity"


def decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_pictures_are_stored_without_loss_where_they_fit():
    grey, colour = noise(9, 13), noise(9, 13, 3)
    html = render(Page("t", (), pictures=(Picture("p", grey, colour, grey[..., None]),)))
    before, after, truth = (decoded(attrs["src"]) for attrs in Tree(html).all("img"))
    np.testing.assert_array_equal(before, np.round(grey * 255))
    np.testing.assert_array_equal(after, np.round(colour * 255))
    np.testing.assert_array_equal(truth, before)
    assert "embedded without loss" in html


@pytest.mark.parametrize(("budget", "least"), [(200_000, 0.5), (150_000, 0.6), (50_000, 0.6)])
def test_pages_keep_to_their_budget(budget, least):
    x = np.clip(np.cumsum(noise(150, 200, 3) - 0.5, axis=1) * 0.1 + 0.5, 0, 1)
    pictures = tuple(Picture(f"p{i}", x, np.roll(x, i, 0), x[::-1]) for i in range(2))
    html = render(Page("t", (), pictures=pictures), budget=budget)
    assert least * budget < len(html.encode()) <= budget
    assert "compressed (" in html
    assert html.count("<article") == 2
    shrunk = decoded(Tree(html).all("img")[0]["src"]).shape[1] < 200
    assert shrunk == ("of their sides" in html)
    assert Tree(html).all("img")[0]["width"] == "200"


def test_pictures_that_do_not_fit_even_as_thumbnails_are_left_out_and_told():
    pictures = tuple(Picture(f"p{i}", noise(30, 30), noise(30, 30)) for i in range(40))
    html = render(Page("t", (), pictures=pictures), budget=80_000)
    kept = html.count("<article")
    assert 0 < kept < 40
    assert len(html) <= 80_000
    assert "Not all pictures are here." in html
    assert f"The first {kept} of 40 fit" in " ".join(Tree(html).texts("p"))
    assert len(Tree(html).all("a")) == kept
    none = render(Page("t", (), pictures=pictures), budget=1000)
    assert "The first 0 of 40 fit" in " ".join(Tree(none).texts("p"))


def test_qualities_fall_and_the_best_one_that_fits_is_taken():
    sources = [Source(noise(64, 64, seed=i), "x") for i in range(3)]
    sizes = [sum(map(len, fit(sources, 10**9)[0]))]
    chosen = []
    while (found := fit(sources, sizes[-1] - 1)) is not None:
        chosen.append(found[1])
        sizes.append(sum(map(len, found[0])))
    places = [ladder().index(quality) for quality in chosen]
    assert places == sorted(set(places))
    assert len(places) > 8
    assert fit([], 0) == ([], Quality("PNG"))


def test_values_that_are_no_numbers_are_drawn_black_and_told():
    broken = noise(6, 6, 3)
    broken[2, 3] = math.nan
    broken[0, 0] = math.inf
    broken[0, 1] = -7
    html = render(Page("t", (), pictures=(Picture("p", noise(6, 6), broken),)))
    after = decoded(Tree(html).all("img")[1]["src"])
    assert after[2, 3].tolist() == [0, 0, 0]
    assert after[0, 0].tolist() == [255, 255, 255]
    assert after[0, 1].tolist() == [0, 0, 0]
    assert "3 values of “after” are no numbers" in html


def test_a_piece_stands_for_the_quarters_of_a_picture():
    rows, columns = np.mgrid[:100, :60].astype(np.float32)
    piece = Source(rows / 255, "x").bytes(side=40)
    assert piece.shape == (40, 40)
    assert piece[:, 0].tolist() == [*range(15, 35), *range(65, 85)]
    assert Source(columns / 255, "x").bytes(side=64).shape == (64, 60)


def test_bytes_are_taken_as_they_are():
    values = np.arange(48, dtype=np.uint8).reshape(6, 8)
    np.testing.assert_array_equal(Source(values, "x").bytes(), values)


@pytest.mark.parametrize(
    "wrong", [np.zeros((0, 4)), np.zeros(5), np.zeros((1, 3, 4, 4)), np.zeros((4, 4, 4)), np.zeros((4, 4), int)]
)
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(UsageError, match=r"report: 'after' of the picture 'im1' .*give"):
        render(Page("t", (), pictures=(Picture("im1", noise(4, 4), wrong),)))


def test_what_is_no_kernel_is_refused():
    with pytest.raises(UsageError, match=r"kernel of 'im1' has the shape \(1, 3, 3\)"):
        render(Page("t", (), pictures=(Picture("im1", noise(4, 4), noise(4, 4), kernel=np.ones((1, 3, 3))),)))


def test_cropped_versions_lie_in_the_middle_at_one_scale():
    view = view_of(Picture("p", noise(100, 200), noise(80, 160)))
    assert view.frame == (100, 200)
    before, after = view.versions
    assert (before.left, before.top, before.width, before.height) == pytest.approx((0, 0, 100, 100))
    assert (after.left, after.top, after.width, after.height) == pytest.approx((10, 10, 80, 80))
    assert "before 200 × 100, after 160 × 80" in view.notes[0]


def test_versions_of_another_scale_fill_the_frame():
    view = view_of(Picture("p", noise(100, 200), noise(300, 300)))
    assert view.frame == (100, 200)
    assert (view.versions[1].left, view.versions[1].width, view.versions[1].height) == pytest.approx((25, 50, 100))


def test_small_pictures_are_enlarged_by_a_whole_factor():
    assert view_of(Picture("p", noise(255, 255), noise(255, 255))).shown == 510
    assert view_of(Picture("p", noise(900, 700), noise(900, 700))).shown == 700


def test_kernels_share_a_frame_and_have_scales_of_their_own():
    small, large = np.full((3, 3), 0.1), np.zeros((7, 5))
    large[3, 2] = 1
    found, true = view_of(Picture("p", noise(9, 9), noise(9, 9), kernel=small, true_kernel=large)).kernels
    assert decoded(found.uri).shape == decoded(true.uri).shape == (7, 5)
    assert decoded(found.uri)[2:5, 1:4].min() == 255
    assert decoded(found.uri).astype(int).sum() == 9 * 255
    assert (found.peak, found.total, true.peak) == ("0.1", "0.900", "1")
    assert kernel_bytes(np.array([[math.nan, -1.0], [0.0, 0.0]]), (2, 2), "x").tolist() == [[0, 0], [0, 0]]


def test_curves_with_gaps_and_one_point_are_drawn():
    x = (0.0, 1.0, 2.0, 3.0)
    curves = (
        Curve("gap", x, (1.0, math.nan, -1.0, 2.0)),
        Curve("one", (1.0,), (math.inf,)),
        Curve("dot", (1.0,), (3.0,)),
    )
    svg = draw(Plot("t", "x", "y", curves, log_y=True), "p")
    assert svg.count("var(--curve-") >= 2
    assert "nan" not in svg.lower()
    assert draw(Plot("t", "x", "y", curves[1:2]), "p") == ""
    assert "one: no values." in description(Plot("t", "x", "y", curves))
    assert "between 1 and 2." in description(Plot("t", "x", "y", curves, log_y=True))


def test_long_curves_are_thinned_and_keep_their_peaks():
    y = np.ones(50_000)
    y[31_234] = 9.0
    plot = Plot("t", "x", "y", (Curve("c", tuple(range(y.size)), tuple(y)),))
    svg = draw(plot, "p")
    assert len(svg) < 20_000
    assert svg.count("L ") < MAX_POINTS + 40
    assert "between 1 and 9" in description(plot)


@pytest.mark.parametrize("top", [1.3, 3.0, 17.0, 80.0, 1e5, 1e12])
def test_logarithmic_axes_have_a_few_ticks(top):
    svg = draw(Plot("t", "x", "y", (Curve("c", (0, 1), (2e-4, 2e-4 * top)),), True), "p")
    ticks = re.findall(r"<text[^>]*anchor: end[^>]*>([^<]*)<", svg)
    assert 2 <= len(ticks) <= 8
    assert len(set(ticks)) == len(ticks)


@pytest.mark.parametrize("log", [False, True])
def test_curves_of_one_value_have_an_axis(log):
    assert "<text" in draw(Plot("t", "x", "y", (Curve("c", (0, 1), (0.25, 0.25)),), log), "p")


def test_drawing_neither_heeds_nor_changes_settings():
    with matplotlib.rc_context({"text.usetex": True, "figure.facecolor": "red", "svg.fonttype": "path"}):
        svg = draw(PLOT, "p")
        assert matplotlib.rcParams["text.usetex"] is True
    assert svg == draw(PLOT, "p")


def test_config_may_hold_what_json_cannot_say():
    html = render(Page("t", (), config=MappingProxyType({"a": math.nan, "b": {1: sys}, "c": (1, 2)})))
    assert "NaN" in Tree(html).texts("pre")[0]


def test_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "out.html"
    write_report(path, Page("t", ()), overwrite=False)
    whole = path.read_bytes()
    assert whole.decode() == render(Page("t", ()))
    with pytest.raises(UsageError, match=r"exists already.* with --report\.$"):
        write_report(path, Page("u", ()), overwrite=False)
    with pytest.raises(UsageError, match="shape"):
        write_report(path, Page("u", (), pictures=(Picture("p", np.zeros(3), np.zeros(3)),)), overwrite=True)
    assert path.read_bytes() == whole
    write_report(path, Page("u", ()), overwrite=True)
    assert b"<h1>u</h1>" in path.read_bytes()
    assert [file.name for file in path.parent.iterdir()] == ["out.html"]


def test_found_out_before_anything_is_computed(tmp_path):
    check_report(tmp_path / "new.html", overwrite=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match=r"name it out\.html"):
        check_report(tmp_path / "out.pdf", overwrite=False)
    (tmp_path / "file.html").write_text("")
    with pytest.raises(UsageError, match=r"file\.html: exists already.* with --report\."):
        check_report(tmp_path / "file.html", overwrite=False)
    check_report(tmp_path / "file.html", overwrite=True)
    with pytest.raises(UsageError, match=r"cannot be written .* with --report\."):
        check_report(tmp_path / "file.html" / "below.html", overwrite=False)


def test_a_missing_extra_is_told():
    code = """if True:
        import sys
        from pathlib import Path
        sys.modules["jinja2"] = sys.modules["matplotlib"] = None
        from deblurkit.errors import UsageError
        from deblurkit.report import Page, check_report, render
        assert "torch" not in sys.modules
        for call in (lambda: render(Page("t", ())), lambda: check_report(Path("x.html"), overwrite=False)):
            try:
                call()
            except UsageError as error:
                print(error)
    """
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "A report needs jinja2 and matplotlib; install with: pip install 'deblurkit[report]'.\n" * 2
