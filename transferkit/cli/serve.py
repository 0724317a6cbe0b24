"""`transferkit serve`: a page to drop pictures on, and an address for programs."""

from __future__ import annotations

from pathlib import Path

import click

from transferkit.cli._common import Once, common, echo, emit, reporter


@click.command(cls=Once, epilog="Example:  transferkit serve runs/flowers --browser")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; other than this: everybody."
)
@click.option("--port", type=click.IntRange(1, 65535), default=7860, show_default=True, help="Port to listen on.")
@click.option(
    "--max-upload", type=click.FloatRange(0, 1000, min_open=True), default=20.0, show_default=True, metavar="MB",
    help="Larger requests are refused.",
)  # fmt: skip
@click.option(
    "--allow-host", multiple=True, metavar="NAME",
    help="Answer under this name too, such as a proxy's; requests under foreign names are refused.",
)  # fmt: skip
@click.option("--examples", is_flag=True, help="Show some of the run's test pictures on the page, to try it with.")
@click.option("--browser", is_flag=True, help="Open it in the browser.")
@common()
def serve(
    run: Path, host: str, port: int, max_upload: float, allow_host: tuple[str, ...], examples: bool, browser: bool,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show a page on this machine to drop pictures on: classes, confidence, and where RUN's model looked.

    Programs send pictures to /predict (the page says how). Ends with Ctrl-C.
    """
    from transferkit.delivery.serve import serve as room
    from transferkit.runs.layout import Layout

    def ready(url: str) -> None:
        emit({"url": url}, None) if as_json else echo(f"{url}  (Ctrl-C ends it)")

    room(
        Layout(run), reporter(quiet, as_json), host=host, port=port, megabytes=max_upload, examples=examples,
        browser=browser, allowed=allow_host, ready=ready,
    )  # fmt: skip
