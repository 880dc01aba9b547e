"""What a model card says, and that nothing in it is taken for Markdown, YAML or a secret."""

from __future__ import annotations

import dataclasses
import html
import pathlib
import re
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from trainer.heads._hub_task import of_pipeline
from trainer.serve.card_text import SHOWN_LABELS
from trainer.serve.model_card import Facts, Signature, huggingface_card, saved_model_card
from trainer.settings.resolve import resolve

TASK = of_pipeline(
    "text-classification", "AutoModelForSequenceClassification", {"text": "A sample."}
)
SIGNATURES = [Signature("serving_default", ["text"], ["label", "probabilities"])]
HOSTILE = [
    "plain",
    "with | a bar",
    "`ticks` and ``more``",
    "`",
    "<script>alert(1)</script>",
    "[link](https://example.org) ![image](x.png)",
    "two\nlines\n---\n# heading",
    "*bold* _under_ ~~gone~~ \\ $x$",
    "中文标签",
    "",
    " blank ends ",
]


@pytest.fixture
def facts(tmp_path, monkeypatch) -> Facts:
    """Of a run in a working directory of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Facts(
        name="reviews",
        config=config_of(tmp_path),
        task=TASK,
        backbone="bert encoder (6 layers, 384 wide)",
        parameters=22_713_216,
        pretrained=True,
        labels=("neg", "pos"),
        overflow="truncate",
        language=None,
        sizes={"train": 1779, "validation": 222},
        scores={"validation": {"accuracy": 0.97748, "f1_macro": 0.5, "loss": 0.1}},
        steps=112,
        epochs=2.0,
        kept_step=100,
        losses={"texts longer than seq_len, cut": {"train": 1200, "validation": 3}},
        versions={"podtune": "0.1.0", "TensorFlow": "2.21.0"},
    )


def config_of(folder: pathlib.Path, **sections: dict[str, Any]):
    """A config of files with these settings laid over it."""
    values: dict[str, dict[str, Any]] = {
        "head": {"name": "classification"},
        "backbone": {"weights": "hf://google-bert/bert-base-chinese@v1.0"},
        "data": {"source": "jsonl", "train": "data/train.jsonl", "validation": 0.1},
    }
    for section, keys in sections.items():
        values[section] = {**values.get(section, {}), **keys}
    file = folder / "of_card.yaml"
    file.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return resolve(file).config


def both(facts: Facts) -> list[str]:
    """The cards of the two formats."""
    return [saved_model_card(facts, SIGNATURES), huggingface_card(facts)]


def loaded(text: str, folder: pathlib.Path) -> ModelCard:
    """A card as the hub's client reads it from a file."""
    (folder / "README.md").write_text(text, encoding="utf-8")
    return ModelCard.load(folder / "README.md")


def shown(text: str) -> str:
    """A card as a Markdown renderer shows it."""
    body = text.split("\n---\n", 1)[1]
    return MarkdownIt("gfm-like", {"linkify": False}).render(body)


def test_the_metadata_is_the_hubs(facts, tmp_path):
    card = loaded(saved_model_card(facts, SIGNATURES), tmp_path)
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.library_name == "tensorflow"
    assert card.data.base_model == "google-bert/bert-base-chinese"
    assert card.data.base_model_relation == "finetune"
    assert card.data.tags == ["podtune", "saved-model"]
    assert card.data.get("datasets") is None and card.data.get("language") is None
    results = {result.metric_name: result for result in card.data.eval_results}
    assert card.data.model_name == "reviews" and set(results) == {"accuracy", "f1_macro", "loss"}
    accuracy = results["accuracy"]
    assert (accuracy.metric_value, accuracy.dataset_split) == (0.97748, "validation")
    assert (accuracy.dataset_name, accuracy.dataset_type) == ("data/train.jsonl", "jsonl")
    assert results["f1_macro"].metric_type == "f1"
    assert card.data.metrics == ["accuracy", "f1"]


def test_a_hugging_face_folder_has_the_tag_of_what_its_class_does(facts, tmp_path):
    assert loaded(huggingface_card(facts), tmp_path).data.library_name == "transformers"
    prompt = of_pipeline(
        "text-classification",
        "AutoModelForMaskedLM",
        {"text": "A sample."},
        folder_tag="fill-mask",
        asked="A sample. It was [MASK].",
    )
    facts = dataclasses.replace(facts, task=prompt)
    tags = [loaded(text, tmp_path).data.pipeline_tag for text in both(facts)]
    assert tags == ["text-classification", "fill-mask"]
    assert 'ask = pipeline("fill-mask", model="FOLDER")' in huggingface_card(facts)
    assert 'ask("A sample. It was [MASK].")' in huggingface_card(facts)


