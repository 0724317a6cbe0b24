"""`transferkit data check | clean | split | summary | convert | preview`: the pictures, before anything is trained."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

import click

from transferkit import tasks
from transferkit.cli._common import CommandGroup, common, echo, emit, reporter, tell
from transferkit.cli._reading import with_reading
from transferkit.errors import ConfigError
from transferkit.text import shown

if TYPE_CHECKING:
    from transferkit.console import Advance, Reporter
    from transferkit.data.audit.audit import Audit
    from transferkit.data.samples import Samples
    from transferkit.data.source import ScanOptions

F = TypeVar("F", bound=Callable[..., Any])
SHEETS = (".png", ".jpg", ".jpeg")
OUTPUT = click.Path(dir_okay=False, path_type=Path)
PAGE, PICTURE = b"<!doctype html>", (b"\x89PNG", b"\xff\xd8\xff")  # what is only looked at begins so


@click.group(cls=CommandGroup, epilog="Example:  transferkit data check flowers/ --html check.html")
def data() -> None:
    """Check, clean, split, count and look at pictures. Nothing in DATA is ever changed."""


def reading(metavar: str = "DATA") -> Callable[[F], F]:
    """DATA (optional, where `metavar` is in brackets) and the options it is read with, which arrive as `how`."""
    options = (
        click.option("--exclude-file", type=OUTPUT, help="File of what to leave out or relabel."),
        click.option("--exclude", multiple=True, help="Class, path or pattern to leave out; may be repeated."),
        click.option("--task", type=click.Choice(tasks.NAMES), help="Needed for numbers and ordered classes."),
        click.argument("source", metavar=metavar, required=not metavar.startswith("[")),
    )

    def add(command: F) -> F:
        found: Any = with_reading(command)
        for option in options:
            found = option(found)
        return cast(F, found)

    return add


@data.command(
    epilog="Example:  transferkit data check flowers/ --write-exclusions out.txt\n\n"
    "With a run:  transferkit data check --run runs/flowers --html doubtful.html"
)
@reading("[DATA]")
@click.option("--run", type=click.Path(path_type=Path), help="Also list the labels this run's network doubts.")
@click.option("--suspects", type=click.IntRange(1), help="How many of those to list. [default: 60]")
@click.option("--headers-only", is_flag=True, help="Faster: decode nothing, miss cut files and look-alikes.")
@click.option("--html", type=OUTPUT, help="Write a page with thumbnails here.")
@click.option("--write-exclusions", type=OUTPUT, help="Write the paths to leave out here, for --exclude-file.")
@common()
def check(
    source: str | None, as_json: bool, quiet: bool, headers_only: bool, html: Path | None,
    write_exclusions: Path | None, run: Path | None, suspects: int | None, **how: Unpack[ScanOptions],
) -> None:  # fmt: skip
    """Find damaged files, copies, leakage between splits, look-alikes, odd names; exits with 2 on errors.

    With --run, DATA is that run's data, and its labels are listed by the chance that they are right.
    """
    from transferkit.data.audit.audit_page import audit_page
    from transferkit.files import write_text

    _keep(html, PAGE)
    _keep(write_exclusions)
    report = reporter(quiet, as_json)
    if run is None:
        audit = _audit(_required(source, suspects), headers_only, report, how)
    else:
        audit = _audit_of(run, source, headers_only, report, how, suspects)
    if html is not None:
        write_text(html, audit_page(audit))
    if write_exclusions is not None:
        write_text(write_exclusions, audit.exclusions())
    more = f"\nTo go through them: transferkit data clean {shlex.quote(str(run))}" if audit.label_issues else ""
    _print(audit.to_json() if as_json else audit.summary() + more)
    if audit.errors:
        raise click.exceptions.Exit(2)


@data.command(
    epilog="Example:  transferkit data clean runs/flowers\n\n"
    "Example:  transferkit finetune flowers/ --exclude-file flowers-clean.csv"
)
@reading("RUN|DATA")
@click.option("--output", type=OUTPUT, help="File of decisions. [default: DATA-clean.csv in this folder]")
@click.option("--suspects", type=click.IntRange(1), help="How many doubtful labels to show. [default: 60]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the page. [default: a free one]")
@click.option("--browser", is_flag=True, help="Open the page in the browser.")
@common()
def clean(
    source: str, as_json: bool, quiet: bool, output: Path | None, suspects: int | None, port: int, browser: bool,
    **how: Unpack[ScanOptions],
) -> None:  # fmt: skip
    """Keep, relabel or leave out doubtful pictures, on a page.

    It shows exact copies, look-alikes and files that cannot be read, and of a RUN doubtful labels first. Decisions go
    into one file for --exclude-file, at once; a started one is gone on with. No picture is changed. The page is for
    this machine only and ends with Ctrl-C. With --json the list is printed, and no page is shown.
    """
    from transferkit.delivery import clean as room

    report = reporter(quiet, as_json)
    with _progress(report) as progress:
        prepared = room.prepare(source, output, suspects, how, report, progress)
    if as_json:
        emit(prepared.as_dict())
        return
    echo(prepared.said())
    room.serve(prepared, report, port, browser, lambda url: echo(f"{url}  (Ctrl-C ends it)"))
    echo(prepared.ended())


@data.command(epilog="Example:  transferkit data split flowers/ --split .8,.1,.1 --folds 5")
@reading()
@click.option("--output", type=OUTPUT, default=Path("splits.csv"), show_default=True, help="Where to write it.")
@click.option("--split", "ratios", default=".7,.15,.15", show_default=True, help="Shares or numbers of pictures.")
@click.option("--folds", default=0, show_default=True, help="Cross-validation folds over train and val.")
@click.option("--keep-alike", is_flag=True, help="Keep pictures that look alike in one part (decodes all).")
@common(seed=True)
def split(
    source: str, as_json: bool, quiet: bool, output: Path, ratios: str, folds: int, keep_alike: bool,
    seed: int, **how: Unpack[ScanOptions],
) -> None:  # fmt: skip
    """Write a stratified, seeded split as a file, which is a CSV to train on."""
    from transferkit.data.source import based, order_options, scan
    from transferkit.data.splitting.split import save_splits
    from transferkit.data.splitting.split import split as divide

    _keep(output)
    samples = scan(source, **how).hashed()
    if keep_alike:
        samples = _grouped(samples, reporter(quiet, as_json))
    splits = divide(samples, parse_ratios(ratios), seed, folds)
    there = based(samples, output)
    save_splits(output, there, splits)
    notes = [*there.notes, *splits.notes]
    if options := order_options(samples):
        notes.append(f"the file does not hold the order of the classes; read it with {options}")
    counted = {str(part): number for part, number in splits.counts().items()}
    result = {"output": str(output), **counted, "folds": folds, "seed": seed, "notes": notes}
    lines = [f"{key}: {value}" for key, value in result.items() if key != "notes"]
    _print(result if as_json else "\n".join([*lines, *(f"note: {note}" for note in notes)]))


@data.command(epilog="Example:  transferkit data summary flowers/")
@reading()
@click.option("--html", type=OUTPUT, help="Write a page with ten pictures and their labels here.")
@common()
def summary(source: str, as_json: bool, quiet: bool, html: Path | None, **how: Unpack[ScanOptions]) -> None:
    """Count pictures per class and split; say how DATA was read, and what was ignored.

    A terminal that can show pictures (true colour, kitty, iTerm2) shows ten of them with their labels.
    """
    from transferkit.data.dataset_summary import summarized
    from transferkit.data.dataset_summary import text as in_words
    from transferkit.data.source import scan
    from transferkit.data.summary_page import summary_page
    from transferkit.files import write_text

    _keep(html, PAGE)
    samples = scan(source, **how)
    result = summarized(samples)
    if html is not None:
        write_text(html, summary_page(samples))
    _print(result if as_json else in_words(result))
    if not as_json and not quiet:
        from transferkit.cli import _pictures

        _pictures.show(samples)


@data.command(
    epilog="Example:  transferkit data convert train.csv flowers/\n\n"
    "Example:  transferkit data convert flowers.zip flowers.parquet"
)
@reading()
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@common()
def convert(source: str, output: Path, as_json: bool, quiet: bool, **how: Unpack[ScanOptions]) -> None:
    """Write DATA in a plain form: a folder, or a .csv or .parquet file.

    A folder gets a copy of each picture, by split and class where there is one class a picture, else beside a
    labels.csv. A .csv says where the pictures are, and copies none. A .parquet holds the pictures themselves.
    """
    from transferkit.data.convert import convert as write
    from transferkit.data.source import scan

    report = reporter(quiet, as_json)
    samples = scan(source, **how)
    with _progress(report, "writing") as progress:
        written = write(samples, output, progress)
    result = {"output": str(output), "pictures": len(samples), "form": written, "notes": list(samples.notes)}
    table = output / "labels.csv"
    then = f"; give {shown(table)} as DATA" if table.is_file() else ""
    said = [f"{shown(output)}: {len(samples)} pictures, {written}{then}", *(f"note: {n}" for n in samples.notes)]
    _print(result if as_json else "\n".join(said))


@data.command(epilog="Example:  transferkit data preview flowers/ --augment medium --output x.png")
@reading()
@click.option("--output", type=OUTPUT, default=Path("preview.png"), show_default=True, help="PNG or JPEG.")
@click.option(
    "--augment",
    metavar="none|light|medium|strong|RANGES|PLUGIN",
    help="RANGES such as rotate=15,hue=0.1.  [default: all presets]",
)
@click.option("--image-size", default=160, show_default=True, help="Side of each view in pixels.")
@click.option("--pictures", default=4, show_default=True, help="How many, spread over the data.")
@click.option("--views", default=6, show_default=True, help="Views of each.")
@common(seed=True)
def preview(
    source: str, as_json: bool, quiet: bool, output: Path, augment: str | None, image_size: int,
    pictures: int, views: int, seed: int, **how: Unpack[ScanOptions],
) -> None:  # fmt: skip
    """Draw augmented views as a contact sheet, the first of each row clean, and what each range does by itself."""
    from transferkit.data.augmentation.preview import preview as draw
    from transferkit.data.images.decode import DecodeSettings
    from transferkit.data.source import scan
    from transferkit.files import atomic_path

    if output.suffix.lower() not in SHEETS:
        raise click.UsageError(f"--output {shown(output)}: a contact sheet is {' or '.join(SHEETS)}; name it so")
    samples = scan(source, **how)
    _keep(output, *(() if _is_among(output, samples) else PICTURE))
    sheet = draw(samples, DecodeSettings(image_size), augment, pictures=pictures, views=views, seed=seed)
    with atomic_path(output) as temporary:
        sheet.save(temporary)
    _print({"output": str(output), "size": sheet.size} if as_json else f"{shown(output)}: {sheet.width}×{sheet.height}")


def _keep(output: Path | None, *looked_at: bytes) -> None:
    """Refuse to replace a file: it may be somebody's table, or hold decisions. What is only looked at is drawn again,
    and known by its first bytes."""
    if output is None or not output.is_file():
        return
    with output.open("rb") as file:
        begins = file.read(len(PAGE)).lower()
    if not begins.startswith(tuple(kind.lower() for kind in looked_at)):
        raise ConfigError(f"{shown(output)} exists already; choose another name, or remove it")


def _is_among(output: Path, samples: Samples) -> bool:
    """Whether a file is one of the pictures themselves."""
    if samples.root is None or not output.is_file():
        return False
    alike = (samples.root / path for path in samples.paths if path.endswith(output.name))
    return any(path.resolve() == output.resolve() for path in alike)


def parse_ratios(text: str) -> tuple[float, ...]:
    """`.7,.15,.15` or `700,150,150` as numbers; whole numbers stay whole.

    Raises:
        ConfigError: a part is no number.
    """
    try:
        parts = [part.strip() for part in text.split(",")]
        return tuple(int(part) if part.isdecimal() else float(part) for part in parts)
    except ValueError as error:
        raise ConfigError(f"--split {text!r} is not three numbers such as .7,.15,.15 or 700,150,150") from error


def _required(source: str | None, suspects: int | None) -> str:
    if suspects is not None:
        raise ConfigError("--suspects has no effect without --run; name a finished run, or drop it")
    if source is None:
        raise ConfigError("give DATA to check, or --run with a finished run whose data is to be checked")
    return source


def _audit_of(
    run: Path, source: str | None, headers_only: bool, report: Reporter, how: ScanOptions, suspects: int | None
) -> Audit:
    """The audit of a run's data, with the labels that its network doubts."""
    from transferkit.delivery.label_check import SHOWN, label_check, source_of

    if source is not None or any(how.values()):
        raise ConfigError("--run brings its own DATA, --task and exclusions; drop them, or drop --run")
    origin, its_own = source_of(run)
    found = label_check(run, report, suspects or SHOWN)
    return _audit(origin, headers_only, report, its_own).adding(found)


def _audit(source: str, headers_only: bool, report: Reporter, how: ScanOptions) -> Audit:
    from transferkit.data.audit.audit import check as full
    from transferkit.data.audit.audit import quick
    from transferkit.data.source import scan

    if headers_only:
        return quick(scan(source, **how))
    with _progress(report) as progress:
        return full(source, progress=progress, **how)


def _grouped(samples: Samples, report: Reporter) -> Samples:
    from transferkit.data.splitting.lookalike_groups import group_look_alikes

    with _progress(report) as progress:
        return group_look_alikes(samples, progress=progress)[0]


@contextmanager
def _progress(report: Reporter, what: str = "checking") -> Iterator[Callable[[int, int], None]]:
    """A `progress(done, total)` that opens its bar when the total is known."""
    with ExitStack() as stack:
        advance: list[Advance] = []

        def progress(done: int, total: int) -> None:
            if not advance:
                advance.append(stack.enter_context(report.progress(what, total)))
            advance[0]()

        yield progress


def _print(result: object) -> None:
    """JSON, or text that is wrapped between words where a person reads it."""
    tell(result, hang=4) if isinstance(result, str) else emit(result)
