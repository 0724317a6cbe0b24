#!/usr/bin/env python
"""Draws the pictures of docs/ into docs/figures: every one from transferkit's own code and measurements made here.

Needs no network and no data of yours: the bundled network, scikit-learn's digits, and two photographs that come with
scikit-learn. `scripts/docs --figures` calls it; name figures to draw only those.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from PIL import Image

import transferkit as tk
from transferkit.data.digits import write_digits
from transferkit.evaluation import calibration as calibrating
from transferkit.evaluation.plot_style import BLUE, GREEN, LIGHT, ORANGE, blank, save, style

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures"


# -------------------------------------------------------------------------------------------------- the cut


def cut() -> None:
    """Picture → frozen part → stored activation → tail → head, with the shapes and weights of a real cut."""
    from transferkit.backbones.cut import cut as cut_at

    base = tk.backbone("mini", size=32, offline=True)
    names = [operation.name for operation in base.operations]
    parts = cut_at(base, next(i for i, name in enumerate(names) if name.startswith("block3")))
    head = tk.build_head(base, classes=10)
    shape = "×".join(str(n) for n in parts.frozen.output_shape[1:])
    boxes = [
        ("picture", "32×32×3, uint8", LIGHT["soft"]),
        ("frozen part", f"{parts.frozen.count_params():,} weights\nnever change", BLUE),
        ("features at the cut", f"{shape}\nkept on disk", GREEN),
        ("tail", f"{parts.tail.count_params():,} weights", ORANGE),
        ("head", f"{head.count_params():,} weights", ORANGE),
        ("answer", "10 probabilities", LIGHT["soft"]),
    ]
    with style(dark=False):
        figure = blank(9.0, 2.3)
        axis = figure.subplots()
        axis.set(xlim=(0, 6), ylim=(0, 1.5))
        axis.axis("off")
        for place, (title, text, colour) in enumerate(boxes):
            box = (place + 0.06, 0.55), 0.78, 0.7
            axis.add_patch(FancyBboxPatch(*box, boxstyle="round,pad=0.04", fc=colour + "22", ec=colour, lw=1.4))
            axis.text(place + 0.45, 1.05, title, ha="center", weight="bold", fontsize=8.5)
            axis.text(place + 0.45, 0.7, text, ha="center", va="center", fontsize=7.5, linespacing=1.4)
            if place:
                axis.add_patch(
                    FancyArrowPatch((place - 0.11, 0.9), (place + 0.01, 0.9), arrowstyle="->", mutation_scale=11)
                )
        for low, high, text in (
            (0.06, 2.84, "once per picture and view"),
            (3.06, 5.84, "every epoch, fold and search trial"),
        ):
            axis.plot([low, low, high, high], [0.4, 0.33, 0.33, 0.4], color=LIGHT["soft"], lw=1)
            axis.text((low + high) / 2, 0.12, text, ha="center", fontsize=8.5)
        axis.set_title("mini, cut below block3")
    save(figure, FIGURES / "cut.png")


# ---------------------------------------------------------------------------------------------------- views


SIDE = 112
ROW = SIDE + 20  # with its captions, as `preview` draws it


def views() -> None:
    """The contact sheet of `transferkit data preview`: two photographs in the views of every preset."""
    sheet = _preview(None)
    sheet.crop((0, 0, sheet.width, 6 * ROW)).save(FIGURES / "views.jpg", quality=82, optimize=True)


def ranges() -> None:
    """What is below them: each range of one preset by itself."""
    sheet = _preview("strong")
    sheet.crop((0, 2 * ROW, sheet.width, sheet.height)).save(FIGURES / "ranges.jpg", quality=82, optimize=True)


def _preview(augment: str | None) -> Any:
    """Of scikit-learn's two photographs (CC BY 2.0)."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    from transferkit.data.augmentation.preview import preview
    from transferkit.data.images.decode import DecodeSettings

    with tempfile.TemporaryDirectory() as folder:
        for name in ("china", "flower"):
            path = Path(folder) / name / f"{name}.png"
            path.parent.mkdir()
            Image.fromarray(load_sample_image(f"{name}.jpg")).save(path)
        data = tk.load_data(folder)
        return preview(data.samples, DecodeSettings(SIDE, resize="crop"), augment, pictures=2, views=6)


# ---------------------------------------------------------------------------------------------------- LP-FT


