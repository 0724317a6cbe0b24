"""The accelerator that Keras' backend computes on: what it is, and the share of time in which it computes."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

PERIOD = 0.05  # seconds between two looks at it


class Busy:
    """A context that samples NVML's utilisation of the first GPU: the share of the driver's last sampling period in
    which a kernel ran. `share` is its mean afterwards, 0…1; None where there is no NVML."""

    def __init__(self) -> None:
        self.share: float | None = None
        self._found: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="bench-nvml", daemon=True)

    def __enter__(self) -> Busy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        # The driver looks back over a sixth of a second and more: what came before is not this block's.
        some = self._found[4:] or self._found
        self.share = sum(some) / len(some) / 100 if some else None

    def _look(self) -> None:
        handle = _handle()
        if handle is None:
            return
        import pynvml

        while not self._over.wait(PERIOD):
            self._found.append(int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))


def _handle() -> Any:
    """NVML's of the first GPU; None without NVML or GPU."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByIndex(0)
    except Exception:  # not installed, no driver, no GPU: NVML's own errors are known only where it is installed
        return None


def described() -> dict[str, Any]:
    """Backend, its version, how many accelerators it sees, and of the first the name, memory and driver."""
    from transferkit import compute

    compute.start()
    found: dict[str, Any] = {"count": compute.gpu_count(), "backend": compute.backend(), **compute.backend_versions()}
    handle = _handle()
    if handle is None:
        return found
    import pynvml

    memory = round(pynvml.nvmlDeviceGetMemoryInfo(handle).total / 1e9)
    return {"name": pynvml.nvmlDeviceGetName(handle), "memory_gb": memory, **found,
            "driver": pynvml.nvmlSystemGetDriverVersion()}  # fmt: skip
