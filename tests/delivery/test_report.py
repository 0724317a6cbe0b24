"""The page is what a browser makes of it: where chromium is installed, it is asked."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.delivery.contents import HOSTILE, SCRIPT, TASKS, classify, regress
from transferkit.delivery.report import Example, ReportContent, render, write_report
from transferkit.errors import ConfigError

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed; the page is not opened")


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def figureless():
    content = classify(["a", "b"])
    for split in ("val", "test"):
        content["metrics"][split]["per_class"] = content["metrics"][split]["confusion"] = None
    return {key: content[key] for key in ("title", "task", "classes", "metrics")}


@pytest.fixture(scope="module")
def pages():
    return {task: render(content()) for task, content in TASKS.items()}


@pytest.mark.parametrize("task", TASKS)
def test_names_stay_text_and_no_element_of_theirs_exists(pages, task):
    page = Page(pages[task])
    assert SCRIPT in page.text
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_template_marks_in_names_are_not_run(pages):
    assert "{{ 7*7 }}" in Page(pages["classify"]).text


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_fetched(pages, task):
    page = Page(pages[task])
    sources = [value for name, value in page.attributes if name in ("src", "srcset", "href", "data", "action")]
    assert sources
    assert all(value.startswith("data:") for value in sources)
    assert not re.search(r"url\(|@import", pages[task])
    assert ("http-equiv", "Content-Security-Policy") in page.attributes


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("classify", ["accuracy on 300 test pictures", "95 % interval", "Diagnosis: leakage suspected",
                      "always the most frequent class", "What is taken for what", "Each class", "Does confidence",
                      "2.5 h", "Would more pictures help?", "Worst mistakes", "Findings in the data",
                      "transferkit finetune 'flowers <b>'"]),
        ("multilabel", ["mean average precision on 120 test pictures", "Each label", "threshold", "never"]),
        ("regress", ["mean absolute error on 80 test pictures", "Predicted against true", "Each target"]),
    ],
)  # fmt: skip
def test_every_task_shows_what_it_has(pages, task, expected):
    text = Page(pages[task]).text
    for words in expected:
        assert words in text


def test_sections_without_content_are_left_out(pages):
    text = Page(pages["regress"]).text
    for heading in ("What is taken for what", "Worst mistakes", "Does confidence", "Diagnosis"):
        assert heading not in text
    assert Page(render(ReportContent(title="bare", task="classify"))).tags.count("section") == 0


def test_undefined_scores_are_dashes_not_none(pages):
    content = figureless()
    content["metrics"]["test"]["kappa"] = None
    text = Page(render(content)).text
    assert "None" not in text
    assert "nan" not in text
    assert "–" in text


def test_the_numbers_shown_are_the_numbers_given():
    content = figureless()
    content["metrics"]["test"] |= {"accuracy": 0.98765, "accuracy_ci95": [0.9, 0.99]}
    text = Page(render(content)).text
    assert "98.8 %" in text
    assert "90.0 % to 99.0 %" in text


def test_the_goal_decides_the_headline():
    content = figureless()
    content["goal"] = "auc"
    assert "ROC AUC on 300 test pictures" in Page(render(content)).text


def test_pictures_are_small_and_overlays_are_shown():
    wall = np.random.default_rng(0).integers(0, 255, (3000, 2000, 3), np.uint8)
    example = Example(path="x.jpg", predicted="a", picture=wall, overlay=wall)
    html = render(ReportContent(title="t", task="classify", errors=[example]))
    assert Page(html).tags.count("img") == 2
    assert len(html) < 200_000


def test_a_hundred_classes_stay_a_page_one_can_send():
    names = [f"class {i}" for i in range(100)]
    assert len(render(classify(names, n=1500))) < 3_000_000


def test_file_names_that_are_no_text_do_not_break_the_page(tmp_path):
    broken = "caf\udce9.jpg"
    example = Example(path=broken, predicted="a")
    path = write_report(
        ReportContent(title=broken, task="classify", errors=[example]), tmp_path / "out" / "report.html"
    )
    assert "caf?.jpg" in path.read_text("utf-8")


def test_an_unknown_task_is_refused():
    with pytest.raises(ConfigError, match="classify, multilabel, regress"):
        render(ReportContent(title="t", task="segment"))


def test_a_wrong_baseline_is_not_drawn_wider_than_the_track():
    content = regress()
    del content["history"], content["regression"]
    content["metrics"]["baselines"]["majority"]["mae"] = 1e6
    widths = [float(w) for w in re.findall(r'style="width: ([\d.]+)%"', render(content))]
    assert max(widths) == 100.0


def chromium(folder, page, *options):
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-dev-shm-usage", "--enable-logging=stderr",
             f"--user-data-dir={folder / 'profile'}")  # fmt: skip
    command = [CHROMIUM, *flags, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@needs_chromium
def test_the_browser_would_be_heard_complaining(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<script>console.error('heard')</script>")
    assert "CONSOLE" in chromium(tmp_path, page, "--dump-dom").stderr


@needs_chromium
@pytest.mark.parametrize("task", TASKS)
def test_a_browser_shows_it_without_a_complaint(tmp_path, pages, task):
    page = tmp_path / "report.html"
    page.write_text(pages[task], "utf-8")
    found = chromium(tmp_path, page, "--dump-dom")
    assert "</main>" in found.stdout
    assert "<script" not in found.stdout
    assert "CONSOLE" not in found.stderr


MEASURE = """<script>addEventListener("load", () => {
  const broken = [...document.images].filter(i => !i.naturalWidth).length;
  document.title = `wide ${document.documentElement.scrollWidth - innerWidth} broken ${broken} ` +
    getComputedStyle(document.body).backgroundColor;
});</script></head>"""


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, False), (1280, True)])
def test_it_fits_phone_and_desktop_in_light_and_dark(tmp_path, pages, width, dark):
    # A frame gives the width of a phone, which the browser's own window refuses; the probe is a script.
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", pages["classify"])
    html = html.replace("</head>", MEASURE.replace("document.title =", "parent.postMessage(").replace(
        "backgroundColor;", 'backgroundColor, "*");'))  # fmt: skip
    (tmp_path / "report.html").write_text(html, "utf-8")
    outer = tmp_path / "outer.html"
    outer.write_text(
        f'<p id="said"></p><iframe src="report.html" style="width: {width}px; height: 900px"></iframe>'
        '<script>addEventListener("message", e => said.textContent = e.data)</script>'
    )
    scheme = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []
    found = chromium(tmp_path, outer, "--dump-dom", "--virtual-time-budget=8000", "--window-size=1400,1000", *scheme)
    said = re.search(r'id="said">wide (-?\d+) broken (\d+) rgb\((\d+)', found.stdout)
    assert said, found.stdout[:500]
    assert int(said[1]) <= 0
    assert int(said[2]) == 0
    assert (int(said[3]) < 60) == dark


def test_hostile_names_reach_the_tables_whole(pages):
    text = Page(pages["classify"]).text
    assert all(name in text for name in HOSTILE)


def test_abstention_shows_what_was_chosen_and_what_came_of_it(pages):
    text = Page(pages["classify"]).text
    assert "If it may decline to answer" in text
    assert "95 %0.71080 %83 %94 %" in text
    assert "99 %–0 %––" in text
    assert "decline" not in Page(pages["regress"]).text


def test_a_winning_baseline_is_said_beside_the_headline(pages):
    content = figureless()
    edge = {"gain": -0.1, "low": -0.15, "high": -0.05, "p": 1e-6}
    content["metrics"]["baselines"]["linear_probe"] = {"accuracy": 1.0, "against": {"accuracy": edge}}
    text = Page(render(content)).text
    assert "A baseline wins: the simplest classifier on the same network (linear probe) is better" in text
    assert "A baseline wins" not in Page(pages["classify"]).text
    edge["p"] = 0.6
    text = Page(render(content)).text
    assert "A baseline wins" not in text
    assert "No clear difference from the simplest classifier on the same network (linear probe)" in text


def test_intervals_stand_under_their_scores():
    content = figureless()
    content["metrics"]["test"] |= {"kappa": 0.8, "kappa_ci95": [0.71234, 0.88]}
    content["metrics"]["test"]["per_class"] = [
        {"class": "a", "recall": 0.5, "recall_ci95": [0.25, 0.75], "f1": None, "support": 9}
    ]
    text = Page(render(content)).text
    assert "0.712 to 0.880" in text
    assert "0.250 to 0.750" in text
    assert "ci95" not in text
