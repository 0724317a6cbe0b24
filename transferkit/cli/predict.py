"""`transferkit predict`: answers for new pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transferkit import tasks
from transferkit.cli._common import Once, common, echo, reporter
from transferkit.cli._help import cluster_options

if TYPE_CHECKING:
    from transferkit.console import Reporter
    from transferkit.delivery.predict import Prediction
    from transferkit.runs.model_facts import ModelFacts

WIDEST = 48  # columns a path may take before the answers of short ones are no longer aligned with it
SUFFIXES = {
    ".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".txt": "table", ".parquet": "parquet",
}  # fmt: skip
SHAPES = ("table", "csv", "json", "parquet", "submission", "labelstudio", "coco")
TOPLESS = {
    "csv": "csv holds all scores", "parquet": "parquet holds all scores", "submission": "the sample says what is asked",
    "labelstudio": "it holds the answer", "coco": "it holds the answer",
}  # fmt: skip


@click.command(
    cls=Once,
    epilog="Example:  transferkit predict runs/a,runs/b new/ --output answers.csv",
)
@click.argument("run")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="A file that is not there yet, written whole. [default: the screen]",
)
@click.option(
    "--format", "shape", type=click.Choice(SHAPES),
    help="table for people; csv and parquet with all scores; json, one object a line; submission for a competition; "
    "labelstudio and coco for those tools. [default: by the suffix of --output, else table; json with --json]",
)  # fmt: skip
@click.option(
    "--sample", type=click.Path(path_type=Path),
    help="The competition's sample file: header, ids and their order are taken from it (with --format submission).",
)  # fmt: skip
@click.option("--top", type=click.IntRange(1), help="Scores per picture in table and json. [default: 3]")
@click.option("--tta", is_flag=True, help="Average over mirrored pictures and crops, if that helps on validation.")
@click.option(
    "--abstain", metavar="T|run[:ACCURACY]",
    help="Give no answer below this confidence; `run` takes what the run found for 0.95 accuracy on validation.",
)  # fmt: skip
@click.option("--copy-to", type=click.Path(path_type=Path), help="Sort copies of the pictures into class folders here.")
@click.option(
    "--precision", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True,
    help="float32 gives the numbers of evaluation; bfloat16 is faster on some processors, float16 on GPUs.",
)  # fmt: skip
@cluster_options
@common()
def predict(
    run: str, paths: tuple[Path, ...], output: Path | None, shape: str | None, sample: Path | None, top: int | None,
    tta: bool, abstain: str | None, copy_to: Path | None, precision: str, engine: str, address: str | None,
    workers: int | None, worker_cpus: float | None, worker_gpus: float | None, quiet: bool, as_json: bool,
) -> int:  # fmt: skip
    """Answer with the model of RUN (or a model.keras) for pictures PATHS.

    PATHS are files, folders, patterns such as 'new/**/*.jpg', lists (tables with a column `path`), or - for paths on
    standard input, one a line. Pictures that cannot be read are listed with their reason; the exit code is then 1.
    Several runs, RUN,RUN,…, answer together with the mean of their probabilities.
    """
    from transferkit.delivery import answer_files, answer_lines, members, sorting
    from transferkit.delivery import predict as room
    from transferkit.delivery.ray_predict import predictor_of
    from transferkit.features.extraction_engines import engine_of

    shape = _shape(shape, output, as_json)
    runs = members.named(run)
    facts = members.common(runs)
    task, names = facts.task, facts.classes
    _refuse(shape, task, top, sample, abstain, tta, len(runs))
    where = engine_of(engine, address, workers, worker_cpus, worker_gpus)
    if shape in ("labelstudio", "coco"):
        answer_files.refuse_numbers(shape, task)
    top = None if tasks.of(task).numbers else top or 3
    threshold = None if abstain is None else room.abstain_at(abstain, runs[0], task)
    sorter = None if copy_to is None else sorting.Sorter(copy_to, task, names)
    if copy_to is not None:
        sorting.check_folder(copy_to, paths)
    speaker = reporter(quiet, as_json)
    sources, total, width = _sources(paths, runs, speaker)
    submission = None
    if shape == "submission":
        submission = _submission(list(sources), facts, sample, speaker)
        sources, total = submission.pictures, len(submission.pictures)
    tally = {"answered": 0, "failed": 0, "abstained": 0}
    predictor = predictor_of(
        where, list(runs), threshold=threshold, precision=precision, tta=tta, reporter=speaker
    )  # fmt: skip
    # Answers and a bar would mix on the screen.
    shared = output is None and sys.stdout.isatty() and shape in ("table", "csv", "json")
    with closing(predictor.stream(sources, reporter(quiet=True) if shared else speaker, total)) as answers:
        stream = _counted(_after_first(answers, speaker) if shared else answers, tally)
        stream = stream if sorter is None else sorter.sort(stream)
        if shape in ("labelstudio", "coco"):
            stream = _named_lost(stream, speaker)
        if shape == "parquet" and output is not None:
            answer_files.write_parquet(stream, names, task, output, abstains=threshold is not None)
        else:
            folder = Path() if output is None else output.parent
            lines: Callable[[], Iterable[str]] = {
                "csv": lambda: answer_lines.as_csv(stream, names, task, abstains=threshold is not None),
                "json": lambda: answer_lines.as_json_lines(stream, top),
                "table": lambda: answer_lines.as_table(stream, top, task, width),
                "submission": lambda: submission.lines(list(stream)) if submission else (),
                "labelstudio": lambda: answer_files.label_studio(stream, names, task, folder, run),
                "coco": lambda: answer_files.coco(stream, names, task, folder),
            }[shape]
            _write(lines(), output, raw=shape in ("csv", "submission", "labelstudio", "coco"))
    _close(speaker, tally, sorter, output)
    return 1 if tally["failed"] else 0


def _shape(shape: str | None, output: Path | None, as_json: bool) -> str:
    """The format, and whether --output can take it. Raises UsageError."""
    if as_json and shape not in (None, "json"):
        raise click.UsageError(f"--json and --format {shape} contradict each other; drop one")
    if as_json:
        shape = "json"
    if output is None:
        if shape == "parquet":
            raise click.UsageError("--format parquet is for a file, not for the screen; add --output answers.parquet")
        return shape or "table"
    if output.exists() or output.is_symlink():
        kind = "is a folder; name a file in it" if output.is_dir() else "exists; choose another name, or remove it"
        raise click.UsageError(f"--output {output} {kind}")
    found = shape or SUFFIXES.get(output.suffix.lower())
    if found is None:
        raise click.UsageError(
            f"--output {output} does not say the format; end it with {', '.join(SUFFIXES)}, or give --format"
        )
    return found


def _refuse(
    shape: str, task: str, top: int | None, sample: Path | None, abstain: str | None, tta: bool, runs: int
) -> None:  # fmt: skip
    """Options that could not take effect."""
    if top is not None and (shape in TOPLESS or tasks.of(task).numbers):
        raise click.UsageError(f"--top {top} has no effect: {TOPLESS.get(shape, 'all targets are given')}; drop it")
    if sample is not None and shape != "submission":
        raise click.UsageError(f"--sample has no effect on --format {shape}; add --format submission, or drop it")
    if abstain is not None and shape == "submission":
        raise click.UsageError("--abstain leaves ids without an answer, which a submission must have; drop it")
    if abstain is not None and abstain.partition(":")[0] == "run" and (runs > 1 or tta):
        why = "one run by itself" if runs > 1 else "plain prediction, without --tta"
        raise click.UsageError(f"--abstain {abstain} was found for {why}; give a number, e.g. --abstain 0.8")


def _submission(pictures: list[Path], facts: ModelFacts, sample: Path | None, speaker: Reporter) -> Any:
    from transferkit.data.samples import listed
    from transferkit.delivery.submission import plan
    from transferkit.quantities import plural

    submission = plan(pictures, facts, sample)
    if submission.left_out:
        what = plural(len(submission.left_out), "picture")
        speaker.warn(f"{what} not in the sample and left out: {listed(submission.left_out, 3)}")
    return submission


def _write(lines: Iterable[str], output: Path | None, raw: bool) -> None:
    """To the screen as they come; to a file whole, or not at all."""
    from transferkit.files import output_path

    if output is None:
        for line in lines:
            _put(line, raw=raw and not sys.stdout.isatty())
        return
    with output_path(output) as temporary, open(temporary, "wb") as handle:
        for line in lines:
            handle.write(line.encode("utf-8", "surrogateescape") + b"\n")


def _put(line: str, raw: bool) -> None:
    """A line of the answer. `raw`, for programs: as bytes, so that a name that is no valid UTF-8 leaves as it came."""
    if raw:
        click.echo(line.encode("utf-8", "surrogateescape"))
    else:
        echo(line)


def _sources(paths: tuple[Path, ...], runs: list[Path], speaker: Reporter) -> tuple[Any, int, int]:
    """Pictures, how many (0: not known), and the width of the table's first column."""
    from transferkit.data.samples import shown
    from transferkit.delivery.inputs import STANDARD_INPUT, find, from_input
    from transferkit.delivery.members import film_step

    step = film_step(runs)
    if STANDARD_INPUT in map(str, paths):
        if len(paths) > 1:
            raise click.UsageError("- (standard input) stands alone; give it, or paths")
        return from_input(step=step), 0, 0
    found = find(paths, speaker.warn, runs, step)
    return found, len(found), min(WIDEST, max(len(shown(path)) for path in found))


