"""`transferkit predict`: answers for new pictures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transferkit.cli._common import Once, common, echo, reporter

if TYPE_CHECKING:
    from transferkit.delivery.predict import Prediction

WIDEST = 48  # columns a path may take before the answers of short ones are no longer aligned with it


@click.command(cls=Once, epilog="Example:  transferkit predict runs/flowers new/ --format csv > answers.csv")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--format", "shape", type=click.Choice(["table", "csv", "json"]),
    help="table for people; csv with all scores; json, one object a line. [default: table; json with --json]",
)  # fmt: skip
@click.option("--top", type=click.IntRange(1), help="Scores per picture in table and json. [default: 3]")
@click.option(
    "--abstain", metavar="T|run[:ACCURACY]",
    help="Give no answer below this confidence; `run` takes what the run found for 0.95 accuracy on validation.",
)  # fmt: skip
@click.option("--copy-to", type=click.Path(path_type=Path), help="Sort copies of the pictures into class folders here.")
@click.option(
    "--precision", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True,
    help="float32 gives the numbers of evaluation; bfloat16 is faster on some processors, float16 on GPUs.",
)  # fmt: skip
@common()
def predict(
    run: Path, paths: tuple[Path, ...], shape: str | None, top: int | None, abstain: str | None, copy_to: Path | None,
    precision: str, quiet: bool, as_json: bool,
) -> int:  # fmt: skip
    """Answer with the model of RUN (or a model.keras) for pictures PATHS.

    PATHS are files, folders, patterns such as 'new/**/*.jpg', lists (.csv with a column `path`), or - for paths on
    standard input, one a line. Pictures that cannot be read are listed with their reason; the exit code is then 1.
    """
    from transferkit import compute
    from transferkit.delivery import predict as room
    from transferkit.delivery import sorting
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
    threshold = None if abstain is None else room.abstain_at(abstain, run, task)
    sorter = None if copy_to is None else sorting.Sorter(copy_to, task, names)
    if copy_to is not None:
        sorting.check_folder(copy_to, paths)
    sources, total, width = _sources(paths)
    compute.start()
    speaker = reporter(quiet, as_json)
    tally = {"answered": 0, "failed": 0, "abstained": 0}
    stream: Iterator[Prediction] = room.Predictor.of(model, threshold, precision).stream(sources, speaker, total)
    stream = _counted(stream if sorter is None else sorter.sort(stream), tally)
    lines = {
        "csv": lambda: room.as_csv(stream, names, task, abstains=threshold is not None),
        "json": lambda: room.as_json_lines(stream, top),
        "table": lambda: room.as_table(stream, top, task, width),
    }[shape]()
    for line in lines:
        _put(line, raw=shape == "csv" and not sys.stdout.isatty())
    _close(speaker, tally, sorter)
    return 1 if tally["failed"] else 0


def _put(line: str, raw: bool) -> None:
    """A line of the answer. `raw`, for programs: as bytes, so that a name that is no valid UTF-8 leaves as it came."""
    if raw:
        click.echo(line.encode("utf-8", "surrogateescape"))
    else:
        echo(line)


def _sources(paths: tuple[Path, ...]) -> tuple[Any, int, int]:
    """Pictures, how many (0: not known), and the width of the table's first column."""
    from transferkit.data.samples import shown
    from transferkit.delivery.sources import STANDARD_INPUT, find, from_input

    if STANDARD_INPUT in map(str, paths):
        if len(paths) > 1:
            raise click.UsageError("- (standard input) stands alone; give it, or paths")
        return from_input(), 0, 0
    found = find(paths)
    return found, len(found), min(WIDEST, max(len(shown(path)) for path in found))


def _counted(predictions: Iterator[Prediction], tally: dict[str, int]) -> Iterator[Prediction]:
    for prediction in predictions:
        kind = "failed" if prediction.error else "abstained" if prediction.abstained else "answered"
        tally[kind] += 1
        yield prediction


def _close(speaker: Any, tally: dict[str, int], sorter: Any) -> None:
    """One line on standard error about the whole, where there is more to say than the answers do."""
    from transferkit.console import plural

    said = []
    if tally["failed"]:
        said.append(f"{plural(tally['failed'], 'picture')} could not be read")
    if tally["abstained"]:
        said.append(f"{tally['abstained']:,} below the threshold")
    if sorter is not None:
        again = f", {sorter.present:,} were there already" if sorter.present else ""
        said.append(f"{sorter.copied:,} copied to {sorter.folder}{again}")
    if said:
        speaker.say(f"{plural(tally['answered'], 'picture')} answered; {'; '.join(said)}")