def test_a_public_data_set_is_named(facts, tmp_path):
    data = {"source": "tfds", "tfds_name": "glue/sst2:2.0.0", "train": "train[:80%]"}
    facts = dataclasses.replace(facts, config=config_of(tmp_path, data=data))
    card = loaded(huggingface_card(facts), tmp_path)
    assert card.data.datasets == ["glue"]
    result = card.data.eval_results[0]
    assert (result.dataset_type, result.dataset_config) == ("glue", "sst2")
    assert "| train | 1,779 | `train[:80%]` |" in card.text


def test_a_head_that_the_hub_has_no_name_for_has_no_tag(facts, tmp_path):
    for text in both(dataclasses.replace(facts, task=None)):
        card = loaded(text, tmp_path)
        assert card.data.get("pipeline_tag") is None
        assert card.data.get("eval_results") is None


def test_a_model_that_was_not_scored_has_no_scores(facts, tmp_path):
    for text in both(dataclasses.replace(facts, scores={})):
        assert "## Scores" not in text and "scores" not in text.lower()
        data = loaded(text, tmp_path).data
        assert data.get("eval_results") is None and data.get("model_name") is None


def test_the_scores_are_a_table_with_the_examples(facts):
    text = saved_model_card(facts, SIGNATURES)
    assert "| split | examples | `accuracy` | `f1_macro` | `loss` |" in text
    assert "| validation | 222 | 0.9775 | 0.5000 | 0.1000 |" in text


def test_what_preparation_lost_is_told_without_places(facts):
    text = huggingface_card(facts)
    assert "| texts longer than seq_len, cut | 1,200 | 3 |  |" in text
    assert "at most 128 tokens: of a longer text the end is cut off." in text


def test_labels_from_outside_stay_text(facts, tmp_path):
    for text in both(dataclasses.replace(facts, labels=HOSTILE, name="<b>*a*</b>\n---\n# x")):
        loaded(text, tmp_path)
        page = shown(text)
        codes = [html.unescape(code) for code in re.findall(r"<code>(.*?)</code>", page, re.S)]
        for label in ("plain", "with | a bar", "`", "<script>alert(1)</script>", "中文标签"):
            assert label in codes
        assert "'two\\nlines\\n---\\n# heading'" in codes
        assert "''" in codes and "' blank ends '" in codes
        assert "<script>" not in page and "<a " not in page and "<img" not in page
        assert page.count("<h1>") == 1 and "<em>" not in page


def test_of_many_labels_the_first_are_shown(facts):
    labels = [f"label_{number}" for number in range(1234)]
    text = huggingface_card(dataclasses.replace(facts, labels=labels))
    line = next(line for line in text.splitlines() if line.startswith("1,234 labels: "))
    assert line.count("`label_") == SHOWN_LABELS
    assert line.endswith("`label_49` and 1,184 more.")


def test_no_path_of_this_machine_is_told(facts, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "anna"))
    backbone = {"weights": str(tmp_path / "secret" / "bert"), "tokenizer": "~/private/words"}
    data = {
        "train": str(tmp_path / "here" / "data" / "train.jsonl"),
        "validation": "../other/dev.jsonl",
        "test": "file:///etc/anna/test.jsonl",
        "cache_dir": str(tmp_path / "cache"),
    }
    config = config_of(
        tmp_path, backbone=backbone, data=data, export={"directory": str(tmp_path / "served")}
    )
    for text in both(dataclasses.replace(facts, config=config)):
        for hidden in (str(tmp_path), "secret", "private", "anna", "../", "/etc", "served"):
            assert hidden not in text
        for told in ("…/bert", "…/words", "`data/train.jsonl`", "`…/dev.jsonl`", "…/test.jsonl"):
            assert told in text


def test_the_config_of_a_card_repeats_the_run(facts, tmp_path):
    config = config_of(
        tmp_path,
        head={"kind": "multi_label", "labels": HOSTILE[:8], "threshold": 0.25},
        train={"epochs": 2, "learning_rate": 1e-4, "keep_checkpoints": 9},
    )
    text = huggingface_card(dataclasses.replace(facts, config=config))
    block = re.search(r"```yaml\n(.*?)```", text, re.S)
    assert block and "keep_checkpoints" not in block[1]  # which changes no numbers
    file = tmp_path / "again.yaml"
    file.write_text(block[1], encoding="utf-8")
    again = resolve(file).config
    assert again.head == config.head and again.data == config.data
    assert again.train.model_copy(update={"keep_checkpoints": 9}) == config.train


def test_a_long_setting_is_left_out(facts, tmp_path):
    config = config_of(tmp_path, head={"labels": [f"label {n}" for n in range(500)]})
    text = huggingface_card(dataclasses.replace(facts, config=config))
    assert re.search(r"^  # labels: left out, as it has [\d,]+ characters$", text, re.M)


def test_a_generating_model_is_asked_to_write(facts):
    signatures = [*SIGNATURES, Signature("generate", ["text"], ["generated_text", "score"])]
    text = saved_model_card(facts, signatures)
    assert 'model.signatures["generate"](text=tf.constant(["A sample."]))' in text
    assert "| `generate` | `text` | `generated_text`, `score` |" in text
