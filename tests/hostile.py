"""A folder as a stranger may have packed it: modules that leave a sign when they are run, in the place of real ones."""

import sys
from pathlib import Path

# Everything that we, and what we use, import by name; what Python itself loads before it looks at a path cannot be
# replaced by a file.
NAMES = (
    *sys.stdlib_module_names, "sitecustomize", "usercustomize", "numpy", "tensorflow", "keras", "click", "pydantic",
    "PIL", "filelock", "matplotlib", "sklearn", "scipy", "ray", "onnxruntime", "ai_edge_litert", "h5py", "keras_tuner",
    "psutil", "yaml", "simplejpeg", "cv2",
)  # fmt: skip
EARLY = ("sitecustomize", "usercustomize")  # run by Python itself where PYTHONPATH says so


def plant(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    """Put the modules into `folder`; gives the file that they write their names to when they are run."""
    folder.mkdir(parents=True, exist_ok=True)
    sign = folder.parent / f"{folder.name}-was-run"
    # By the bare system: where `encodings` is replaced, there are no files yet.
    code = (
        "import posix\n"
        f"handle = posix.open({str(sign)!r}, posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND, 0o600)\n"
        "posix.write(handle, (__name__ + ' in ' + __file__ + '\\n').encode())\n"
        "posix.close(handle)\n"
    )
    for name in names:
        (folder / f"{name}.py").write_text(code)
    return sign


def signs(sign: Path) -> str:
    """What was run; nothing, where all is well."""
    return sign.read_text() if sign.exists() else ""
