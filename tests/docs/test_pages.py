"""The documentation: true, linked, short, and the same in both languages."""

import re
import statistics
from collections.abc import Iterable

import pytest
import yaml

from podtune.verbs import VERBS
from tests.docs import pages
from tests.docs.pages import ROOT
from trainer.settings import flags
from trainer.settings.resolve import resolve

SETTINGS = flags.setting_flags()
SECTIONS = sorted({name.split(".")[0] for name in SETTINGS})
NAMED = re.compile(rf"(?<![\w.])(?:{'|'.join(SECTIONS)})\.[a-z_0-9]+\b(?!\()")
# files that a page may name, which look like settings
FILES = {"data.csv", "data.jsonl", "train.csv", "train.tsv", "train.jsonl", "train.de", "train.en"}
FILES |= {"train.txt", "train.conll", "plan.json", "train.json", "train.conllu"}
FILES |= {"report.html", "report.json", "report.txt"}
OWN_FLAGS = {"config", "job_dir", "input", "output", "mode", "flagfile", "help", "version"}
CLOUD = ("submit", "deploy")


def named_settings(text: str) -> set[str]:
    """The settings that a text names by their dotted names."""
    names = {found for found in NAMED.findall(text) if not found.endswith(".md")}
    return names - FILES


def each_page(group: Iterable = pages.PAGES):
    return pytest.mark.parametrize("page", group, ids=pages.name)


@each_page()
def test_links_lead_somewhere(page):
    for target in pages.links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in pages.anchors(file), target


@each_page(pages.ENGLISH)
def test_sentences_are_short(page):
    lengths = [len(sentence.split()) for sentence in pages.sentences(page)]
    if len(lengths) > 5:
        assert statistics.mean(lengths) <= 18
        assert max(lengths) <= 60


@each_page(pages.ENGLISH)
def test_lines_fit(page):
    if page.name in ("changelog.md", "settings.md", "api.md"):
        pytest.skip("generated, or one entry a line")
    lines = pages.outside_blocks(page).splitlines()
    wide = [line for line in lines if len(line) > 100 and not line.startswith("|")]
    assert wide == []


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.split()) <= 900
    assert [line for line in text.splitlines() if len(line) > 100] == []


@each_page()
def test_every_setting_that_is_named_exists(page):
    if page.name == "changelog.md":
        pytest.skip("tells of the past")
    text = re.sub(r"[\w./:-]*/[\w./-]*", " ", pages.told(page))  # no paths
    unknown = {name for name in named_settings(text) if name not in SETTINGS}
    assert unknown == set()


@each_page()
def test_every_command_is_one(page):
    for command in pages.commands(page):
        for verb, *arguments in pages.podtune_calls(command.line):
            if verb in ("-h", "--version", "help"):
                continue
            assert verb in VERBS or command.fails, command.line
            for argument in arguments:
                flag = argument.partition("=")[0].removeprefix("--")
                if not argument.startswith("--") or command.fails:
                    continue
                told = " ".join(f"{name} {meaning}" for name, meaning in VERBS[verb].takes)
                known = flag in SETTINGS or flag in OWN_FLAGS or f"--{flag}" in told
                assert known or verb in CLOUD, command.line


@each_page()
def test_every_whole_config_is_one(page, tmp_path):
    for block in pages.blocks(page, "yaml"):
        content = yaml.safe_load(block.text)
        if not isinstance(content, dict) or not set(content) <= set(SECTIONS):
            continue
        for section, keys in content.items():
            unknown = [key for key in keys if f"{section}.{key}" not in SETTINGS]
            assert unknown == [], block.text
        if {"head", "backbone", "data"} <= set(content):
            file = tmp_path / "config.yaml"
            file.write_text(block.text, encoding="utf-8")
            resolve(file, {})


@pytest.mark.parametrize("twins", pages.TWINS, ids=lambda twins: pages.name(twins[1]))
def test_both_languages_have_the_same_commands_and_settings(twins):
    english, chinese = twins
    verbs = [
        sorted(
            call[0]
            for command in pages.commands(page)
            for call in pages.podtune_calls(command.line)
        )
        for page in twins
    ]
    assert verbs[0] == verbs[1]
    assert named_settings(pages.told(english)) == named_settings(pages.told(chinese))
    languages = [[block.language for block in pages.blocks(page)] for page in twins]
    assert languages[0] == languages[1]
    assert pages.heading_levels(english) == pages.heading_levels(chinese)


def test_generated_pages_are_up_to_date():
    from scripts import write_docs

    for page, write in write_docs.PAGES.items():
        written = (pages.DOCS / page).read_text("utf-8")
        assert written == write(), f"run scripts/write_docs.py: {page} is of an earlier state"


@pytest.mark.heavy
def test_the_table_of_models_is_what_plan_computes():
    from scripts import model_table

    rows = model_table.table().splitlines()[2:]
    text = (pages.DOCS / "choose.md").read_text("utf-8")
    for row in rows:
        assert row in text
