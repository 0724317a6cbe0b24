"""Settings as they were in effect: what was left to the recipe shows what it came to."""

from tests.records import metrics_of
from transferkit._version import __version__
from transferkit.config import Settings
from transferkit.delivery.report.effective import effective, given
from transferkit.runs.model_facts import DecodeRecord, ModelFacts
from transferkit.runs.run_record import ConfigRecord, RunRecord

FACTS = ModelFacts(
    task="classify", classes=["a"], decode=DecodeRecord(decoder=1, size=224), thresholds=None, scaling="torch"
)


def manifest(version=__version__, **settings):
    config = Settings(backbone="mini", **settings)
    return RunRecord.read({
        "config": config.model_dump(mode="json"), "given": sorted(config.model_fields_set), "status": "complete",
        "data": {"path": "x", "parts": {"train": 400, "val": 50, "test": 50}}, "versions": {"transferkit": version},
        "weights": {"source": "pretrained"}, "precision": {"name": "float32"}, "learning_rate": 0.003, "command": "",
    })  # fmt: skip


def shown(task="classify", **more):
    return effective(manifest(**more), metrics_of({"task": task, "goal": "accuracy"}), FACTS)


def test_nothing_is_left_open():
    found = shown()
    open_ = ("", "–", "None", "auto", "not set", "not recorded")
    assert [name for name, value in found.items() if value in open_] == []
    assert {"learning_rate": "0.003", "label_smoothing": "0.1", "weight_decay": "0.0001",
            "image_size": "224 × 224 pixels", "weights": "pretrained (auto)", "batch_size": "32",
            "budget": "no limit"}.items() <= found.items()  # fmt: skip


def test_what_a_reader_found_is_told_where_nobody_said_it():
    record = manifest(split_column="part")
    record.data.reader = {"name": "table", "why": "…", "image_column": "file", "label_column": ["kind"]}
    found = effective(record, metrics_of({"goal": "accuracy"}), FACTS)
    assert (found["reader"], found["image_column"]) == ("table (found)", "file (found)")
    assert (found["label_column"], found["group_column"]) == ("kind (found)", "none")
    assert found["split_column"] == "part"


def test_they_are_those_that_training_uses():
    from transferkit.training import batches

    assert (
        shown(batch_size="auto")["batch_size"]
        == f"{batches.batch_size(Settings(backbone='mini', batch_size='auto'), 400)} (auto)"
    )
    assert shown("regress")["label_smoothing"].startswith("0 ")
    assert shown(optimizer="sgd")["weight_decay"] == "0"
    assert shown(label_smoothing=0.3)["label_smoothing"] == "0.3"


def test_a_setting_that_is_gone_is_shown_of_the_runs_that_had_it():
    record = manifest(unfreeze="all")
    assert "warmup" not in effective(record, metrics_of({"goal": "accuracy"}), FACTS)
    record.config = ConfigRecord.read({**record.config.as_json(), "warmup": None, "clip_norm": 0.5})
    found = effective(record, metrics_of({"goal": "accuracy"}), FACTS)
    assert found["warmup"].startswith("0.05")
    assert found["clip_norm"] == "0.5"


def test_what_another_version_chose_is_not_made_up():
    found = shown(version="0.0.7")
    assert found["label_smoothing"] == "the choice of transferkit 0.0.7"
    assert found["learning_rate"] == "0.003"  # recorded


def test_a_chosen_classifier_is_named():
    metrics = metrics_of({"candidates": [{"name": "a"}, {"name": "ridge on all", "chosen": True}]})
    assert effective(manifest(head="auto"), metrics, FACTS)["head"] == "ridge on all (auto)"


def test_what_a_chosen_classifier_learnt_from_is_told_where_nothing_was_said_of_it():
    chosen = manifest()
    chosen.learnt_from = "train+val"
    found = effective(chosen, metrics_of({}), FACTS)
    assert (found["refit"], found["views"]) == ("train+val", "2")
    found = shown(head="mlp")
    assert (found["refit"], found["views"]) == ("train", "4")
    assert (shown(views=3)["views"], shown(augment="none")["views"]) == ("3", "0")


def test_given_settings_are_those_of_the_command():
    assert given(manifest(dropout=0.1)) == ["backbone", "dropout"]
