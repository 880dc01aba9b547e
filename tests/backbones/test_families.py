"""Families are found by their files, and each is proved beside PyTorch."""

import sys

import pytest

from tests.golden.cases import BACKBONES, CLASSES
from trainer.backbones import families as package
from trainer.backbones.families import families
from trainer.backbones.huggingface import read_config, require_weights_that_fit
from trainer.backbones.huggingface.recognition import family_of
from trainer.backbones.huggingface.safetensors_files import read_headers


@pytest.fixture
def new_file(tmp_path, monkeypatch):
    (tmp_path / "camembert.py").write_text(
        "import dataclasses\n"
        "from trainer.backbones.families import roberta\n"
        "FAMILY = dataclasses.replace(\n"
        "    roberta.FAMILY, model_type='camembert', class_name='Camembert', marks=None\n"
        ")\n"
    )
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    families.cache_clear()
    yield
    families.cache_clear()
    del sys.modules["trainer.backbones.families.camembert"]


def test_a_family_is_one_file(new_file):
    assert families()["camembert"].class_for("ForMaskedLM") == "CamembertForMaskedLM"
    assert family_of({}, "CamembertForTokenClassification") == "camembert"


@pytest.mark.parametrize("family", families().values(), ids=lambda family: family.model_type)
def test_every_task_of_a_family_has_its_golden_case(family):
    tasks = ["ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"]
    tasks.append("ForMaskedLM" if family.masked_lm else family.causal_lm_class)
    assert {family.class_for(task) for task in tasks} <= set(CLASSES.values())


@pytest.mark.parametrize("case", CLASSES)
def test_the_tensors_of_a_family_are_those_that_its_file_describes(case):
    """It needs no TensorFlow: `make check` runs it."""
    family = read_config(BACKBONES / case).family
    assert CLASSES[case].startswith(family.class_name)
    require_weights_that_fit(BACKBONES / case)


@pytest.mark.parametrize(
    ("case", "model_type"),
    [("bert", "bert"), ("electra", "electra"), ("roberta", "roberta"), ("xlm_roberta", "roberta")],
)
def test_families_of_the_same_layers_are_told_apart_without_a_prefix(case, model_type):
    prefix = read_config(BACKBONES / case).family.prefix
    tensors = read_headers(BACKBONES / case)
    bare = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    assert family_of(bare, "") == model_type
