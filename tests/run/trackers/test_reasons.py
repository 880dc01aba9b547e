"""What a tracker says went wrong, without secrets."""

import pytest

from trainer.run.trackers.reasons import shown_reason


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "API request to http://me:opensesame@host:5000/api failed.\nMore",
            "API request to http://***@host:5000/api failed",
        ),
        ("postgresql://me:a%40b@db/x: refused", "postgresql://***@db/x: refused"),
        ("see https://mlflow.org/docs a@b.c", "see https://mlflow.org/docs a@b.c"),
        ("key 0123456789abcdef is wrong", "key *** is wrong"),
        ("", "OSError"),
    ],
)
def test_it_is_one_line_without_credentials(monkeypatch, said, shown):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    assert shown_reason(OSError(said)) == shown


def test_it_is_cut_and_escaped():
    shown = shown_reason(OSError("\x1b[2J" + "x" * 1000))
    assert shown.startswith("\\x1b[2J") and len(shown) <= 300
