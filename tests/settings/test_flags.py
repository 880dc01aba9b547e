"""Settings as flags."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.toy import ROOT
from trainer.errors import ConfigError
from trainer.settings import flags, schema, sections
from trainer.settings.resolve import resolve
from trainer.settings.types_in_words import describe_type


def overrides(*arguments):
    return {
        ".".join(name): setting.value
        for name, setting in flags.parse(["task", *arguments]).overrides.items()
    }


def problem(*arguments):
    with pytest.raises(ConfigError) as caught:
        flags.parse(["task", *arguments])
    return str(caught.value)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("--train.learning_rate=3e-5", 3e-5),
        ("--train.epochs=2", 2),
        ("--train.clip_norm=null", None),
        ("--backbone.freeze_embeddings=true", True),
        ("--backbone.freeze_embeddings", True),
        ("--nobackbone.freeze_embeddings", False),
        ("--data.train=007", "007"),
        ("--data.train=a: b", "a: b"),
        ("--data.text=[q, a]", ["q", "a"]),
        ("--data.validation=0.2", 0.2),
        ("--data.validation=dev.jsonl", "dev.jsonl"),
        ("--data.label=yes", "yes"),
        ("--data.cache_dir=null", None),
        ("--data.text=null", "null"),
        ("--head.class_weights={a: 2.0}", {"a": 2.0}),
        ("--head.class_weights=balanced", "balanced"),
        ("--head.labels=[x, y]", ["x", "y"]),
        ("--data.train=今天.jsonl", "今天.jsonl"),
        ("--data.train=[", "["),
    ],
)
def test_a_flag_is_read_as_its_setting_allows(argument, value):
    (read,) = overrides(argument).values()
    assert read == value and type(read) is type(value)


def test_a_flag_wins_over_the_file_and_is_its_origin(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(
        "head: {name: classification}\nbackbone: {weights: w}\ndata: {source: jsonl, train:"
        " d}\ntrain: {epochs: 1}\n"
    )
    command = flags.parse(
        ["task", f"--config={file}", "--train.epochs=2", "--train.learning_rate=3e-5"]
    )
    resolved = resolve(file, command.overrides)
    assert (resolved.config.train.epochs, resolved.config.train.learning_rate) == (2, 3e-5)
    assert resolved.origins["train", "epochs"] == "--train.epochs"
    assert command.config == str(file) and command.mode == "train"


def test_one_call_does_not_remember_another():
    assert overrides("--train.epochs=2") == {"train.epochs": 2}
    assert overrides("--train.seed=2") == {"train.seed": 2}


def test_every_unknown_flag_is_named_with_the_nearest():
    message = problem("--train.learning_rat=1", "--seq_len=5", "--zzz", "surplus")
    assert "unknown flag --train.learning_rat. Did you mean --train.learning_rate?" in message
    assert "unknown flag --seq_len. Did you mean --data.seq_len?" in message
    assert (
        "unknown flag --per_device_train_batch_size. Did you mean --train.global_batch_size?"
        in problem("--per_device_train_batch_size=8")
    )
    assert "unknown flag --zzz. --help lists every flag." in message
    assert "unexpected argument 'surplus': every setting is --SECTION.KEY=VALUE." in message


def test_a_mode_that_is_none_is_refused():
    assert (
        "--mode: expected one of train, plan, evaluate, predict, export, report. Received 'trian'."
        " Did you mean train?" in problem("--mode=trian")
    )


def test_a_flag_without_its_value_is_refused():
    assert "--train.epochs" in problem("--train.epochs")


def test_a_flag_with_nothing_behind_its_sign_is_no_null():
    """Such as --train.epochs=$EPOCHS, where the variable is not set."""
    message = problem("--train.epochs=", "--backbone.freeze_layers=", "--seqlen=5")
    assert message.count("\n") == 2
    assert "--train.epochs: no value. Expected number > 0 or null." in message
    assert "--job_dir: the path is empty." in problem("--job_dir=")
    assert overrides("--data.cache_dir=") == {"data.cache_dir": ""}


def test_what_only_predict_takes_is_not_ignored_elsewhere():
    assert (
        problem("--input=rows.jsonl")
        == "--input: only --mode=predict takes it. Received --mode=train."
    )


def test_no_problem_of_a_command_line_hides_another():
    message = problem("stray", "--zzz=1", *(f"--unknown_{number}" for number in range(3000)))
    assert message.startswith("unexpected argument 'stray'")
    assert message.endswith("\nand 2,982 more") and len(message) < 3000


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--\x1b[2J=3", r"unknown flag --\x1b[2J. --help"),
        ("--mode=\x1b[2J", r"Received '\x1b[2J'."),
        ("--nobackbone.freeze_embeddings=3", "does not take an argument"),
        ("--data.train=\udcff.csv", r"--data.train=\udcff.csv: is not UTF-8."),
        ("--" + "x" * 100_000, "xxx…. --help lists every flag."),
    ],
)
def test_an_odd_argument_is_shown_escaped_and_cut(argument, expected):
    assert expected in problem(argument) and len(problem(argument)) < 500


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (
            "--train.epochs=2\n# a comment\n// another\n\n  --train.seed=3  \n",
            {"train.epochs": 2, "train.seed": 3},
        ),
        ("--backbone.freeze_embeddings\r\n", {"backbone.freeze_embeddings": True}),
    ],
)
def test_a_flagfile_holds_flags(tmp_path, content, value):
    file = tmp_path / "flags.txt"
    file.write_text(content)
    assert overrides(f"--flagfile={file}") == overrides("--flagfile", str(file)) == value
    assert overrides(f"--flagfile={file}", "--train.epochs=5")["train.epochs"] == 5


def test_a_flagfile_that_cannot_be_read_is_named(tmp_path):
    own = tmp_path / "own"
    other = tmp_path / "other"
    stray = tmp_path / "stray"
    own.write_text(f"--flagfile={other}\n")
    other.write_text(f"--flagfile={own}\n")
    stray.write_text("train.epochs=2\n")
    assert (
        problem(f"--flagfile={own}")
        == f"--flagfile={own}: names itself, by {other}. Remove that line."
    )
    assert "--flagfile=nowhere: cannot be read: No such file or directory." in problem(
        "--flagfile=nowhere"
    )
    assert "it is a device" in problem("--flagfile=/dev/zero")
    assert (
        problem("--flagfile")
        == problem("--flagfile=")
        == "--flagfile: no path. Expected --flagfile=FILE, a file with one flag a line."
    )
    assert "Received 'train.epochs=2'." in problem(f"--flagfile={stray}")
    (tmp_path / "empty").touch()
    assert "more than 20 files" in problem(*[f"--flagfile={tmp_path / 'empty'}"] * 21)


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=12), max_size=4))
def test_no_command_line_ends_in_a_traceback(arguments):
    try:
        flags.parse(["task", *arguments])
    except ConfigError as error:
        assert str(error)


def test_help_lists_every_setting_with_type_default_and_meaning():
    entries = dict(entry.split(": ", 1) for entry in flags.help_text().split("\n  --")[1:])
    for section in schema.Config.model_fields:
        for cls in sections.section_classes(section).values():
            for key, field in cls.model_fields.items():
                heading, meaning = entries[f"{section}.{key}"].split("\n", 1)
                assert heading and meaning.strip()
                if key not in ("name", "source"):
                    assert describe_type(field) in heading or describe_type(field) in meaning
                    assert field.description in meaning
    for section, (key, _) in sections.PLUGIN_KEYS.items():
        choices = sections.section_classes(section)
        heading, *rows = entries[f"{section}.{key}"].split("\n")
        assert heading == f"one of {', '.join(choices)}"
        assert [row.split(":")[0].strip() for row in rows[1:]] == list(choices)
        assert all(row.split(": ", 1)[1] for row in rows[1:])
    assert (
        "    parallel: line-aligned files" in entries["data.source"]
        and "managed_dataset" in entries["data.source"]
    )
    assert (
        "(default: 5.0e-05)" in entries["train.learning_rate"]
        and "(default" not in entries["train.steps"]
    )
    assert {"config", "job_dir", "mode", "input", "output", "help"} <= set(entries)


@pytest.mark.parametrize("module", ["trainer.task", "trainer.vertex"])
def test_help_is_printed_where_there_is_only_ascii(module):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    shown = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert (shown.returncode, shown.stderr) == (0, "") and shown.stdout.startswith(
        "python -m trainer."
    )