def lpft() -> None:
    """The curves of one run that trains the head first and then the tail, drawn as the report draws them."""
    from transferkit.evaluation.training_curves import curves

    settings = {"head": "mlp", "unfreeze": "from:block3", "epochs": 20, "patience": 19, "augment": "none"}
    with _run(30, **settings) as run:
        save(curves(run.history), FIGURES / "lpft.png")


# --------------------------------------------------------------------------------------------------- splits


def splits() -> None:
    """Thirty pictures in groups, split at random and by `transferkit.data.splitting.split`."""
    from transferkit.data.splitting.split import split

    with _grouped() as samples:
        ours = split(samples, (0.6, 0.2, 0.2), seed=0).assignment
        order = np.random.default_rng(0).permutation(len(samples))
    random = np.empty(len(samples), object)
    random[order] = ["train"] * 18 + ["val"] * 6 + ["test"] * 6
    colours = {"train": BLUE, "val": ORANGE, "test": GREEN}
    with style(dark=False):
        figure = blank(8.4, 2.6)
        axis = figure.subplots()
        axis.axis("off")
        for row, (name, parts) in enumerate((("at random", list(random)), ("transferkit", list(ours)))):
            top = 1.3 - row * 1.1
            broken = _draw_row(axis, parts, samples, top, colours)
            counts = "; ".join(
                f"{c}: " + "/".join(str(_count(parts, samples, c, p)) for p in colours) for c in _in_order(samples)
            )
            axis.text(-0.6, top + 0.3, name, ha="right", va="center", weight="bold")
            axis.text(0, top - 0.2, f"train/val/test of {counts}. Groups divided: {broken}", fontsize=8, va="center")
        handles = [Rectangle((0, 0), 1, 1, fc=colour, label=part) for part, colour in colours.items()]
        axis.legend(handles=handles, loc="lower right", ncols=3, bbox_to_anchor=(1, 0.97), fontsize=8)
        axis.set(xlim=(-5, 34), ylim=(-0.15, 2.2))
        axis.set_title("Thirty pictures; those under one line show the same object", fontsize=9)
    save(figure, FIGURES / "splits.png")


@contextlib.contextmanager
def _grouped() -> Iterator[Any]:
    """Samples of three classes of 15, 10 and 5 pictures; groups of one to three."""
    from PIL import Image

    sizes = {"rose": [3, 1, 2, 1, 3, 1, 2, 1, 1], "iris": [2, 1, 3, 1, 1, 2], "lily": [1, 2, 1, 1]}
    lines, number = ["path,label,group"], 0
    with tempfile.TemporaryDirectory() as folder:
        for name, groups in sizes.items():
            for group, size in enumerate(groups):
                for _ in range(size):
                    noise = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
                    Image.fromarray(noise).save(Path(folder) / f"{number}.png")
                    lines.append(f"{number}.png,{name},{name}-{group}")
                    number += 1
        table = Path(folder) / "pictures.csv"
        table.write_text("\n".join(lines) + "\n")
        yield tk.load_data(table).samples.hashed()


def _in_order(samples: Any) -> list[str]:
    """Classes in the order of the pictures."""
    return list(dict.fromkeys(samples.label(i) for i in range(len(samples))))


def _count(parts: list[str], samples: Any, name: str, part: str) -> int:
    return sum(p == part and samples.label(i) == name for i, p in enumerate(parts))


def _draw_row(axis: Any, parts: list[str], samples: Any, top: float, colours: dict[str, str]) -> int:
    """Squares coloured by part, a line over each group; returns how many groups lie in several parts."""
    classes = _in_order(samples)
    places = [i + 1.0 * classes.index(samples.label(i)) for i in range(len(parts))]
    for place, part in zip(places, parts, strict=True):
        axis.add_patch(Rectangle((place, top), 0.86, 0.5, fc=colours[part]))
    broken = 0
    for group in dict.fromkeys(samples.group):
        members = [i for i, other in enumerate(samples.group) if other == group]
        divided = len({parts[i] for i in members}) > 1
        broken += divided
        if len(members) > 1:
            line = [places[members[0]], places[members[-1]] + 0.86]
            axis.plot(line, [top + 0.58] * 2, color="#D55E00" if divided else LIGHT["soft"], lw=2 if divided else 1.2)
    return broken


# ---------------------------------------------------------------------------------------------- calibration


