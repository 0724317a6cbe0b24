"""`finetune` and `tune` list every setting: for editors, for `inspect`, for `help`."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import transferkit as tk
from transferkit.api import keywords, signature
from transferkit.config import Settings
from transferkit.setting import Setting, declared
from transferkit.tuning.search_settings import SearchSettings

VERBS: list[tuple[Any, tuple[type[BaseModel], ...]]] = [
    (tk.finetune, (Settings,)),
    (tk.tune, (SearchSettings, Settings)),
]


def test_the_module_for_editors_is_made_of_the_declarations() -> None:
    written = Path(keywords.__file__).read_text("utf-8")
    assert written == signature.source(), "the settings have changed: run scripts/keywords"
    assert keywords.FinetuneSettings.__total__ is False
    assert set(keywords.FinetuneSettings.__annotations__) == set(Settings.model_fields) - {"backbone"}
    of_tune = {*keywords.TuneSettings.__annotations__, *keywords.FinetuneSettings.__annotations__}
    assert of_tune == ({*SearchSettings.model_fields} | {*Settings.model_fields}) - {"backbone"}


@pytest.mark.parametrize(("verb", "models"), VERBS)
def test_the_signature_has_every_setting_with_its_default(verb: Any, models: tuple[type[BaseModel], ...]) -> None:
    parameters = inspect.signature(verb).parameters
    assert not [p for p in parameters.values() if p.kind is p.VAR_KEYWORD]
    assert list(parameters)[:2] == ["data", "backbone"]
    for model in reversed(models):
        for name, field in model.model_fields.items():
            if name == "backbone" or (model is Settings and name in models[0].model_fields and models[0] is not model):
                continue
            assert parameters[name].default == field.default, name
            assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(("verb", "models"), VERBS)
def test_the_docstring_says_what_each_setting_means(verb: Any, models: tuple[type[BaseModel], ...]) -> None:
    text = " ".join(inspect.getdoc(verb).split())  # type: ignore[union-attr]
    for setting in signature.settings(search=SearchSettings in models).values():
        assert f"{setting.name}: {signature.in_python(setting.said.help)}" in text
    assert "--resume" not in text
    assert "resume=True" in text


def check(folder: Path, lines: str) -> str:
    """What mypy says of a caller's program."""
    program = folder / "program.py"
    program.write_text(f"import transferkit as tk\n{lines}\n")
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--no-error-summary", str(program)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.extended
def test_a_type_checker_knows_names_and_values(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    right = "tk.finetune('x', unfreeze='last:3', budget='10m', head_width=[64], learning_rate='auto')"
    assert check(tmp_path, f"{right}\ntk.tune('x', trials=3, dropout=0.1)") == ""
    assert 'Unexpected keyword argument "drop"' in check(tmp_path, "tk.finetune('x', drop=0.1)")
    assert "pooling" in check(tmp_path, "tk.finetune('x', pooling='median')")


def test_a_new_setting_takes_one_declaration() -> None:
    from typing import Annotated

    from transferkit.cli._help import setting_option

    class Sketch(BaseModel):
        blur: Annotated[float, Setting("Blur. In pixels.", "augmentation", "X", searched=True, features=True)] = 0.5

    blur = declared(Sketch)["blur"]
    assert (blur.option, blur.kind, blur.effective, blur.brief) == ("--blur", "float", "0.5", "Blur.")
    assert signature.annotation(blur) == "float"
    rate = declared(Settings)["learning_rate"]
    assert (rate.bounds, declared(Settings)["dropout"].bounds) == ("above 0, at most 10", "at least 0, below 1")
    option = setting_option(blur)
    assert (option.name, option.group, option.metavar, option.help) == (
        "blur", "augmentation", "X", "Blur. In pixels. [default:\xa00.5]",
    )  # fmt: skip

    class Silent(BaseModel):
        blur: float = 0.5

    with pytest.raises(TypeError, match=r"the field blur has no Setting"):
        declared(Silent)


def test_what_is_searched_is_declared() -> None:
    from transferkit.tuning.search_space import dimensions

    assert dimensions.parse("dropout", "0.5") == 0.5
    assert dimensions.parse("views", "3") == 3
    assert dimensions.parse("ema", "off") is False
    assert {name for name, s in declared(Settings).items() if s.said.features} <= set(dimensions.SEARCHABLE)
    assert not [s.name for s in declared(Settings).values() if s.said.searched and s.many and s.name != "head_width"]


def test_flags_are_spelled_as_flags_in_messages() -> None:
    from transferkit.wording import SWITCHES

    flags = {s.option[2:] for model in (Settings, SearchSettings) for s in declared(model).values() if s.is_flag}
    assert flags <= SWITCHES


def test_the_import_is_cheap() -> None:
    code = (
        "import sys, transferkit as tk; tk.finetune.__doc__; "
        "sys.exit(', '.join({'tensorflow', 'keras', 'jax', 'sklearn'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
