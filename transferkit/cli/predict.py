"""`transferkit predict`: answers for new pictures."""

from __future__ import annotations

from pathlib import Path

import click

from transferkit.cli._common import common, reporter


@click.command(epilog="Example:  transferkit predict runs/flowers new/ --format csv > answers.csv")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format", "shape", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True,
    help="table for people; csv with all probabilities; json, one object a line.",
)  # fmt: skip
@click.option(
    "--top", type=click.IntRange(1), default=3, show_default=True, help="Answers per picture (not csv)."
)
@common()
def predict(run: Path, paths: tuple[Path, ...], shape: str, top: int, quiet: bool, as_json: bool) -> int:
    """Answer with the model of RUN (or a model.keras) for files and folders PATHS.

    Pictures that cannot be read are listed with their reason; the exit code is then 1.
    """
    from transferkit import compute
    from transferkit.delivery import predict as room

    compute.start()
    predictor = room.Predictor.of(run)
    failed = 0

    def counted() -> room.Stream:
        nonlocal failed
        for prediction in predictor.stream(list(room.find(paths)), reporter(quiet, as_json)):
            failed += bool(prediction.error)
            yield prediction

    if shape == "csv" and not as_json:
        lines = room.as_csv(counted(), predictor.facts["classes"], predictor.facts["task"])
    elif shape == "json" or as_json:
        lines = room.as_json_lines(counted(), top)
    else:
        lines = room.as_table(counted(), top)
    for line in lines:
        click.echo(line)
    return 1 if failed else 0