def calibration() -> None:
    """Reliability on the test digits of one run: with its temperature taken out, and as it is."""
    with _run(174, augment="none", epochs=20, split=(0.2, 0.2, 0.6)) as run:
        rows = run.predictions
        probs = np.array([[float(row[f"p_{digit}"]) for digit in range(10)] for row in rows])
        targets = np.array([int(row["label"]) for row in rows])
        temperature = run.temperature
    with style(dark=False) as colours:
        figure = blank(7.2, 3.3)
        panels = {
            "before": calibrating.uncalibrated(probs, temperature),
            f"after: temperature {temperature:.2f}": probs,
        }
        for axis, (title, values) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
            bins = [row for row in calibrating.reliability(values, targets, 10) if row["count"]]
            axis.plot([0, 1], [0, 1], color=colours["soft"], lw=1, ls="--")
            axis.bar(
                [(b["lower"] + b["upper"]) / 2 for b in bins], [b["accuracy"] for b in bins], 0.088,
                color=BLUE + "55", ec=BLUE, lw=0.8,
            )  # fmt: skip
            axis.scatter([b["confidence"] for b in bins], [b["accuracy"] for b in bins], s=14, color=ORANGE, zorder=3)
            for b in bins:
                axis.annotate(str(b["count"]), ((b["lower"] + b["upper"]) / 2, 0.02), ha="center", fontsize=7)
            error = calibrating.ece(values, targets)
            axis.set(title=f"{title}; error {error:.3f}", xlabel="confidence", xlim=(0, 1), ylim=(0, 1.03))
        figure.axes[0].set(ylabel="share of right answers")
    save(figure, FIGURES / "calibration.png")


# --------------------------------------------------------------------------------------------------- curves


def fits() -> None:
    """Loss curves of three runs on digits, with the accuracy that each ends on."""
    bare = {"dropout": 0.0, "label_smoothing": 0.0, "augment": "none", "weight_decay": 0.0, "ema": False}
    few = {"split": (0.15, 0.55, 0.3), "schedule": "constant", "pooling": "flatten", "head_width": (256,)}
    plans: dict[str, tuple[str, dict[str, Any]]] = {
        "underfitting": ("rate far too low", {**bare, "learning_rate": 2e-5, "schedule": "constant"}),
        "a good fit": ("the defaults", {"label_smoothing": 0.0}),
        "overfitting": ("6 pictures a class, no regularisation", {**bare, **few, "learning_rate": 3e-4}),
    }
    with style(dark=False) as colours:
        figure = blank(9.0, 3.1)
        for axis, (title, (why, settings)) in zip(figure.subplots(1, 3, sharey=True), plans.items(), strict=True):
            with _run(40, epochs=40, patience=39, **settings) as run:
                history = run.history
            epochs = [row["epoch"] for row in history]
            axis.plot(epochs, [row["loss"] for row in history], color=ORANGE, label="training")
            axis.plot(epochs, [row["val_loss"] for row in history], color=colours["blue"], label="validation")
            axis.set_title(f"{title}\n{why}", fontsize=8)
            axis.set(xlabel="epoch", ylim=(0, 2.6))
            last = history[-1]
            text = f"accuracy at the end\ntraining {last['accuracy']:.2f}, validation {last['val_accuracy']:.2f}"
            axis.text(0.98, 0.97, text, transform=axis.transAxes, ha="right", va="top", fontsize=7.5)
        figure.axes[0].set(ylabel="loss")
        figure.axes[0].legend(fontsize=8, loc="lower left")
    save(figure, FIGURES / "fits.png")


class _Ended:
    """What the figures need of a run, read before its folder goes."""

    def __init__(self, run: tk.Run) -> None:
        from transferkit.csv_files import read_csv
        from transferkit.runs import model_file

        self.history = run.history
        self.predictions = read_csv(run.layout.predictions)
        self.temperature = float(model_file.facts(run.layout.model)["temperature"])


@contextlib.contextmanager
def _run(per_class: int, **settings: Any) -> Iterator[_Ended]:
    with tempfile.TemporaryDirectory() as folder:
        digits = write_digits(Path(folder) / "digits", per_class)
        yield _Ended(tk.finetune(digits, "mini", output=Path(folder) / "run", quiet=True, offline=True, **settings))


# ------------------------------------------------------------------------------------------------- searches


