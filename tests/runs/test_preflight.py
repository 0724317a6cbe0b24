from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import folder_of_classes
from transferkit import api
from transferkit.config import Settings
from transferkit.data.containers import bucket
from transferkit.data.source import origin_of, scan
from transferkit.errors import DataError, TransferKitError
from transferkit.runs import preflight


def test_a_run_inside_its_data_is_refused_whatever_the_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_of_classes(Path("arrays"), {"a": 3, "b": 3})
    for data in ("arrays", Path("arrays"), api.load_data("arrays"), tmp_path / "arrays"):
        with pytest.raises(TransferKitError, match="lies inside the data"):
            api.finetune(data, "mini", output="arrays/run", quiet=True)
    assert preflight.inside(Path("arrays/run"), origin_of((np.zeros(1), np.zeros(1)))) == []


def test_a_number_that_never_changes_is_refused_before_training(tmp_path: Path) -> None:
    folder_of_classes(tmp_path, {"x": 3})
    table = tmp_path / "t.csv"
    table.write_text("path,label_a,label_b\nx/0.png,1,3.5\nx/1.png,2,3.5\nx/2.png,3,3.5\n")
    settings = Settings(backbone="mini", task="regress")
    with pytest.raises(DataError, match=r"the target b is constant: 3\.5 in all 3 pictures") as caught:
        preflight.check_task(scan(table, "regress"), settings)
    assert "target a" not in str(caught.value)
    varied = (np.zeros((3, 4, 4, 3), np.uint8), [1700000000, 1700000001, 1700000000])
    preflight.check_task(scan(varied, "regress"), settings)


@pytest.mark.parametrize("by", ["--offline", "TRANSFERKIT_OFFLINE"])
def test_data_behind_an_address_is_not_fetched_where_the_network_is_forbidden(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused before any library is asked to open a connection."""
    monkeypatch.setattr(bucket, "_bucket", lambda *_: pytest.fail("opened"))
    if by == "TRANSFERKIT_OFFLINE":
        monkeypatch.setenv(by, "1")
        with pytest.raises(DataError, match=rf"^{by}: the data https://127\.0\.0\.1/x\.zip lies in the network"):
            scan("https://127.0.0.1/x.zip")
    for verb in (api.finetune, api.tune, api.best):
        with pytest.raises(TransferKitError, match=rf"{by}: the data https://127\.0\.0\.1/x\.zip lies in the network"):
            verb("https://127.0.0.1/x.zip", output=tmp_path / "run", offline=by == "--offline", quiet=True)
    assert not (tmp_path / "run").exists()
