"""A page on this machine, and an address for programs: send pictures, get classes, confidence, where the model looked.

Pictures stay in memory, and only our decoder opens them. One is computed at a time. How many are still to come nobody
knows: another engine than Keras is tried, as `predict` tries it, when as many as have come would be worth it.
"""

from __future__ import annotations

import base64
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from transferkit import tasks
from transferkit.console import Reporter
from transferkit.data.images.decode import PictureError
from transferkit.data.images.thumbnail import thumbnail
from transferkit.data.readers.walk import EXTENSIONS
from transferkit.data.samples import Pixels, shown
from transferkit.delivery import guard
from transferkit.delivery.explain import Explaining
from transferkit.delivery.members import Member
from transferkit.delivery.pages import multipart
from transferkit.delivery.pages.messages import PageRequest, RequestError, Response, as_json, jpeg, page, text
from transferkit.delivery.pages.server import Server
from transferkit.delivery.predict import PROBED, Prediction, Predictor, abstain_at
from transferkit.delivery.tta_views import PLAIN, looked
from transferkit.errors import ConfigError
from transferkit.files import sha256_file
from transferkit.runs import model_file, pictures
from transferkit.runs.layout import Layout
from transferkit.runs.model_facts import ModelFacts

TOP = 5
EXAMPLES = 6
SIDE = 512  # pixels of a picture on the page
_ENVELOPE = 64_000  # bytes of a body around its files


class Answering:
    """One loaded model that answers one request at a time. `threshold`: below this confidence it is not sure enough.

    `file` is the SHA-256 of the model's file (see `Member`); `reporter` is told which engine answers.
    """

    def __init__(
        self, model: Any, facts: ModelFacts, threshold: float | None = None, file: str = "",
        reporter: Reporter | None = None,
    ) -> None:  # fmt: skip
        self.facts, self.threshold, self.reporter = facts, threshold, reporter or Reporter(quiet=True)
        self._member = Member(model, facts, file=file)
        self._predictor = Predictor([self._member], facts, threshold, settles=False)
        self._lock = threading.Lock()
        self._answered = 0
        self._some: list[Pixels] = []  # of the first pictures, on which engines are tried
        self._explaining: Explaining | None = None
        self.cannot_explain = ""
        try:
            self._explaining = Explaining(model, facts)
        except ConfigError as error:
            self.cannot_explain = str(error)

    @classmethod
    def of(cls, layout: Layout, reporter: Reporter | None = None) -> Answering:
        """From a finished run, with its threshold for abstaining where it has one."""
        layout.complete()
        facts = model_file.facts(layout.model)
        layout.check_model()
        try:
            threshold = abstain_at("run", layout.folder, facts.task)
        except ConfigError:  # numbers, several labels, or nothing promised by validation
            threshold = None
        return cls(model_file.load(layout.model), facts, threshold, sha256_file(layout.model), reporter)

    def predict(self, files: Sequence[tuple[str, bytes]], top: int, heat: bool, drawn: bool) -> list[dict[str, object]]:
        """Answers as `predict --format json` gives them, in order; what cannot be read carries its `error`.

        `heat` adds where the model looked, `drawn` the picture as it was read: both as addresses that hold a JPEG or
        PNG.
        """
        with self._lock:
            found = list(self._predictor.stream([content for _, content in files], Reporter(quiet=True)))
            answers = []
            for (name, content), prediction in zip(files, found, strict=True):
                answer = {**self._plain(prediction, top), "file": shown(name)}
                if not prediction.error and heat:
                    answer |= self._heat(content)
                if not prediction.error and drawn:
                    answer["picture"] = _address("jpeg", thumbnail(content, SIDE, self.facts.decode.intensity))
                answers.append(answer)
            before, self._answered = self._answered, self._answered + sum(not one.error for one in found)
            self._keep([content for (_, content), one in zip(files, found, strict=True) if not one.error])
        # As many as came are to come, as far as one can tell, so it is asked again when they are twice as many. Not
        # this answer waits for a trial, but those that are asked for meanwhile.
        if before.bit_length() < self._answered.bit_length() and len(self._some) == PROBED:
            # No daemon: a trial that the process's end cuts short would count against the engine.
            threading.Thread(target=self.settle, name="transferkit-engine", daemon=False).start()
        return answers

    def settle(self) -> None:
        """Let another engine answer from now on, if it is done sooner with as many pictures as have been answered."""
        with self._lock:
            if self._member.settled:
                return
            try:
                with self._member.applied():
                    if self._member.settle(self._answered, np.stack(self._some), self.reporter, singly=True):
                        self._some.clear()
            except Exception as error:  # a full memory, say: Keras goes on answering
                self.reporter.warn(f"engine: {type(error).__name__}: {error}; going on with TensorFlow")

    def _keep(self, contents: Sequence[bytes]) -> None:
        """Pixels of readable pictures, as the network is given them, until there are enough for a trial."""
        lacking = 0 if self._member.settled else PROBED - len(self._some)
        self._some += [looked(content, self._member.settings, (PLAIN,))[0] for content in contents[:lacking]]

    def _plain(self, prediction: Prediction, top: int) -> dict[str, object]:
        answer = prediction.as_dict(top)
        del answer["path"]
        if prediction.abstained:
            answer["best_guess"] = prediction.scores[0][0]
        return answer

    def _heat(self, content: bytes) -> dict[str, object]:
        if self._explaining is None:
            return {"no_heat": self.cannot_explain}
        return {"heat": _address("png", next(self._explaining.stream([content]))._repr_png_())}


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


