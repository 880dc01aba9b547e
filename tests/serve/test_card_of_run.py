"""The card in the exports of real runs: what it says of them, and that its Python works."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from huggingface_hub import ModelCard

from tests import toy
from trainer.backbones import huggingface
from trainer.console.display import Display
from trainer.files import ownership
from trainer.files.ownership import CARD, MARKER
from trainer.run.assembly import make_parts
from trainer.settings.resolve import resolve

# head -> the tag of what it serves, the class of its Hugging Face folder, the tag of that
TASKS = {
    "tags": ("token-classification", "AutoModelForTokenClassification", "token-classification"),
    "questions": ("question-answering", "AutoModelForQuestionAnswering", "question-answering"),
    "masked": ("fill-mask", "AutoModelForMaskedLM", "fill-mask"),
    "causal": ("text-generation", "AutoModelForCausalLM", "text-generation"),
    "target": ("text-generation", "AutoModelForCausalLM", "text-generation"),
    "prompt": ("text-classification", "AutoModelForMaskedLM", "fill-mask"),
    "last token": (
        "text-classification",
        "AutoModelForSequenceClassification",
        "text-classification",
    ),
}


def usage(card: pathlib.Path) -> str:
    """The Python of a card, which asks the folder that it is in."""
    (block,) = re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.S)
    return block.replace("FOLDER", str(card.parent))


def output_of(program: str) -> str:
    """What a program prints, in a process without the trainer."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=os.sep,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def exported(job: pathlib.Path, target: pathlib.Path, *flags: str) -> pathlib.Path:
    arguments = ["--mode=export", f"--export.directory={target}", *flags]
    assert toy.run_main(None, job, *arguments) == 0
    return target


def test_the_card_has_the_scores_of_the_run(trained):
    folder = trained / "model"
    assert CARD in json.loads((folder / MARKER).read_text())["files"]
    data = ModelCard.load(folder / CARD).data
    results = json.loads((trained / "results.json").read_text())
    told: dict[str, dict[str, float]] = {"validation": {}, "test": {}}
    for result in data.eval_results:
        told[result.dataset_split][result.metric_name] = result.metric_value
    assert told == {
        split: {name: round(value, 6) for name, value in results[split].items()} for split in told
    }
    plan = json.loads((trained / "plan.json").read_text())
    text = (folder / CARD).read_text()
    for split, facts in plan["splits"].items():
        assert f"| {split} | {facts['examples']} |" in text
    assert "2 labels: `neg`, `pos`." in text and "after step 30 of 30" in text
    assert str(trained.parent) not in text


def test_the_python_of_a_saved_models_card_asks_it(trained):
    said = output_of(usage(trained / "model" / CARD))
    assert re.search(r"label \[b'(neg|pos)'\]", said) and "probabilities [[" in said


def test_an_export_later_says_the_same(trained, tmp_path):
    job = shutil.copytree(trained, tmp_path / "job")
    flags = ("--export.format=huggingface", "--train.evaluation_batch_size=8")
    folder = exported(job, tmp_path / "hf", *flags)
    at_the_end = ModelCard.load(trained / "model" / CARD)
    later = ModelCard.load(folder / CARD)
    assert later.data.eval_results == at_the_end.data.eval_results
    assert later.data.library_name == "transformers"
    assert "evaluation_batch_size" not in later.text
    assert "AutoModelForSequenceClassification" in later.text
    assert ownership.require_whole(folder).keys() >= {CARD, "config.json", "model.safetensors"}


def test_a_run_without_results_has_a_card_without_scores(trained, tmp_path):
    job = shutil.copytree(trained, tmp_path / "job")
    (job / "results.json").unlink()
    (job / "plan.json").write_text("damaged")
    folder = exported(job, tmp_path / "hf", "--export.format=huggingface")
    card = ModelCard.load(folder / CARD)
    assert card.data.get("eval_results") is None and "## Scores" not in card.text
    assert "| train |  |" in card.text  # how many is not known
    assert "The weights are those after step 30." in card.text


def test_the_card_of_the_weights_is_of_another_model(toy_weights, tmp_path):
    weights = shutil.copytree(toy_weights, tmp_path / "weights")
    (weights / CARD).write_text("# another model")
    backbone, _ = huggingface.load_backbone(weights)
    huggingface.save_huggingface(tmp_path / "saved", backbone, weights, tokenizer_folder=weights)
    assert not (tmp_path / "saved" / CARD).exists()
    huggingface.save_huggingface(tmp_path / "saved", backbone, weights, card="# this one")
    assert (tmp_path / "saved" / CARD).read_text() == "# this one"


@pytest.mark.parametrize("kind", TASKS)
def test_each_head_has_the_hubs_name(kind, tmp_path):
    config = resolve(toy.write_head_config(tmp_path, kind, 8)).config
    task = make_parts(config, Display()).head.hub_task
    assert task is not None
    assert (task.tag, task.auto_class, task.folder_tag) == TASKS[kind]
    compile(task.usage, "usage", "exec")


@pytest.mark.parametrize(
    ("head", "text", "sample"),
    [
        ({"kind": "regression"}, "text", {"text"}),
        ({"kind": "multi_label"}, ["text", "id"], {"text", "text_pair"}),
    ],
)
def test_a_classifier_has_one_name_whatever_its_kind(head, text, sample, toy_weights, tmp_path):
    rows = toy.write_sentences(tmp_path / "train.jsonl", 8)
    file = toy.write_config(tmp_path, toy_weights, rows, head=head, data={"text": text})
    task = make_parts(resolve(file).config, Display()).head.hub_task
    assert task is not None and task.tag == "text-classification"
    assert set(task.sample) == sample


def test_chinese_is_known_by_its_letters(toy_weights, tmp_path):
    rows = [{"text": "今天天气很好" * (n % 3 + 1) + str(n), "label": n % 2} for n in range(40)]
    config = toy.write_config(
        tmp_path,
        toy_weights,
        toy.write_jsonl(tmp_path / "train.jsonl", rows),
        train={"steps": 1},
        export={"format": "huggingface"},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    assert ModelCard.load(tmp_path / "job" / "huggingface" / CARD).data.language == "zh"


@pytest.mark.slow
@pytest.mark.parametrize("kind", TASKS)
def test_the_python_of_each_heads_saved_model_asks_it(kind, tmp_path):
    export = {"format": "savedmodel", "check_examples": 2}
    config = toy.write_head_config(tmp_path, kind, 40, train={"steps": 1}, export=export)
    assert toy.run_main(config, tmp_path / "job") == 0
    assert output_of(usage(tmp_path / "job" / "model" / CARD))


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="there is no PyTorch")
@pytest.mark.parametrize("kind", TASKS)
def test_the_python_of_each_heads_folder_asks_it_live(kind, tmp_path):
    values = toy.HEADS[kind][1]
    crf = ("--head.crf=false",) if values.get("crf") else ()
    config = toy.write_head_config(tmp_path, kind, 40, train={"steps": 1})
    assert toy.run_main(config, tmp_path / "job", "--export.format=huggingface", *crf) == 0
    assert output_of(usage(tmp_path / "job" / "huggingface" / CARD))
