"""The page in a real browser: slider, zoom, truth, sorting, phone width, and nothing in its console."""

import shutil
import time

import numpy as np
import pytest

from deblurkit.report import Column, Curve, Page, Picture, Plot, Table, write_report

for module in ("jinja2", "matplotlib"):
    pytest.importorskip(module, reason=f"{module} is not installed: pip install 'deblurkit[report]'")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
By = pytest.importorskip("selenium.webdriver.common.by").By
ActionChains, Keys = webdriver.ActionChains, webdriver.Keys
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="needs Chromium and chromedriver")


LONG = "/a/path/that_has_no_place_to_be_broken" * 5


@pytest.fixture(scope="module")
def driver():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    x = np.random.default_rng(0).random((60, 80))
    plot = Plot(
        "Loss", "step", "loss", (Curve("joint", (0, 1, 2), (1.0, 0.1, 0.01)), Curve(LONG, (0, 1), (2.0, 3.0))), True
    )
    picture = Picture(
        "<b>im1</b>", x, 1 - x, x**2, np.ones((9, 9)), np.eye(7), {LONG: LONG}, (plot,), notice=f"synthesised {LONG}"
    )
    rows = [
        {"name": "a", "psnr": 30.0},
        {"name": "b", "psnr": None, "failure": f"NaN {LONG}"},
        {"name": "c10", "psnr": 9.5, "text": LONG},
        {"name": "c9" + LONG, "psnr": float("inf")},
    ]
    columns = (Column("name", "Name", numeric=False), Column("psnr", "PSNR", better="higher"))
    texts = (Column("text", "Text", numeric=False),)
    wide = tuple(Column(f"k{i}", f"Column {i}") for i in range(20))
    page = Page(
        f"Report {LONG}", (LONG,), (Table("Scores", columns + texts + wide, tuple(rows)),), (plot,),
        (picture, Picture("grey", x, x[:50])), {"key": LONG}, {"deblurkit": "1"},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("report") / "page.html"
    write_report(path, page, overwrite=False)
    return path


@pytest.fixture
def page(driver, file):
    size(driver, 1280)
    driver.get(file.as_uri())
    yield driver
    assert driver.get_log("browser") == []


def size(driver, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def one(driver, selector):
    return driver.find_element(By.CSS_SELECTOR, selector)


def cut(driver):
    """Where the drawn divider stands, in percent of the stage."""
    script = """
        const stage = document.querySelector(".stage").getBoundingClientRect();
        const divider = document.querySelector(".divider").getBoundingClientRect();
        return 100 * (divider.left + divider.width / 2 - stage.left) / stage.width"""
    return round(driver.execute_script(script))


def sheet(driver):
    """Left, top and width of the drawn picture, in widths and heights of the stage."""
    script = """
        const stage = document.querySelector(".stage");
        stage.querySelectorAll(".sheet").forEach((sheet) => { sheet.style.transition = "none"; });
        const [a, b] = [stage.getBoundingClientRect(), stage.querySelector(".after .sheet").getBoundingClientRect()];
        return [(b.left - a.left) / a.width, (b.top - a.top) / a.height, b.width / a.width]"""
    return driver.execute_script(script)


def test_the_slider_works_by_keyboard(page):
    slider = one(page, ".slider")
    assert cut(page) == 50
    page.execute_script("arguments[0].focus()", slider)
    slider.send_keys(Keys.ARROW_LEFT * 5)
    assert cut(page) == 45
    assert slider.get_attribute("aria-valuetext") == "45 % before, 55 % after"
    assert slider.accessible_name == "Divider between before and after: <b>im1</b>"
    slider.send_keys(Keys.END)
    assert cut(page) == 100
    after = one(page, ".version.after")
    assert after.value_of_css_property("clip-path") == "inset(0px 0px 0px 100%)"


def test_the_divider_follows_the_pointer(page):
    stage = one(page, ".stage")
    quarter = stage.size["width"] // 4
    ActionChains(page, 0).move_to_element(stage).click_and_hold().move_by_offset(quarter, 5).release().perform()
    assert cut(page) == 75
    assert one(page, "output").text == "1×"


def test_the_divider_follows_a_finger(page):
    size(page, 390)
    page.execute_script("document.querySelector('.stage').scrollIntoView({block: 'center'})")
    script = "const b = document.querySelector('.stage').getBoundingClientRect(); return [b.x, b.y, b.width, b.height]"
    x, y, width, height = page.execute_script(script)
    for kind, share in (("touchStart", 0.5), ("touchMove", 0.4), ("touchMove", 0.25), ("touchEnd", None)):
        points = [] if share is None else [{"x": x + share * width, "y": y + height / 2}]
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert cut(page) == pytest.approx(25, abs=1)


def test_the_thumb_stands_below_the_divider(page):
    stage, slider = one(page, ".stage"), one(page, ".slider")
    at = round(0.8 * stage.size["width"] - stage.size["width"] / 2)
    ActionChains(page, 0).move_to_element_with_offset(slider, at, 0).click().perform()
    assert cut(page) == pytest.approx(80, abs=1)


def test_zoom_by_click_drag_and_keys(page):
    stage = one(page, ".stage")
    width, height = stage.size["width"], stage.size["height"]
    ActionChains(page, 0).move_to_element_with_offset(stage, width // 4, height // 4).click().perform()
    assert one(page, "output").text == "2×"
    assert sheet(page) == pytest.approx([-0.75, -0.75, 2], abs=0.02)
    assert one(page, ".after img").value_of_css_property("image-rendering") == "pixelated"
    ActionChains(page, 0).move_to_element_with_offset(stage, 100, 0).click_and_hold().move_by_offset(
        width // 4, height // 8
    ).release().perform()
    assert sheet(page) == pytest.approx([-0.5, -0.625, 2], abs=0.02)
    assert cut(page) == 50
    stage.send_keys("+++++++")
    assert one(page, "output").text == "8×"
    stage.send_keys(Keys.ARROW_LEFT * 90)
    assert sheet(page)[::2] == pytest.approx([0, 8], abs=0.01)
    stage.send_keys("0")
    assert sheet(page) == pytest.approx([0, 0, 1])
    one(page, "[data-zoom='1']").click()
    assert one(page, "output").text == "2×"
    one(page, "[data-zoom='-1']").click()
    assert one(page, "output").text == "1×"


def test_the_truth_takes_the_place_of_the_result(page):
    button = one(page, "[data-truth]")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert one(page, ".version.truth").is_displayed()
    assert not one(page, ".version.after").is_displayed()
    assert one(page, ".slider").get_attribute("aria-valuetext") == "50 % before, 50 % truth"
    one(page, ".stage").send_keys("t")
    assert one(page, ".version.after").is_displayed()
    assert len(page.find_elements(By.CSS_SELECTOR, "[data-truth]")) == 1


def test_tables_are_sorted_with_missing_values_last(page):
    def names():
        return [
            cell.text.split("\n")[0].removesuffix(LONG)
            for cell in page.find_elements(By.CSS_SELECTOR, "tbody th .value, tbody th strong")
        ]

    def header(number):
        return one(page, f"thead th:nth-child({number})")

    assert names() == ["a", "b", "c10", "c9"]
    header(2).find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert names() == ["c9", "a", "c10", "b"]
    assert header(2).get_attribute("aria-sort") == "descending"
    header(2).find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
    assert names() == ["c10", "a", "c9", "b"]
    assert header(2).get_attribute("aria-sort") == "ascending"
    header(1).find_element(By.TAG_NAME, "button").click()
    assert names() == ["a", "b", "c9", "c10"]
    assert header(2).get_attribute("aria-sort") == "none"


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_leaves_the_page_sideways(page, width):
    size(page, width)
    for details in page.find_elements(By.TAG_NAME, "summary"):
        details.click()
    script = """
        const inside = (e) => e.closest(".scroll, .stage, .slider, .unseen, svg");
        return [...document.body.querySelectorAll("*")].filter((e) => !inside(e))
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1)
            .map((e) => e.outerHTML.slice(0, 80))"""
    assert page.execute_script(script) == []
    script = """
        return [...document.querySelectorAll("th > *, td > *")].filter((e) => !e.matches(".unseen")).filter((e) =>
            e.getBoundingClientRect().right > e.parentElement.getBoundingClientRect().right + 1 ||
            e.scrollWidth > e.clientWidth + 1 && e.clientWidth).map((e) => e.outerHTML)"""
    assert page.execute_script(script) == [], "values run into their neighbours"
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    assert page.execute_script("return getComputedStyle(document.querySelector('.scroll')).overflowX") == "auto"
    tick = page.execute_script("return document.querySelector('.drawing text').getBoundingClientRect().height")
    assert tick > 10, "numbers at the axes are too small to read"


def test_colours_follow_the_reader(page):
    colours = {}
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        colours[scheme] = page.execute_script(
            "const of = (s, p) => getComputedStyle(document.querySelector(s))[p];"
            "return [of('body', 'backgroundColor'), of('.drawing path[style*=curve]', 'stroke')]"
        )
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert colours["light"][0] == "rgb(252, 252, 252)"
    assert colours["dark"][0] == "rgb(23, 23, 23)"
    assert colours["light"][1] != colours["dark"][1]


def test_paper_shows_all_versions_side_by_side(page):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        boxes = [box.rect for box in page.find_elements(By.CSS_SELECTOR, "article:first-of-type .version img")]
        controls = one(page, ".controls").is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert len(boxes) == 3
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert boxes[1]["x"] + boxes[1]["width"] <= boxes[2]["x"]
    assert not controls


def test_asks_nothing_of_the_network(driver, file):
    driver.get_log("performance")
    driver.get(file.as_uri())
    time.sleep(0.2)
    asked = [entry["message"] for entry in driver.get_log("performance") if "requestWillBeSent" in entry["message"]]
    assert all('"url":"file:' in message or '"url":"data:' in message for message in asked)
    assert asked
