"""`transferkit export`: the model for another runtime, proved there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from transferkit.cli._common import Once, common, echo, emit, reporter, tell


@click.command(cls=Once, epilog="Example:  transferkit export runs/flowers --format litert --quantize float16")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format", "kind", metavar="keras|saved_model|litert|onnx|all|PLUGIN", required=True,
    help="litert is TensorFlow Lite; onnx needs: pip install 'transferkit[onnx]'; all makes every one, and a table.",
)  # fmt: skip
@click.option(
    "--quantize", metavar="float32|float16|int8",
    help="Precision: float16 of keras and litert, int8 of litert. [default: float32]",
)  # fmt: skip
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder to make; of all formats, the folder above. [default: RUN/exports/FORMAT[-PRECISION]]",
)
@click.option("--data", type=click.Path(path_type=Path), help="Where the run's data is now, if it moved.")
@click.option("--replace", is_flag=True, help="Replace an export that is there already.")
@click.option("--allow-mismatch", is_flag=True, help="Keep a file that does not answer as the run's model does.")
@common()
def export(
    run: Path, kind: str, quantize: str | None, output: Path | None, data: Path | None, replace: bool,
    allow_mismatch: bool, quiet: bool, as_json: bool,
) -> int:  # fmt: skip
    """Write RUN's model for another runtime, with labels, facts and an example of use beside it.

    The file is loaded by its own runtime in a fresh process and has to answer the run's validation pictures as the
    run's model does; one that does not is an error and is not kept. With --format all such a one, or one whose package
    is not installed, is a row of the table; the exit code is 1 where one failed.
    """
    from transferkit.delivery.exporting.every import export_all
    from transferkit.delivery.exporting.export import export as room
    from transferkit.runs.layout import Layout

    speaker = reporter(quiet, as_json)
    options: dict[str, Any] = {
        "quantize": quantize,
        "output": output,
        "data": data,
        "replace": replace,
        "allow_mismatch": allow_mismatch,
    }
    if kind == "all":
        found = export_all(Layout(run), speaker, **options)
        if as_json:
            emit([row.as_dict() for row in found.rows])
        else:
            echo(found)
        return 0 if found.passed else 1
    made = room(Layout(run), kind, speaker, **options)
    if as_json:
        emit({"folder": str(made.folder), "file": str(made.path), **made.figures})
    else:
        tell(made)
    return 0
