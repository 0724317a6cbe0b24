"""A process of its own that holds something (a lock, a claim) which a test asks for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def held(code: str, *arguments: object) -> Iterator[None]:
    """From when `code`, in a Python of its own that gets `arguments`, printed `held`, to the end: then it is killed."""
    command = [sys.executable, "-c", f"import sys, time\nfrom pathlib import Path\n{code}", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            yield
        finally:
            other.kill()
