"""`podtune settings`."""

from __future__ import annotations

import pytest

from podtune import settings_list
from trainer.errors import ConfigError
from trainer.settings import flags


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert settings_list.run(words) == 0
    return capsys.readouterr().out


def test_all_settings_are_listed_in_their_sections(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = listed(capsys).splitlines()
    names = [line.split()[0] for line in lines if line.startswith("  ")]
    assert names == list(flags.setting_flags())
    assert max(map(len, lines)) <= 80
    titles = [line.split(":")[0] for line in lines if line and not line.startswith(" ")]
    sections = dict.fromkeys(name.split(".")[0] for name in names)
    assert titles[:-1] == list(sections)


@pytest.mark.parametrize("word", ["train.learning_rate", "--train.learning_rate", "lr"])
def test_a_setting_is_found_by_its_names(word, capsys):
    out = listed(capsys, word)
    assert "--train.learning_rate: number > 0, <= 10 (default: 5.0e-05)" in out


def test_a_setting_is_found_by_its_meaning(capsys):
    assert "--train.ema_decay" in listed(capsys, "moving average")


def test_all_words_count(capsys):
    out = listed(capsys, "checkpoint", "steps")
    assert "--train.checkpoint_every_steps" in out
    assert "--train.keep_checkpoints" not in out


def test_a_word_that_is_nowhere_is_told(capsys):
    with pytest.raises(ConfigError, match=r"learnin_rat: no setting .* mean train.learning_rate"):
        settings_list.run(["learnin_rat"])
