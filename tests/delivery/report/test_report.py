"""The page is what a browser makes of it: where chromium is installed, it is asked."""

import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.chromium import needs_chromium
from tests.data.pictures import folder_of_classes
from tests.delivery.contents import HOSTILE, SCRIPT, TASKS, classify, regress
from tests.marks import extended
from tests.records import metrics_of
from transferkit.cli.browse import SECTIONS
from transferkit.data.audit.audit import check
from transferkit.data.audit.audit_page import audit_page
from transferkit.delivery.report.report import Example, ReportContent, render, write_report
from transferkit.evaluation.scores import BaselineScores


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
        scores = getattr(content["metrics"], split)
        scores["per_class"] = scores["confusion"] = None
    return {key: content[key] for key in ("title", "metrics")}


@pytest.fixture(scope="module")
def pages():
    return {task: render(content()) for task, content in TASKS.items()}


@pytest.mark.parametrize("task", TASKS)
def test_names_stay_text_and_no_element_of_theirs_exists(pages, task):
    page = Page(pages[task])
    assert SCRIPT in page.text
    assert page.tags.count("script") == 1  # our own, which the policy allows by its hash
    assert "b" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_template_marks_in_names_are_not_run(pages):
    assert "{{ 7*7 }}" in Page(pages["classify"]).text


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_fetched(pages, task):
    page = Page(pages[task])
    sources = [value for name, value in page.attributes if name in ("src", "srcset", "href", "data", "action")]
    assert sources
    assert all(value.startswith(("data:", "#")) for value in sources)
    assert not re.search(r"url\(|@import", pages[task])
    assert ("http-equiv", "Content-Security-Policy") in page.attributes


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("classify", ["accuracy on 300 test pictures", "95 % interval", "(leakage suspected)",
                      "always the most frequent class", "What is taken for what", "Each class",
                      "Does confidence", "2.5 h",
                      "Would more pictures help?", "The worst mistakes", "Can I use it?", "Findings in the data",
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
    for heading in ("What is taken for what", "worst mistakes", "Does confidence", "Main problem"):
        assert heading not in text
    bare = Page(render(ReportContent(title="bare", metrics=metrics_of({}))))
    assert bare.tags.count("section") == 1
    assert "no pictures were kept for a test" in bare.text


def test_undefined_scores_are_dashes_not_none(pages):
    content = figureless()
    content["metrics"].test["kappa"] = None
    text = Page(render(content)).text
    assert "None" not in text
    assert "nan" not in text
    assert "–" in text


def test_the_numbers_shown_are_the_numbers_given():
    content = figureless()
    content["metrics"].test |= {"accuracy": 0.98765, "accuracy_ci95": [0.9, 0.99]}
    text = Page(render(content)).text
    assert "98.8 %" in text
    assert "90.0 % to 99.0 %" in text


def test_the_goal_decides_the_headline():
    content = figureless()
    content["metrics"].goal = "auc"
    assert "ROC AUC on 300 test pictures" in Page(render(content)).text


def test_pictures_are_small_and_overlays_are_shown():
    wall = np.random.default_rng(0).integers(0, 255, (3000, 2000, 3), np.uint8)
    example = Example(path="x.jpg", predicted="a", picture=wall, overlay=wall)
    html = render(ReportContent(title="t", metrics=metrics_of({}), confident=[example]))
    assert Page(html).tags.count("img") == 2
    assert len(html) < 200_000


@pytest.mark.extended
def test_a_hundred_classes_stay_a_page_one_can_send():
    names = [f"class {i}" for i in range(100)]
    assert len(render(classify(names, n=1500))) < 3_000_000


def test_file_names_that_are_no_text_do_not_break_the_page(tmp_path):
    broken = "caf\udce9.jpg"
    example = Example(path=broken, predicted="a")
    path = write_report(
        ReportContent(title=broken, metrics=metrics_of({}), errors=[example]), tmp_path / "out" / "report.html"
    )
    assert "caf?.jpg" in path.read_text("utf-8")


def test_a_wrong_baseline_is_not_drawn_wider_than_the_track():
    content = regress()
    del content["history"], content["regression"]
    content["metrics"].baselines["majority"]["mae"] = 1e6
    widths = [float(w) for w in re.findall(r'style="width: ([\d.]+)%"', render(content))]
    assert max(widths) == 100.0


@needs_chromium
def test_the_browser_would_be_heard_complaining(tmp_path, browser):
    page = tmp_path / "bad.html"
    page.write_text("<script>console.error('heard')</script>")
    browser.open(page.as_uri())
    assert "heard" in browser.errors[0]


@needs_chromium
@pytest.mark.parametrize("task", TASKS)
def test_a_browser_shows_it_without_a_complaint(tmp_path, browser, pages, task):
    page = tmp_path / "report.html"
    page.write_text(pages[task], "utf-8")
    browser.open(page.as_uri())
    found = browser.run("document.documentElement.outerHTML")
    assert "</main>" in found
    assert found.count("<script") == 1
    assert browser.errors == []
    assert found.count('class="copy"') == pages[task].count('class="command"')  # made by the script


MEASURE = """(() => {
  document.querySelectorAll("details").forEach(d => { d.open = true; });
  const broken = [...document.images].filter(i => !i.naturalWidth).length;
  const cut = [...document.querySelectorAll(".big, .number, .whisker, td, th, pre, p, li, button")].filter(
    e => e.getBoundingClientRect().right > innerWidth + .5 || e.scrollWidth > e.clientWidth + 1 && e.clientWidth
  ).length;
  const paper = getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0];
  return [document.scrollingElement.scrollWidth - innerWidth, broken, cut, Number(paper)];
})()"""


def measured(folder, browser, html, width, dark):
    """What a page comes to in a window of so many pixels: its overflow, broken pictures, what is cut off, its paper."""
    (folder / "report.html").write_text(html, "utf-8")
    browser.open((folder / "report.html").as_uri(), width, dark)
    return browser.run(MEASURE)


@needs_chromium
@pytest.mark.parametrize(
    ("task", "width", "dark"),
    extended(
        [("classify", 390, False), ("classify", 390, True), ("classify", 768, False), ("classify", 1440, True),
         ("multilabel", 390, False), ("regress", 390, False)],
        [("classify", 390, True), ("classify", 768, False), ("multilabel", 390, False)], spread=True,
    ),
)  # fmt: skip
def test_it_fits_phone_and_desktop_in_light_and_dark(tmp_path, browser, pages, task, width, dark):
    wide, broken, cut, paper = measured(tmp_path, browser, pages[task], width, dark)
    assert (wide <= 0, broken, cut) == (True, 0, 0)
    assert (paper < 60) == dark


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(390, False), (1440, True)])
def test_the_page_of_the_data_check_fits_too(tmp_path, browser, width, dark):
    root = folder_of_classes(tmp_path / "data", {"a" * 60: 12, "b": 12}, 40)
    shutil.copy(root / "b" / "0.png", root / "b" / f"{'same_' * 20}.png")
    (root / "b" / "bad.jpg").write_bytes(b"<html>")
    wide, broken, cut, paper = measured(tmp_path, browser, audit_page(check(root)), width, dark)
    assert (wide <= 0, broken, cut) == (True, 0, 0)
    assert (paper < 60) == dark


