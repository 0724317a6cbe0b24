"""Networks of the Hugging Face hub: `hf:owner/name`, or a short name. Fetched once, each file by its hash; no account.

Looked for in this order: our store, the hub's own cache (HF_HOME), the network. Files lie in the store under the commit
they are of, and a folder counts only once all are there. The hub tells the SHA-256 of large files and git's hash of
small ones; both are compared.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from transferkit.backbones.download import download
from transferkit.backbones.foundation.checkpoint_files import POINTER, WHOLE, weights_file
from transferkit.backbones.foundation.hub_requests import address_of, authorization, home, listing, remedy, status_of
from transferkit.backbones.weights import folder as store
from transferkit.backbones.weights import require_writable
from transferkit.errors import BackboneError, WeightsError, nearest
from transferkit.files import read_json, sha256_file, write_json
from transferkit.storage import is_offline, locked
from transferkit.text import shown

Say = Callable[[str], None]
PREFIX = "hf:"
RECORD = "transferkit.json"  # in a folder of the store, written last: the SHA-256 of each file
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(@[\w.-]{1,100})?")
_SHARD = re.compile(r"(model|pytorch_model)-\d{5}-of-\d{5}\.(safetensors|bin)")
_SMALL = ("config.json", "preprocessor_config.json", "image_converter.json", "preprocessor.json", "README.md")

# Names to type, the repository, and the licence that its card states; in brackets what another source states.
SHORT: dict[str, tuple[str, str]] = {
    "dinov2_small": ("facebook/dinov2-small", "Apache-2.0"),
    "dinov2_base": ("facebook/dinov2-base", "Apache-2.0"),
    "dinov2_large": ("facebook/dinov2-large", "Apache-2.0"),
    "dinov2_giant": ("facebook/dinov2-giant", "Apache-2.0"),
    "dinov2_registers_small": ("facebook/dinov2-with-registers-small", "Apache-2.0"),
    "dinov2_registers_base": ("facebook/dinov2-with-registers-base", "Apache-2.0"),
    "dinov2_registers_large": ("facebook/dinov2-with-registers-large", "Apache-2.0"),
    "dinov3_small": ("facebook/dinov3-vits16-pretrain-lvd1689m", "DINOv3 License (gated)"),
    "dinov3_base": ("facebook/dinov3-vitb16-pretrain-lvd1689m", "DINOv3 License (gated)"),
    "dinov3_large": ("facebook/dinov3-vitl16-pretrain-lvd1689m", "DINOv3 License (gated)"),
    "dinov3_convnext_tiny": ("facebook/dinov3-convnext-tiny-pretrain-lvd1689m", "DINOv3 License (gated)"),
    "siglip2_base": ("google/siglip2-base-patch16-224", "Apache-2.0"),
    "siglip2_large": ("google/siglip2-large-patch16-256", "Apache-2.0"),
    "siglip_base": ("google/siglip-base-patch16-224", "Apache-2.0"),
    "clip_vit_base": ("openai/clip-vit-base-patch16", "MIT (by OpenAI's repository; its card names none)"),
    "clip_vit_large": ("openai/clip-vit-large-patch14", "MIT (by OpenAI's repository; its card names none)"),
    "vit_base": ("google/vit-base-patch16-224-in21k", "Apache-2.0"),
    "convnextv2_tiny": ("facebook/convnextv2-tiny-22k-224", "CC-BY-NC-4.0 (Meta's repository; its card: Apache-2.0)"),
}


def is_name(backbone: str) -> bool:
    """Whether `backbone` is `hf:…` or a short name."""
    return backbone.startswith(PREFIX) or backbone in SHORT


def parsed(backbone: str) -> tuple[str, str]:
    """Repository (OWNER/NAME) and revision. Raises BackboneError for what is no name."""
    name = SHORT[backbone][0] if backbone in SHORT else backbone.removeprefix(PREFIX)
    if not _is_repository(name):
        hint = nearest(name, SHORT)
        raise BackboneError(f"'{shown(backbone[:100])}' is no name on the hub: it must be hf:OWNER/NAME{hint}")
    repository, _, revision = name.partition("@")
    return repository, revision or "main"


def problems(backbone: str, offline: bool = False) -> list[str]:
    """What is wrong with the name, and where the network is forbidden whether its files are here.

    Args:
        backbone: `hf:OWNER/NAME[@REVISION]`, or a short name.
        offline: whether the network is forbidden.
    """
    try:
        repository, revision = parsed(backbone)
        if is_offline(offline) and local(backbone) is None:
            return [str(_absent(repository, revision))]
    except (BackboneError, WeightsError) as error:
        return [str(error)]
    return []


def local(backbone: str) -> Path | None:
    """The folder of the network on this machine: complete, hashes not compared. Raises BackboneError for no name."""
    repository, revision = parsed(backbone)
    ours = _place(repository)
    try:
        commit = str(read_json(ours / "refs.json")[revision])
        if re.fullmatch(r"\w{1,64}", commit) and (ours / commit / RECORD).is_file():
            return ours / commit
    except (OSError, ValueError, KeyError, TypeError):
        pass
    cached = _hubs_cache() / f"models--{repository.replace('/', '--')}"
    try:
        commit = (cached / "refs" / revision).read_text().strip()
    except OSError:
        commit = revision
    snapshot = cached / "snapshots" / commit
    return snapshot if (snapshot / "config.json").is_file() and weights_file(snapshot) is not None else None


def at_hand() -> list[str]:
    """Names of all whose files are on this machine, in our store or in the hub's own cache, networks or not; short ones
    where they have one."""
    short = {repository: name for name, (repository, _) in SHORT.items()}
    folders = [*_folders(store() / "hub", ""), *_folders(_hubs_cache(), "models--")]
    repositories = dict.fromkeys(folder.replace("--", "/", 1) for folder in folders)
    # The hub's cache also has other folders, and repositories from its first days, without an owner (gpt2).
    names = [short.get(repository, PREFIX + repository) for repository in filter(_is_repository, repositories)]
    return [name for name in names if local(name) is not None]


def _is_repository(name: str) -> bool:
    """Whether it is OWNER/NAME, a revision behind it or not."""
    return _REPOSITORY.fullmatch(name) is not None and ".." not in name


def _folders(place: Path, prefix: str) -> list[str]:
    """Names of folders whose name begins with `prefix`, without it."""
    with suppress(OSError):
        return sorted(path.name.removeprefix(prefix) for path in place.iterdir() if path.name.startswith(prefix))
    return []


def is_sound(backbone: str) -> bool:
    """Whether the files of the network are here, with the hashes that they came with."""
    found = local(backbone)
    if found is None:
        return False
    try:
        _verify(found)
    except WeightsError:
        return False
    return True


def fetch(
    backbone: str, *, offline: bool = False, reporter: Say | None = None, timeout: float = 30.0, weights: bool = True
) -> Path:
    """The folder of a network of the hub, its files compared with their hashes; fetched where it is not here.

    Args:
        backbone: `hf:OWNER/NAME[@REVISION]`, or a short name.
        offline: whether the network is forbidden.
        reporter: hears of downloads.
        timeout: seconds without a byte that end an attempt.
        weights: False: its small files are enough, which say what network it is.

    Raises:
        WeightsError: what cannot be fetched or is damaged, with what to do.
        BackboneError: no name.
    """
    say = reporter or (lambda _: None)
    repository, revision = parsed(backbone)
    found = local(backbone)
    if found is not None:
        _verify(found)
        return found
    if is_offline(offline):
        raise _absent(repository, revision)
    place = _place(repository)
    require_writable(place, "fetch the repository by other means and give its folder, --backbone PATH")
    with locked(place / ".lock"):
        found = local(backbone)  # another process may have put it there meanwhile
        return found if found is not None else _transfer(repository, revision, place, say, timeout, weights)


def _transfer(repository: str, revision: str, place: Path, say: Say, timeout: float, weights: bool) -> Path:
    commit, files = listing(repository, revision, timeout)
    if not commit:
        raise WeightsError(f"the hub names no commit for {repository}")
    folder, hashes = place / commit, {}
    folder.mkdir(parents=True, exist_ok=True)
    wanted = _wanted(repository, files)
    for name in wanted if weights else [name for name in wanted if name in _SMALL]:
        target, expected = folder / name, files[name]
        if not (target.is_file() and _misfit(target, expected) is None):
            address = address_of(repository, commit, name)
            say(f"fetching {name} of {repository}")
            try:
                download(
                    address,
                    target,
                    check=partial(_misfit, expected=expected),
                    timeout=timeout,
                    retries=4,
                    say=say,
                    secret=authorization(),
                )
            except WeightsError as error:
                raise WeightsError(f"{error}. {remedy(repository, status_of(error))}") from error
        hashes[name] = expected if len(expected) == 64 else sha256_file(target)  # compared above
    if not weights:
        return folder
    write_json(folder / RECORD, {"repository": repository, "commit": commit, "sha256": hashes})
    refs = place / "refs.json"
    try:
        known = dict(read_json(refs))
    except (OSError, ValueError, TypeError):
        known = {}
    write_json(refs, {**known, revision: commit})
    return folder


def _wanted(repository: str, files: dict[str, str]) -> list[str]:
    """The small files first, then the weights in the form that is preferred."""
    small = [name for name in _SMALL if name in files]
    for whole in WHOLE:
        if whole in files:
            return [*small, whole]
        index = f"{whole}.index.json"
        if index in files:
            kind = whole.partition(".")[0]
            return [*small, index, *sorted(n for n in files if _SHARD.fullmatch(n) and n.startswith(f"{kind}-"))]
    raise BackboneError(f"{repository} has no {' and no '.join(WHOLE)}, so it is no network we read")


def _misfit(path: Path, expected: str) -> str | None:
    """Why a file is not the one with this hash, or None."""
    with open(path, "rb") as handle:
        if handle.read(len(POINTER)) == POINTER:
            return "a Git LFS pointer came in place of the file"
    if len(expected) == 64:
        found = sha256_file(path)
    else:
        content = path.read_bytes()
        found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()  # git's name
    return None if found == expected else f"its hash is {found}, the hub says {expected}"


def _verify(folder: Path) -> None:
    """Compare our files with their hashes of the day they were fetched. The hub's own cache is taken as it is."""
    if not (folder / RECORD).is_file():
        return
    hashes = read_json(folder / RECORD)["sha256"]
    damaged = [name for name, digest in hashes.items() if not _whole(folder / name, digest)]
    if damaged:
        (folder / RECORD).unlink()
        raise WeightsError(f"{folder / damaged[0]} is damaged; repeat the command to fetch it again")


def _whole(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_file(path) == digest


def _place(repository: str) -> Path:
    return store() / "hub" / repository.replace("/", "--")


def _hubs_cache() -> Path:
    cache = os.environ.get("HF_HUB_CACHE")
    return Path(cache).expanduser() if cache else home() / "hub"


def _absent(repository: str, revision: str) -> WeightsError:
    places = f"neither in {_place(repository)} nor in {_hubs_cache()}"
    return WeightsError(f"offline, and {repository} ({revision}) is {places}. {remedy(repository, 0)}")
