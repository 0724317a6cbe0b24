"""A small page on this machine: drop a picture, see the classes, the confidence, and where the model looked."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.console import Reporter
from transferkit.data.decode import PictureError, whole
from transferkit.data.samples import shown
from transferkit.data.walk import EXTENSIONS
from transferkit.delivery import guard
from transferkit.delivery.explain import Explaining
from transferkit.delivery.guard import Uploads
from transferkit.delivery.predict import Predictor
from transferkit.errors import ConfigError
from transferkit.runs import model_file
from transferkit.runs.layout import Layout

TOP = 5
WAITING = 16  # pictures that may queue; more are told that the page is busy
Answer = tuple[dict[str, float] | None, npt.NDArray[np.uint8] | None, str]


class Answering:
    """One loaded model that answers one picture at a time. Only our decoder ever opens what was uploaded."""

    def __init__(self, model: Any, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.uploads = Uploads()
        self._predictor = Predictor(model, facts)
        self._lock = threading.Lock()
        self._explaining: Explaining | None = None
        self.cannot_explain = ""
        try:
            self._explaining = Explaining(model, facts)
        except ConfigError as error:
            self.cannot_explain = str(error)

    @classmethod
    def of(cls, layout: Layout) -> Answering:
        """From a finished run."""
        layout.complete()
        layout.check_model()
        return cls(model_file.load(layout.model), model_file.facts(layout.model))

    def __call__(self, upload: str | None) -> Answer:
        """Scores by class, the picture with heat over it (uint8 [h, w, 3]), and a sentence, of an uploaded file.

        What cannot be read is told in the sentence; nothing is raised for it. The upload is removed, unless another
        visitor who sent the same picture waits for his answer.
        """
        if upload is None:
            return None, None, ""
        path = Path(upload)
        try:
            with self._lock:
                return self._answer(path)
        finally:
            self.uploads.answered(upload)

    def _answer(self, path: Path) -> Answer:
        try:
            content = whole(path, path.name)  # once: the answer and the heat map are of the same bytes
        except PictureError as error:
            return None, None, f"This file {error.reason}."
        (found,) = self._predictor.stream([content], Reporter(quiet=True))
        if found.error:
            return None, None, f"This file {found.error}."
        if self._explaining is None:
            return self._scores(found.scores), None, f"{self._said(found)} No heat map: {self.cannot_explain}"
        heat = next(self._explaining.stream([content])).overlay
        return self._scores(found.scores), heat, self._said(found)

    def _scores(self, scores: tuple[tuple[str, float], ...]) -> dict[str, float] | None:
        """For the bars of the page, which are for probabilities."""
        return None if self.facts["task"] == "regress" else {shown(name): value for name, value in scores[:TOP]}

    def _said(self, found: Any) -> str:
        task = self.facts["task"]
        if task == "regress":
            return ", ".join(f"{shown(name)} {value:.7g}" for name, value in found.scores)
        label = shown(found.label) or "no label"
        return f"{label}, with a confidence of {found.confidence:.1%}."


def gradio() -> Any:
    """The library of the page. Raises ConfigError with the remedy where it is missing or broken."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import gradio as found
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise ConfigError(
                f"gradio is installed but misses {error.name}; repair it with: pip install -U 'transferkit[serve]'"
            ) from error
        raise ConfigError("serve needs gradio; install it with: pip install 'transferkit[serve]'") from error
    except ImportError as error:
        raise ConfigError(f"gradio cannot be imported ({error}); try: pip install -U 'transferkit[serve]'") from error
    return found


def page(answer: Callable[[str | None], Answer], title: str, note: str, probabilities: bool) -> Any:
    """The page as gradio Blocks. Uploads are handed on as files; gradio itself opens none of them."""
    gr = gradio()
    # Uploads are removed once answered; what a closed browser left goes within the hour.
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gr.Textbox(title, label="transferkit", info=note, interactive=False)
        with gr.Row():
            # A file, not gr.Image: that would decode in the browser and by Pillow before our checks.
            upload = gr.File(label="Drop a picture here", file_types=sorted(EXTENSIONS), type="filepath",
                             elem_id="upload")  # fmt: skip
            heat = gr.Image(label="Where the model looked", interactive=False, elem_id="heat", type="numpy")
        said = gr.Textbox(label="Answer", interactive=False, elem_id="answer")
        bars = gr.Label(label="Confidence", num_top_classes=TOP, elem_id="classes", visible=probabilities)
        upload.upload(answer, upload, [bars, heat, said], concurrency_limit=1, api_name="predict")
        upload.clear(lambda: (None, None, ""), None, [bars, heat, said], api_visibility="private")
    blocks.queue(max_size=WAITING)
    return blocks


def serve(
    layout: Layout, reporter: Reporter, *, host: str = "127.0.0.1", port: int = 7860, megabytes: float = 20.0,
    browser: bool = False, allowed: Sequence[str] = (), ready: Callable[[str], None] | None = None,
) -> None:  # fmt: skip
    """Serve the page until interrupted. `ready(url)` is called when it answers.

    Requests under other names than those of `host`, and from pages of other sites, are refused (see `guard`);
    `allowed` are more names, such as a proxy's.

    Raises ConfigError where gradio is missing, or the port is taken.
    """
    layout.complete()
    facts = model_file.facts(layout.model)
    gr = gradio()
    if not guard.is_loopback(host):
        reporter.warn(f"--host {host}: everybody who reaches this machine can use the page; there is no password")
    with tempfile.TemporaryDirectory(prefix="transferkit-serve-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads  # read when the page is made
        from transferkit import compute

        compute.start()
        answering = Answering.of(layout)
        note = f"{facts['backbone']}, {len(facts['classes'])} outputs. Pictures up to {megabytes:g} MB; none are kept."
        blocks = page(answering, layout.folder.absolute().name, note, facts["task"] != "regress")
        # System fonts: the page asks no other server for anything.
        theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])
        from starlette.middleware import Middleware

        watch = Middleware(guard.Guard, host=host, allowed=tuple(allowed), uploads=answering.uploads)
        try:
            _, url, _ = blocks.launch(
                server_name=host, server_port=port, share=False, quiet=True, inbrowser=browser, theme=theme,
                prevent_thread_lock=True, max_file_size=int(megabytes * 1_000_000), footer_links=[], show_error=False,
                ssr_mode=False, enable_monitoring=False, app_kwargs={"middleware": [watch]},
            )  # fmt: skip
        except OSError as error:
            raise ConfigError(f"--port {port} on {host} cannot be used ({error}); choose another --port") from error
        try:
            if ready is not None:
                ready(url)
            _wait()
        finally:
            blocks.close(verbose=False)


def _wait() -> None:
    """Until Ctrl-C or the end of the process is asked for."""
    done = threading.Event()
    before = {number: signal.signal(number, lambda *_: done.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while not done.wait(1.0):
            pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