@needs_chromium
def test_the_probe_sees_what_is_cut_off(tmp_path, browser):
    html = "<head></head><body><main style='overflow: hidden'><p style='width: 900px'>0.9</p></main></body>"
    assert measured(tmp_path, browser, html, 390, False)[2] == 1


def test_hostile_names_reach_the_tables_whole(pages):
    text = Page(pages["classify"]).text
    assert all(name in text for name in HOSTILE)


def test_abstention_shows_what_was_chosen_and_what_came_of_it(pages):
    text = Page(pages["classify"]).text
    assert "If it may decline to answer" in text
    assert "95 %0.71083 %94 %80 %" in text
    assert "99 %–––0 %" in text
    assert "decline" not in Page(pages["regress"]).text


def test_a_winning_baseline_is_said_beside_the_headline(pages):
    content = figureless()
    edge = {"gain": -0.1, "low": -0.15, "high": -0.05, "p": 1e-6}
    content["metrics"].baselines["linear_probe"] = BaselineScores(accuracy=1.0, against={"accuracy": edge})
    text = Page(render(content)).text
    assert "A baseline wins: the simplest classifier on the same network (linear probe) is better" in text
    assert "A baseline wins" not in Page(pages["classify"]).text
    edge["p"] = 0.6
    text = Page(render(content)).text
    assert "A baseline wins" not in text
    assert "No clear difference from the simplest classifier on the same network (linear probe)" in text


def test_intervals_stand_under_their_scores():
    content = figureless()
    content["metrics"].test |= {"kappa": 0.8, "kappa_ci95": [0.71234, 0.88]}
    content["metrics"].test["per_class"] = [
        {"class": "a", "recall": 0.5, "recall_ci95": [0.25, 0.75], "f1": None, "support": 9}
    ]
    text = Page(render(content)).text
    assert "0.712 to 0.880" in text
    assert "0.250 to 0.750" in text
    assert "ci95" not in text


def test_every_section_that_can_be_opened_is_there_in_its_order(pages):
    for task in ("classify", "multilabel"):
        places = [pages[task].index(f'id="{name}"') for name in ("result", *SECTIONS)]
        assert places == sorted(places)


