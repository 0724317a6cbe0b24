"""DICOM pictures as 8-bit grey or RGB: the modality's scale, the first window that the file gives, MONOCHROME1 turned.

Without a window, grey is stretched from its least to its largest value. Nothing but pixels leaves this module: no name,
no number and no date that a file carries.
"""

from __future__ import annotations

import importlib
import warnings
from typing import IO, Any

import numpy as np
from PIL import Image

from transferkit.data.images.tones import STRIP
from transferkit.text import clipped

MOST_FRAMES = 100_000
# What the reader warns of damaged files holds their values, names of patients among them.
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")


class DicomError(Exception):
    """What keeps a file from being read; `kind` is as `reading.ReadingError` has it."""

    def __init__(self, reason: str, kind: str = "damaged") -> None:
        super().__init__(reason)
        self.kind = kind


def read(handle: IO[bytes], frame: int, most: int) -> Image.Image:
    """One frame of a DICOM file, as 8-bit grey or RGB.

    Args:
        handle: of the file, at any place.
        frame: its number, from 0.
        most: pixels that a frame may have.

    Returns:
        The picture, which tells as `n_frames` how many frames there are.

    Raises:
        DicomError: the reader is not installed, the file is damaged or too large, or has no such frame.
    """
    try:
        pydicom: Any = importlib.import_module("pydicom")
        pixels: Any = importlib.import_module("pydicom.pixels")
    except ImportError as error:
        raise DicomError(
            "is DICOM; install the reader with: pip install 'transferkit[dicom]'", "unsupported"
        ) from error
    handle.seek(0)
    try:
        found = pydicom.dcmread(handle)
        rows, columns = int(found.Rows), int(found.Columns)
        frames = int(found.get("NumberOfFrames") or 1)
    except Exception as error:  # pydicom raises many kinds for what is damaged
        raise DicomError(f"is a DICOM file without a whole picture ({type(error).__name__})") from error
    if rows * columns > most or not 0 < frames <= MOST_FRAMES:
        raise DicomError(f"is DICOM of {rows} × {columns} pixels and {frames} frames, which is too large", "too_large")
    if frame >= frames:
        raise DicomError(f"is DICOM of {frames} frames; there is no number {frame}")
    try:
        array = np.asarray(pixels.pixel_array(found, index=frame))
    except Exception as error:
        syntax = getattr(getattr(found, "file_meta", None), "TransferSyntaxUID", None)
        told = clipped(getattr(syntax, "name", "unknown"), 60)
        raise DicomError(f"is DICOM whose pixels cannot be unpacked (stored as {told})", "unsupported") from error
    try:
        image = Image.fromarray(_eight_bits(found, array))
    except DicomError:
        raise
    except Exception as error:  # values are only read when they are asked for
        raise DicomError(f"is a DICOM file with values that cannot be read ({type(error).__name__})") from error
    image.format = "DICOM"
    image.n_frames = frames  # type: ignore[attr-defined]
    return image


def _eight_bits(found: Any, array: np.ndarray) -> np.ndarray:
    kind = str(found.get("PhotometricInterpretation", "MONOCHROME2"))
    if array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8:
        return array
    if array.ndim != 2 or not kind.startswith("MONOCHROME"):
        told = clipped(kind, 60)
        raise DicomError(f"is DICOM of a form that is not supported ({told}, {array.dtype})", "unsupported")
    slope, intercept = float(found.get("RescaleSlope") or 1), float(found.get("RescaleIntercept") or 0)
    rows = max(1, STRIP // max(1, array.shape[1]))
    low, high = _window(found, array, slope, intercept)
    grey = np.empty(array.shape, np.uint8)
    for top in range(0, len(array), rows):
        values = array[top : top + rows].astype(np.float64) * slope + intercept
        grey[top : top + rows] = np.rint(np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255)
    return 255 - grey if kind == "MONOCHROME1" else grey


def _window(found: Any, array: np.ndarray, slope: float, intercept: float) -> tuple[float, float]:
    """The values that become black and white, by the standard's linear function (PS3.3, C.11.2.1.2)."""
    centre, width = (_first(found.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width < 1:
        low, high = sorted(float(value) * slope + intercept for value in (array.min(), array.max()))
        return low, high
    if str(found.get("VOILUTFunction", "LINEAR")) == "LINEAR_EXACT":
        return centre - width / 2, centre + width / 2
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _first(value: Any) -> float | None:
    """A number, or the first of several."""
    try:
        return float(value if isinstance(value, str | int | float) else value[0] if len(value) else "")
    except TypeError:
        return None if value is None else float(value)
    except (ValueError, IndexError):
        return None
