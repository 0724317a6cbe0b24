"""`transferkit weights`: the store of pretrained weights, shared with Keras."""

from __future__ import annotations

from pathlib import Path

import click

from transferkit.cli._common import CommandGroup, common, echo, emit, reporter


@click.group(cls=CommandGroup, epilog="Example:  transferkit weights fetch vgg16")
def weights() -> None:
    """Pretrained weights on this machine."""


@weights.command("list", epilog="Example:  transferkit weights list --json")
@click.option("--all", "everything", is_flag=True, help="Absent files too.")
@common()
def list_(everything: bool, quiet: bool, as_json: bool) -> None:
    """Weights files in the store."""
    from transferkit.backbones import weights as store

    entries = [e for e in store.listing() if everything or as_json or e.status != "absent"]
    if as_json:
        emit([{**e.__dict__, "path": str(e.path)} for e in entries])
        return
    echo(f"{store.folder()}: {sum(e.status != 'absent' for e in entries)} files")
    for e in entries:
        echo(f"  {e.backbone:<22} {e.status:<9} {e.bytes / 1e6:>8,.1f} MB  {e.file}")


@weights.command(epilog="Example:  transferkit weights fetch vgg16 resnet50")
@click.argument("names", nargs=-1, required=True)
@click.option("--image-size", type=int, help="Picture size (MobileNets have a file per size).")
@click.option("--mirror", help="Base address in place of Keras' own.")
@click.option("--offline", is_flag=True, help="Only check what is there.")
@common()
def fetch(
    names: tuple[str, ...], image_size: int | None, mirror: str | None, offline: bool, quiet: bool, as_json: bool
) -> None:  # fmt: skip
    """Download and check the weights of networks NAMES, resuming what was interrupted."""
    from transferkit.backbones import catalog
    from transferkit.backbones import weights as store

    say = reporter(quiet, as_json).say
    rows = [catalog.find(name) for name in names]
    paths = [store.fetch(r, image_size or r.size, offline=offline, mirror=mirror, reporter=say) for r in rows]
    emit([str(p) for p in paths]) if as_json else echo("\n".join(map(str, paths)))


@weights.command(epilog="Example:  transferkit weights verify vgg16")
@click.argument("names", nargs=-1)
@common()
def verify(names: tuple[str, ...], quiet: bool, as_json: bool) -> int:
    """Compare files in the store with their published hashes; exit code 1 if one is damaged, or named and absent."""
    from transferkit.backbones import catalog
    from transferkit.backbones import weights as store

    chosen = [catalog.find(n).name for n in names] or [e.backbone for e in store.listing() if e.status != "absent"]
    rows = [catalog.find(name) for name in dict.fromkeys(chosen)]
    entries = [store.verify(row, row.size) for row in rows]
    if as_json:
        emit([{**e.__dict__, "path": str(e.path)} for e in entries])
    elif not entries:
        echo("no weights are here to be verified; `transferkit weights fetch NAME` gets some")
    for e in [] if as_json else entries:
        echo(f"{e.backbone:<22} {e.status:<9} {e.file}  expected {e.expected or '—'}  found {e.found or '—'}")
    bad = ("damaged", "changed", "absent") if names else ("damaged", "changed")
    return 1 if any(e.status in bad for e in entries) else 0


@weights.command(epilog="Example:  transferkit weights add ~/Downloads/mobilenet_2_5_224_tf_no_top.h5")
@click.argument("file", type=click.Path(path_type=Path))
@common()
def add(file: Path, quiet: bool, as_json: bool) -> None:
    """Put a weights FILE that was fetched by other means into the store."""
    from transferkit.backbones import weights as store

    path = store.add(file, reporter(quiet, as_json).say)
    emit(str(path)) if as_json else echo(path)


@weights.command(epilog="Example:  transferkit weights path vgg16")
@click.argument("name", required=False)
@common()
def path(name: str | None, quiet: bool, as_json: bool) -> None:
    """Print where the store is, or where the file of network NAME belongs."""
    from transferkit.backbones import catalog
    from transferkit.backbones import weights as store

    where = store.folder()
    if name is not None:
        row = catalog.find(name)
        where = where / row.file_for(row.size)[0]
    emit(str(where)) if as_json else echo(where)