def test_the_script_is_the_one_that_the_policy_allows(pages):
    script = re.search(r"<script>(.*?)</script>", pages["regress"], re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in pages["regress"]


def test_the_first_screen_draws_the_score_with_its_interval_beside_the_baselines():
    content = figureless()
    content["metrics"].test |= {"accuracy": 0.9, "accuracy_ci95": [0.8, 0.95], "n": 100}
    content["metrics"].diagnosis = None
    html = render(content)
    bars = re.findall(
        r'class="fill" style="width: ([\d.]+)%"></span><span class="whisker" style="left: ([\d.]+)%', html
    )
    assert bars[0] == ("90.0", "80.0")
    assert len(bars) == 2  # the interval of a baseline's accuracy follows from the number of pictures
    text = Page(html).text
    assert "90 of 100 right" in text
    assert "expect 5 to 20 wrong answers" in text


def test_five_scores_are_shown_and_the_rest_on_demand_test_before_validation(pages):
    section = pages["classify"].split('id="scores"')[1].split("</section>")[0]
    shown, folded = section.split("<details>")
    assert shown.count('<th scope="row">') == 5
    assert folded.count('<th scope="row">') > 5
    assert shown.index(">test<") < shown.index(">validation<")


def test_a_thousand_classes_stay_bounded():
    names = [f"class {i}" for i in range(1000)]
    rows = [{"class": n, "f1": i / 1000, "f1_ci95": [0.0, 1.0], "support": 3} for i, n in enumerate(names)]
    metrics = metrics_of({"classes": names, "test": {"n": 3000, "accuracy": 0.5, "per_class": rows}})
    html = render(ReportContent(title="t", metrics=metrics), drawn={})
    assert len(html) < 200_000
    text = Page(html).text
    assert "class 0" in text
    assert "class 999" not in text
    assert "The other 900 classes" in text


def test_a_run_of_an_earlier_version_still_renders():
    """Neither intervals, pairs, counts of uses, phases nor effective settings were recorded then."""
    metrics = {"test": {"accuracy": 0.8, "per_class": [{"class": "a", "f1": 0.5}]},
               "val": {"accuracy": 0.9}, "baselines": {"majority": {"accuracy": 0.5}, "something_old": {}},
               "abstention": [{"accuracy": 0.9, "threshold": None}],
               "diagnosis": {"state": "odd", "evidence": []}}  # fmt: skip
    content = ReportContent(title="old", metrics=metrics_of(metrics), settings={"views": None})
    text = Page(render(content)).text
    assert "80.0 %" in text
    assert "Main problem: odd" in text
    assert "viewsnot set" in text
    metrics["test"]["per_class"][0]["roc_auc"] = {"no": "number"}
    assert "80.0 %" in Page(render({**content, "metrics": metrics_of(metrics)})).text


def test_what_was_tried_is_a_table_with_the_chosen_row_marked():
    content = figureless()
    changes = {
        "candidates": [
            {"name": "kernel on all", "setting": {"gamma": 0.5}, "score": 0.82, "spread": 0.01, "behind_best": 0.0,
             "behind_best_se": 0.0, "given_up": False, "chosen": False},
            {"name": "linear on last", "setting": {}, "score": 0.81, "spread": None, "behind_best": 0.01,
             "behind_best_se": 0.02, "given_up": False, "chosen": True},
            {"features": SCRIPT, "classifier": "k", "score": None, "given_up": True},
            {"name": "mlp on all", "score": 0.7, "judged_on": "validation"},
            {"name": "ridge on top", "score": 0.6, "given_up": True, "pictures": 4000},
        ],
        "cross_validation": {"score": 0.805, "ci95": [0.75, 0.86], "folds": 5, "rounds": 2, "metric": "accuracy"},
    }  # fmt: skip
    content["metrics"] = metrics_of({**content["metrics"].as_json(), **changes})
    html = render(content)
    text = Page(html).text
    assert "What was tried" in text
    assert re.search(r'class="chosen"><th scope="row"><bdi>linear on last', html)
    assert "0.010 ± 0.020" in text
    assert "given up early" in text
    assert "0.700, on validation alone" in text
    assert "0.600, on 4,000 pictures" in text
    assert "accuracy 0.805 (95 % interval 0.750 to 0.860), 5 folds in 2 rounds" in text
    assert "What was tried" not in Page(render(figureless())).text


def test_what_is_next_is_a_command_to_copy_and_given_settings_come_first():
    content = figureless() | {
        "steps": [{"why": "use it", "command": "transferkit predict 'my run' PICTURES"}],
        "settings": {"views": "4", "dropout": "0.3"}, "given": ["dropout"],
    }  # fmt: skip
    page = render(content)
    assert "transferkit predict 'my run' PICTURES" in Page(page).text
    assert page.index(">dropout<") < page.index("All other settings") < page.index(">views<")
