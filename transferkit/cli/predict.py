"""`transferkit predict`: answers for new pictures."""

from __future__ import annotations

from pathlib import Path

import click

from transferkit.cli._common import Once, common, reporter

WIDEST = 48  # columns a path may take before the answers of short ones are no longer aligned with it


@click.command(cls=Once, epilog="Example:  transferkit predict runs/flowers new/ --format csv > answers.csv")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format", "shape", type=click.Choice(["table", "csv", "json"]),
    help="table for people; csv with all scores; json, one object a line. [default: table; json with --json]",
)  # fmt: skip
@click.option("--top", type=click.IntRange(1), help="Scores per picture in table and json. [default: 3]")
@common()
def predict(run: Path, paths: tuple[Path, ...], shape: str | None, top: int | None, quiet: bool, as_json: bool) -> int:
    """Answer with the model of RUN (or a model.keras) for files and folders PATHS.

    Pictures that cannot be read are listed with their reason; the exit code is then 1.
    """
    from transferkit import compute
    from transferkit.data.samples import shown
    from transferkit.delivery import predict as room
    from transferkit.runs.model_file import facts

    if as_json and shape not in (None, "json"):
        raise click.UsageError(f"--json and --format {shape} contradict each other; drop one")
    shape = "json" if as_json else shape or "table"
    model = room.model_of(run)
    task, names = facts(model)["task"], facts(model)["classes"]
    if top is not None and (shape == "csv" or task == "regress"):
        why = "csv holds all scores" if shape == "csv" else "all targets are given"
        raise click.UsageError(f"--top {top} has no effect: {why}; drop it")
    top = None if task == "regress" else top or 3
    sources = room.find(paths)
    compute.start()
    failed = 0

    def counted() -> room.Stream:
        nonlocal failed
        for prediction in room.Predictor.of(model).stream(list(sources), reporter(quiet, as_json)):
            failed += bool(prediction.error)
            yield prediction

    if shape == "csv":
        lines = room.as_csv(counted(), names, task)
    elif shape == "json":
        lines = room.as_json_lines(counted(), top)
    else:
        width = min(WIDEST, max(len(shown(source)) for source in sources))
        lines = room.as_table(counted(), top, task, width)
    for line in lines:
        # Bytes: a file name that is not valid UTF-8 leaves as it came.
        click.echo(line.encode("utf-8", "surrogateescape"))
    return 1 if failed else 0
