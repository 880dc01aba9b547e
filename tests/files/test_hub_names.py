"""A name of the Hugging Face hub where a folder was expected."""

import pytest

from trainer.errors import ConfigError
from trainer.files.hub_names import OF_MODEL, offer
from trainer.files.storage import expand, local_folder


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("bert-base-uncased", "On the Hugging Face hub it is hf://google-bert/bert-base-uncased."),
        ("Bert-Base-Uncased", "hf://google-bert/bert-base-uncased."),
        ("bert-base-uncase", "hf://google-bert/bert-base-uncased."),
        ("gpt2", "hf://openai-community/gpt2."),
        ("roberta-base@main", "hf://FacebookAI/roberta-base@main."),
        ("all-MiniLM-L6-v2", "hf://sentence-transformers/all-MiniLM-L6-v2."),
        ("chinese-roberta-wwm-ext", "hf://hfl/chinese-roberta-wwm-ext."),
        ("google-bert/bert-base-uncased", "write hf://google-bert/bert-base-uncased."),
        ("some-org/some_model.v2@abc", "write hf://some-org/some_model.v2@abc."),
        (
            "https://huggingface.co/google-bert/bert-base-uncased/tree/main",
            "write hf://google-bert/bert-base-uncased.",
        ),
    ],
)
def test_what_to_write_for_a_name_of_the_hub(path, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert offer(path).endswith(expected)
    for find in (local_folder, expand):
        with pytest.raises(ConfigError) as caught:
            find(path, key="backbone.weights")
        assert expected in str(caught.value) and str(caught.value).startswith("backbone.weights: ")


@pytest.mark.parametrize(
    "path",
    [
        "weights",
        "/models/bert",
        "../bert",
        "weights/bert",
        "a/b/c",
        "gs://bucket/bert",
        "pkg://module/folder",
        "model.bin",
        "x" * 100_000,
    ],
)
def test_a_path_is_offered_nothing(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    assert offer(path) == ""


def test_data_is_not_looked_for_on_the_hub(tmp_path):
    with pytest.raises(ConfigError) as caught:
        expand("some-org/data", key="data.train")
    assert "hf://" not in str(caught.value)


def test_the_table_names_each_model_once():
    assert len(OF_MODEL) > 60 and all(name.count("/") == 1 for name in OF_MODEL.values())
