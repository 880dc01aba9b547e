"""`podtune completion SHELL`: asked of the shells themselves."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

from podtune import completion
from podtune.verbs import VERBS
from trainer.settings import flags

needs = {
    shell: pytest.mark.skipif(shutil.which(shell) is None, reason=f"there is no {shell}")
    for shell in ("bash", "zsh", "fish")
}


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert completion.run([shell]) == 0
    return capsys.readouterr().out


def in_bash(text: str, line: str, folder: pathlib.Path) -> list[str]:
    program = f"""{text}
COMP_LINE='{line}' COMP_POINT={len(line)} COMP_WORDS=({line}) COMP_CWORD={line.count(" ")}
_podtune
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@needs["bash"]
def test_bash_completes_verbs_settings_values_and_files(capsys, tmp_path):
    (tmp_path / "reviews.yaml").touch()
    text = script("bash", capsys)
    assert in_bash(text, "podtune ev", tmp_path) == ["evaluate"]
    assert in_bash(text, "podtune ", tmp_path) == list(VERBS)
    assert in_bash(text, "podtune train rev", tmp_path) == ["reviews.yaml"]
    assert in_bash(text, "podtune train --train.learn", tmp_path) == ["--train.learning_rate="]
    assert in_bash(text, "podtune train --train.optimizer=ada", tmp_path) == [
        "adam",
        "adamw",
        "adafactor",
    ] or in_bash(text, "podtune train --train.optimizer=ada", tmp_path) == [
        "adamw",
        "adam",
        "adafactor",
    ]
    assert in_bash(text, "podtune train --job_dir=rev", tmp_path) == ["reviews.yaml"]
    settings = in_bash(text, "podtune train --data.", tmp_path)
    assert settings == [f"--{name}=" for name in flags.setting_flags() if name.startswith("data.")]


@needs["zsh"]
def test_zsh_takes_the_script(capsys):
    text = script("zsh", capsys)
    subprocess.run(["zsh", "-n"], input=text, text=True, check=True)
    program = f"compdef() {{ }}\n{text}\nwhence -w _podtune"
    done = subprocess.run(["zsh", "-f", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "_podtune: function\n"
    assert done.stderr == ""


@needs["fish"]
def test_fish_completes_verbs_and_values(capsys, tmp_path):
    text = script("fish", capsys)
    program = f"{text}\ncomplete -C 'podtune ev'\ncomplete -C 'podtune train --train.xla='"
    done = subprocess.run(
        ["fish", "--no-config", "-c", program],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    offered = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert offered[0] == "evaluate"
    assert {"--train.xla=auto", "--train.xla=off"} <= set(offered)


@pytest.mark.parametrize("shell", completion.SCRIPTS)
def test_every_setting_is_completed(shell, capsys):
    text = script(shell, capsys)
    for name in flags.setting_flags():
        assert f"--{name}" in text or f"-l {name}" in text
