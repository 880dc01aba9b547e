"""`podtune VERB …`: help, mistakes, and that a verb does what its mode does."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys

import pytest

from podtune import command, modes
from podtune.verbs import VERBS
from tests.toy import ROOT
from trainer import __version__, task
from trainer.errors import ConfigError
from trainer.settings import flags

LINES = 25  # of help, at most


def run(
    *arguments: str, package: str = "podtune", **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", package, *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints in this process, which is quicker."""
    assert command.main(arguments) == 0
    return capsys.readouterr().out


def started(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[str]:
    """The command line of the trainer that a verb becomes."""
    seen: list[list[str]] = []
    monkeypatch.setattr(task, "main", lambda argv: seen.append(argv) or 0)
    assert command.main(arguments) == 0
    return seen[0]


@pytest.mark.parametrize("columns", ["80", "160"])
@pytest.mark.parametrize("arguments", [["-h"], *([name, "-h"] for name in VERBS)], ids=" ".join)
def test_help_is_short_and_has_four_examples(arguments, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    lines = said(capsys, *arguments).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= int(columns)
    examples = lines[lines.index("examples:") :]
    assert (
        sum(
            line.startswith("  podtune") or "| podtune" in line or "$(podtune" in line
            for line in examples
        )
        == 4
    )


def test_all_ways_to_ask_for_help_are_one(capsys):
    pages = {said(capsys, *arguments) for arguments in ([], ["-h"], ["--help"], ["help"])}
    assert len(pages) == 1
    assert said(capsys, "help", "train") == said(capsys, "train", "--help")


def test_a_name_keeps_its_capitals_in_help(capsys):
    assert "Serve a trained model on Vertex AI.\n" in said(capsys, "deploy", "-h")


def test_the_version_is_told():
    assert run("--version").stdout == f"podtune {__version__}\n"


def test_python_m_trainer_is_the_same():
    done = run("-h", package="trainer")
    assert done.stdout == run("-h").stdout


def test_help_imports_neither_tensorflow_nor_pydantic():
    program = """
import sys
from podtune import command
command.front_page(), command.verb_page("train")
print([name for name in ("tensorflow", "pydantic", "keras") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown verb trian. Did you mean train? Expected one of init, train"),
        (["--config=x.yaml"], "--config=x.yaml: a verb comes first."),
        (["train", "a.yaml", "b.yaml"], "expected one CONFIG. Received 2: a.yaml, b.yaml."),
        (["plan", "a.yaml", "--mode=train"], "--mode: podtune plan says it already."),
        (["train", "a.yaml", "--config=b.yaml"], "--config: a.yaml says it already."),
        (["evaluate", "runs/a", "--job_dir=runs/b"], "--job_dir: runs/a says it already."),
        (["train", "reviews.csv"], "podtune init reviews.csv writes a config for it."),
        (["train", "a.yaml", "--train.epoch=1"], "unknown flag --train.epoch."),
        (["evaluate"], "--job_dir: missing."),
        (["submit", "a.yaml", "b.yaml"], "podtune submit: expected one CONFIG."),
        (["completion", "csh"], "expected one of bash, zsh, fish. Received csh."),
        (["doctor", "--fast"], "expected --quick, --json or nothing. Received --fast."),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_message(arguments, message, capsys):
    assert command.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err


def test_a_mistake_of_the_command_is_an_exit_code():
    done = run("trian")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown verb trian.")
    assert done.stdout == ""


def test_a_config_is_given_by_its_place(monkeypatch):
    argv = started(monkeypatch, "train", "a.yaml", "--train.epochs=1", "--job_dir", "runs/b")
    assert argv == [
        "podtune train",
        "--mode=train",
        "--config=a.yaml",
        "--train.epochs=1",
        "--job_dir",
        "runs/b",
    ]


def test_a_flags_value_is_no_config(monkeypatch):
    argv = started(monkeypatch, "train", "--train.epochs", "1", "a.yaml")
    assert argv == ["podtune train", "--mode=train", "--config=a.yaml", "--train.epochs", "1"]


@pytest.mark.parametrize("mode", ["evaluate", "export"])
def test_a_run_is_given_by_its_folder(mode, monkeypatch):
    argv = started(monkeypatch, mode, "runs/a")
    assert argv == [f"podtune {mode}", f"--mode={mode}", "--job_dir=runs/a"]


def test_train_goes_on_with_a_run(tmp_path: pathlib.Path, monkeypatch):
    (tmp_path / "config.yaml").write_text("")
    argv = started(monkeypatch, "train", f"{tmp_path}/")
    assert argv[2:] == [f"--config={tmp_path}/config.yaml", f"--job_dir={tmp_path}"]
    argv = started(monkeypatch, "plan", str(tmp_path))
    assert argv[2:] == [f"--config={tmp_path}/config.yaml"]


def test_train_goes_on_with_a_run_in_a_bucket(monkeypatch):
    argv = started(monkeypatch, "train", "gs://bucket/runs/a")
    assert argv[2:] == ["--config=gs://bucket/runs/a/config.yaml", "--job_dir=gs://bucket/runs/a"]


def test_predict_reads_standard_input_by_itself(monkeypatch):
    assert started(monkeypatch, "predict", "runs/a")[2:] == ["--job_dir=runs/a", "--input=-"]
    argv = started(monkeypatch, "predict", "runs/a", "--input=x.jsonl")
    assert argv[2:] == ["--job_dir=runs/a", "--input=x.jsonl"]


def test_the_words_of_a_command_line_are_told_from_values():
    words, others = flags.split_words(
        ["--data.text", "a.yaml", "a.yaml", "--export.batch_invariant", "b"], flags.OWN
    )
    assert words == ["a.yaml", "b"]
    assert others == ["--data.text", "a.yaml", "--export.batch_invariant"]


def test_the_exit_code_of_a_mode_is_passed_on(monkeypatch):
    monkeypatch.setattr(task, "main", lambda argv: 2)
    assert command.main(["train", "a.yaml"]) == 2


def test_only_word_counts():
    assert modes.only_word("train", "CONFIG", []) is None
    with pytest.raises(ConfigError, match="expected one CONFIG"):
        modes.only_word("train", "CONFIG", ["a", "b"])


@pytest.mark.parametrize("name", VERBS)
def test_the_flags_of_every_example_exist(name):
    known = set(flags.setting_flags()) | {flag.name for flag in flags.OWN}
    known |= {option.lstrip("-").split("=")[0] for option, _ in VERBS[name].takes}
    if name in ("submit", "deploy"):
        from trainer.vertex import command_line

        known |= {flag.name for flag in command_line.own_flags()}
    if name == "init":
        known.add("example")
    for example in VERBS[name].examples:
        for word in shlex.split(example):
            if word.startswith("--"):
                assert word.lstrip("-").split("=")[0] in known, word