def _after_first(predictions: Iterator[Prediction], speaker: Reporter) -> Iterator[Prediction]:
    """The same, with a clock until the first is there: from then on the answers show how far it is."""
    with speaker.step("predicting"):
        first = next(predictions, None)
    if first is not None:
        yield first
    yield from predictions


def _counted(predictions: Iterator[Prediction], tally: dict[str, int]) -> Iterator[Prediction]:
    for prediction in predictions:
        kind = "failed" if prediction.error else "abstained" if prediction.abstained else "answered"
        tally[kind] += 1
        yield prediction


def _named_lost(predictions: Iterator[Prediction], speaker: Reporter) -> Iterator[Prediction]:
    """The same; what cannot be read, and so is left out of the file, is said."""
    from transferkit.data.samples import shown

    for prediction in predictions:
        if prediction.error:
            speaker.warn(f"{shown(prediction.path)} cannot be read and is left out: {prediction.error}")
        yield prediction


def _close(speaker: Reporter, tally: dict[str, int], sorter: Any, output: Path | None) -> None:
    """One line on standard error about the whole, where there is more to say than the answers do."""
    from transferkit.quantities import plural

    said = []
    if tally["failed"]:
        said.append(f"{plural(tally['failed'], 'picture')} could not be read")
    if tally["abstained"]:
        said.append(f"{tally['abstained']:,} below the threshold")
    if sorter is not None:
        again = f", {sorter.present:,} were there already" if sorter.present else ""
        said.append(f"{sorter.copied:,} copied to {sorter.folder}{again}")
    if output is not None:
        said.append(f"written to {output}")
    if said:
        speaker.say(f"{plural(tally['answered'], 'picture')} answered; {'; '.join(said)}")