class Serving:
    """The page's app; see `messages.App`. `examples` are (label, content) of pictures that may be shown."""

    def __init__(
        self, answering: Answering, title: str, megabytes: float, examples: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        self.answering, self.title, self.examples = answering, title, list(examples)
        self.bytes = int(megabytes * 1_000_000)

    def largest(self, path: str) -> int:
        """Pictures go to /predict only."""
        return self.bytes + _ENVELOPE if path == "/predict" else 0

    def answer(self, request: PageRequest) -> Response:
        """The page, what it shows of the model, an example, or answers for pictures."""
        if request.method == "POST":
            return self._predict(request)
        if request.path == "/":
            return page("serve.html")
        if request.path == "/about":
            return as_json(self._about())
        number = request.number("example")
        if number is not None and number < len(self.examples):
            return jpeg(self.examples[number][1])
        return text(404, "404: there is no such page")

    def _about(self) -> dict[str, object]:
        facts = self.answering.facts
        return {
            "title": shown(self.title), "task": facts.task, "classes": facts.classes,
            "form": tasks.of(facts.task).form,
            "network": facts.backbone, "threshold": self.answering.threshold, "bytes": self.bytes,
            "files": multipart.MOST, "kinds": sorted(EXTENSIONS), "heat": not self.answering.cannot_explain,
            "no_heat": self.answering.cannot_explain, "examples": [shown(label) for label, _ in self.examples],
        }  # fmt: skip

    def _predict(self, request: PageRequest) -> Response:
        top = request.query.get("top", str(TOP))
        if not (top.isascii() and top.isdecimal() and int(top[:6]) > 0):
            raise RequestError("top is a number of classes, such as top=5")
        files = multipart.files(request.kind, request.body)
        if not files:
            raise RequestError("no file in it: curl -F file=@rose.jpg")
        wanted = {name: request.query.get(name, "0") not in ("0", "", "false") for name in ("heat", "picture")}
        found = self.answering.predict(files, int(top[:6]), wanted["heat"], wanted["picture"])
        return as_json({"threshold": self.answering.threshold, "predictions": found})


def examples_of(layout: Layout) -> list[tuple[str, bytes]]:
    """Test pictures of a run, of as many classes as can be, where their files still are as they were.

    Everyone who opens the page sees them: only where that was asked for.

    Args:
        layout: of the run.

    Returns:
        Label and JPEG of each.

    Raises:
        ConfigError: there is none.
    """
    place: dict[str, int] = {}  # in its class, so that the first of every class come first
    classes: Counter[str] = Counter()
    chosen = [picture for picture in layout.read_splits() if picture.split == "test"]
    for picture in chosen:
        place[picture.path] = classes[picture.label]
        classes[picture.label] += 1
    found: list[tuple[str, bytes]] = []
    intensity = model_file.facts(layout.model).decode.intensity  # what the page draws of them is what it sends back
    for picture in sorted(chosen, key=lambda picture: place[picture.path]):
        for file in pictures.proved(layout, [picture.path]).values():
            with suppress(PictureError):
                found.append((picture.label, thumbnail(file, SIDE, intensity)))
        if len(found) == EXAMPLES:
            break
    if not found:
        raise ConfigError("--examples: none of the run's test pictures is where it was; drop it")
    return found


def serve(
    layout: Layout, reporter: Reporter, *, host: str = "127.0.0.1", port: int = 7860, megabytes: float = 20.0,
    examples: bool = False, browser: bool = False, allowed: Sequence[str] = (),
    ready: Callable[[str], None] | None = None,
) -> None:  # fmt: skip
    """Serve the page until Ctrl-C.

    Requests under other names than those of `host`, and from pages of other sites, are refused (see `guard`).

    Args:
        layout: of the run.
        reporter: is told where the page fails.
        host: the address that is listened on.
        port: likewise; 0: a free one.
        megabytes: that may be sent at once.
        examples: whether test pictures are shown.
        browser: whether one is opened.
        allowed: more names of the host, such as a proxy's.
        ready: is told the address when it answers.

    Raises:
        ConfigError: the port is taken.
    """
    from transferkit import compute

    layout.complete()
    if not guard.is_loopback(host):
        reporter.warn(f"--host {host}: everybody who reaches this machine can use the page; there is no password")
    shown_ones = examples_of(layout) if examples else []
    compute.start(reporter=reporter)
    app = Serving(Answering.of(layout, reporter), layout.folder.absolute().name, megabytes, shown_ones)

    def failed(error: Exception) -> None:
        reporter.warn(f"an answer failed: {type(error).__name__}: {error}")

    Server(app, host, port, allowed=allowed, failed=failed).run(ready, browser)
