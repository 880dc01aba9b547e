"""Which settings tell runs apart."""

from tests import toy
from trainer.run.chosen_settings import ALWAYS, chosen_settings
from trainer.run.job_config import FREE_SETTINGS
from trainer.settings.resolve import resolve
from trainer.settings.setting import Setting


def chosen(**settings):
    overrides = {tuple(name.split(".")): Setting(value, "") for name, value in settings.items()}
    return chosen_settings(resolve(toy.ROOT / "configs" / "sst2.yaml", overrides).config)


def test_what_differs_from_the_defaults_is_chosen_and_what_is_always_asked_for():
    plain = chosen()
    assert plain["train.optimizer"] == "adamw" and plain["head.name"] == "classification"
    assert "train.momentum" not in plain and "train.steps" not in plain
    assert chosen(**{"train.momentum": 0.5})["train.momentum"] == 0.5


def test_what_changes_no_number_is_left_out():
    settings = {
        "train.lanes": 2,
        "data.cache_dir": "/x",
        "log.trackers": ["mlflow"],
        "export.format": "none",
    }
    assert set(settings) <= set(FREE_SETTINGS) and not set(FREE_SETTINGS) & set(ALWAYS)
    assert chosen(**settings) == chosen()


def test_values_are_plain():
    values = chosen(**{"data.exclude_labels": ["a", "ü"], "train.clip_norm": None})
    assert values["data.exclude_labels"] == '["a", "ü"]'
    assert values["train.clip_norm"] == "null"
    assert all(isinstance(value, (bool, int, float, str)) for value in values.values())