def searches() -> None:
    """Sixteen trials of each algorithm on the same made-up score of learning rate and dropout."""
    from transferkit.tuning.search_space.space import parse_search

    space = parse_search(["learning_rate=1e-4:1e-1:log", "dropout=0:0.8"])
    rates, drops = np.meshgrid(np.geomspace(1e-4, 1e-1, 160), np.linspace(0, 0.8, 120))
    with style(dark=False) as colours:
        figure = blank(9.0, 3.1)
        for axis, algorithm in zip(figure.subplots(1, 3, sharey=True), ("grid", "random", "bayesian"), strict=True):
            found = [_searched(space, algorithm, seed) for seed in range(1 if algorithm == "grid" else 10)]
            bests = [points[:, 2].max() for points in found]
            axis.contourf(rates, drops, _hill(rates, drops), levels=12, cmap="Blues", alpha=0.75)
            points = found[0]
            axis.plot(points[:, 0], points[:, 1], "o", ms=4, color=colours["ink"], clip_on=False)
            best = points[points[:, 2].argmax()]
            axis.plot(best[0], best[1], "o", ms=9, mfc="none", mec="#D55E00", mew=1.8)
            spread = "" if len(found) == 1 else f"; {len(found)} seeds: {np.mean(bests):.3f} ± {np.std(bests):.3f}"
            axis.set_title(f"{algorithm}\nbest {best[2]:.3f}{spread}", fontsize=8)
            print(f"  {algorithm}: {np.mean(bests):.4f} ± {np.std(bests):.4f}")
            axis.set(xscale="log", xlabel="learning rate")
            axis.grid(visible=False)
        figure.axes[0].set(ylabel="dropout")
    save(figure, FIGURES / "searches.png")


def _searched(space: Any, algorithm: Any, seed: int) -> Any:
    """Rate, dropout and score of 16 trials, in the order in which they were asked for."""
    from transferkit.tuning.oracles.oracle import Oracle

    oracle = Oracle(space, algorithm, 16, maximise=True, seed=seed, max_epochs=30, resolution=4)
    tried = []
    while proposals := oracle.ask(1):
        rate, dropout = (float(proposals[0].values[name]) for name in ("learning_rate", "dropout"))
        tried.append((rate, dropout, float(_hill(rate, dropout))))
        oracle.tell(proposals[0].id, tried[-1][2])
    return np.array(tried)


def _hill(rate: Any, dropout: Any) -> Any:
    """A score with its top, 0.9, at rate 0.0035 and dropout 0.35; the rate matters much more."""
    return 0.5 + 0.4 * np.exp(-((np.log10(rate / 0.0035) / 0.45) ** 2) - ((dropout - 0.35) / 0.9) ** 2)


# --------------------------------------------------------------------------------------------------- a screen


def first_screen() -> None:
    """The terminal after `transferkit demo`; see scripts/screen.py."""
    subprocess.run([sys.executable, Path(__file__).with_name("screen.py"), FIGURES / "first_screen.svg"], check=True)


# --------------------------------------------------------------------------------------------------- report


def report() -> None:
    """The first screen of the report of a run on digits, as a browser shows it; kept as it is where there is none."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("  kept as it is: needs chromium")
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_digits(Path("digits"), 60)
        page = tk.finetune("digits", "mini", output="runs/digits", quiet=True, offline=True).layout.report.absolute()
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir=profile")
        shot = Path(folder) / "report.png"
        size = ("--window-size=1060,960", f"--screenshot={shot}")
        subprocess.run([browser, *flags, *size, page.as_uri()], check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            image.convert("RGB").crop((0, 0, 1060, 815)).quantize(128).save(FIGURES / "report.png", optimize=True)


# -------------------------------------------------------------------------------------------------------- all

DRAWN: dict[str, Callable[[], None]] = {
    "cut.png": cut, "views.jpg": views, "ranges.jpg": ranges, "lpft.png": lpft, "splits.png": splits,
    "calibration.png": calibration, "fits.png": fits, "searches.png": searches,
    "first_screen.svg": first_screen,
    "report.png": report,
}  # fmt: skip


def main() -> None:
    wanted = sys.argv[1:] or list(DRAWN)
    unknown = [name for name in wanted if name not in DRAWN]
    if unknown:
        sys.exit(f"no figure {', '.join(unknown)}; there are {', '.join(DRAWN)}")
    FIGURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRANSFERKIT_CACHE"] = cache
        for name in wanted:
            print(name)
            DRAWN[name]()


if __name__ == "__main__":
    main()
