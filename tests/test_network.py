"""Nothing of a whole piece of work goes to the network: every connection that Python opens or looks up is noted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# In each process of the work, whatever starts it: Python imports a module of this name by itself.
NOTED = """
import ipaddress, os, sys

def local(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "")

def note(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if isinstance(address, tuple) and not local(str(address[0])):
            write(event, address)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0] or ""
        if not local(str(host)):
            write(event, host)
    elif event == "urllib.Request":
        write(event, arguments[0])

def write(*what):
    with open(os.environ["NOTES"], "a") as handle:
        print(*what, file=handle)

sys.addaudithook(note)
write("watched", os.path.basename(sys.argv[0] if hasattr(sys, "argv") else ""))
"""


@pytest.fixture
def watched(tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose connections are noted in the file NOTES."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(NOTED)
    paths = os.pathsep.join((str(tmp_path / "watch"), str(Path(__file__).parents[1])))
    kept = {name: value for name, value in os.environ.items() if "PROXY" not in name.upper()}
    return {**kept, "PYTHONPATH": paths, "NOTES": str(tmp_path / "notes"), "HOME": str(tmp_path)}


def notes(environment: dict[str, str]) -> list[str]:
    return Path(environment["NOTES"]).read_text().splitlines()


def test_what_asks_for_an_address_is_noted(watched: dict[str, str]) -> None:
    program = (
        "import socket, urllib.request, contextlib\n"
        "for work in (lambda: socket.getaddrinfo('transferkit.invalid', 80),\n"
        "             lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9)),\n"
        "             lambda: socket.getaddrinfo('localhost', 80)):\n"
        "    with contextlib.suppress(OSError):\n"
        "        work()\n"
    )
    subprocess.run([sys.executable, "-c", program], env=watched, check=True)
    assert [line for line in notes(watched) if not line.startswith("watched")] == [
        "socket.getaddrinfo transferkit.invalid", "socket.connect ('192.0.2.1', 9)"
    ]  # fmt: skip


@pytest.mark.extended
@pytest.mark.slow
def test_a_whole_piece_of_work_connects_to_nobody(watched: dict[str, str], digits: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for words in (
        ("finetune", digits, "--backbone", "mini", "--offline", "--output", run),
        ("report", run),
        ("predict", run, digits / "3"),
        ("explain", run, next(digits.glob("3/*.png")), "--output", tmp_path / "explained"),
        ("export", run, "--format", "litert"),
    ):
        command = [sys.executable, "-m", "transferkit", *map(str, words)]
        done = subprocess.run(command, env=watched, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (words[0], done.stderr)
    found = notes(watched)
    assert len(found) >= 5, "each process is watched"
    assert {line.partition(" ")[0] for line in found} == {"watched"}, found
