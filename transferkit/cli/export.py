"""`transferkit export`: the model for another runtime, proved there."""

from __future__ import annotations

from pathlib import Path

import click

from transferkit.cli._common import Once, common, echo, emit, reporter


@click.command(cls=Once, epilog="Example:  transferkit export runs/flowers --format litert --quantize float16")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format", "kind", metavar="keras|saved_model|litert|onnx|PLUGIN", required=True,
    help="litert is TensorFlow Lite; onnx needs: pip install 'transferkit[onnx]'.",
)  # fmt: skip
@click.option("--quantize", metavar="float32|float16|int8", help="Precision of litert. [default: float32]")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder to make. [default: RUN/exports/FORMAT[-PRECISION]]"
)
@click.option("--data", type=click.Path(path_type=Path), help="Where the run's data is now, if it moved.")
@click.option("--replace", is_flag=True, help="Replace an export that is there already.")
@click.option("--allow-mismatch", is_flag=True, help="Keep a file that does not answer as the run's model does.")
@common()
def export(
    run: Path, kind: str, quantize: str | None, output: Path | None, data: Path | None, replace: bool,
    allow_mismatch: bool, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write RUN's model for another runtime, with labels, facts and an example of use beside it.

    The file is loaded by its own runtime in a fresh process and has to answer the run's validation pictures as the
    run's model does; one that does not is an error and is not kept.
    """
    from transferkit.delivery.exporting.export import export as room
    from transferkit.runs.layout import Layout

    made = room(
        Layout(run), kind, reporter(quiet, as_json), quantize=quantize, output=output, data=data, replace=replace,
        allow_mismatch=allow_mismatch,
    )  # fmt: skip
    if as_json:
        emit({"folder": str(made.folder), "file": str(made.path), **made.figures})
    else:
        echo(str(made))
