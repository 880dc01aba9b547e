"""--mode=plan: what a run would cost."""

import json
import pathlib
import types

import numpy as np
import pytest

from tests import toy
from trainer.backbones.huggingface import read_config
from trainer.data.batching import lay_out
from trainer.planning.facts import CommonShape, step_facts
from trainer.planning.memory import estimate as memory
from trainer.run.assembly import foresee_origin
from trainer.settings.schema import TrainSettings

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "backbones"


@pytest.fixture(scope="module")
def planned(tmp_path_factory, toy_weights):
    folder = tmp_path_factory.mktemp("plan")
    config = toy.write_config(
        folder,
        toy_weights,
        toy.write_sentences(folder / "train.jsonl", 100, labels=("neg", "pos", "neutral")),
        data={"validation": 0.2},
        train={"steps": None, "epochs": 2.5, "global_batch_size": 8},
    )
    assert toy.run_main(config, folder / "job", "--mode=plan") == 0
    return folder / "job"


def test_the_plan_counts_the_steps_and_splits_of_the_run(planned):
    facts = json.loads((planned / "plan.json").read_text())
    train = facts["splits"]["train"]
    validation = facts["splits"]["validation"]
    assert (
        train["examples"] + validation["examples"] == 100
        and sum(facts["labels"].values()) == train["examples"]
    )
    assert facts["steps_per_epoch"] == -(-train["examples"] // 8)
    assert facts["steps"] == int(np.ceil(2.5 * facts["steps_per_epoch"])) and facts[
        "epochs"
    ] == pytest.approx(2.5, abs=0.1)
    assert train["length_percentiles"]["100"] <= 32 and train["mean_length"] == pytest.approx(
        train["tokens"] / train["examples"], abs=0.1
    )
    assert (
        sum(shape["steps"] for shape in facts["train"]["common_shapes"])
        == facts["train"]["sampled_steps"]
        == facts["steps"]
    )
    assert (
        0 <= facts["train"]["padding_share"] < 0.4
        and facts["ledger"] == {}
        and facts["xla"] is False
    )


def test_a_plan_trains_nothing(planned):
    assert {path.name for path in planned.iterdir()} == {
        "plan.json",
        "ledger.json",
        ".podtune",
        ".lock",
    }


@pytest.mark.parametrize(
    ("name", "complete"),
    [("bert_words", True), ("roberta_words", True), ("bert", False), ("no weights", None)],
)
def test_a_plan_warns_of_missing_layers_as_training_does(tmp_path, name, complete):
    """Of a masked language model alone,
    and not where the whole backbone starts from random values.
    """
    weights = GOLDEN / name
    if complete is None:
        weights = toy.write_checkpoint(tmp_path / name, weights=False)
    said = []
    parts = types.SimpleNamespace(
        head=types.SimpleNamespace(lives_on_pretraining=True),
        weights=weights,
        backbone=read_config(weights),
        config=types.SimpleNamespace(backbone=types.SimpleNamespace(weights=str(weights))),
        display=types.SimpleNamespace(warn=said.append),
    )
    foresee_origin(parts)
    assert len(said) == (complete is False) and all(
        "has no layers of a masked language model" in line for line in said
    )
    parts.head.lives_on_pretraining = False
    said.clear()
    foresee_origin(parts)
    assert said == []


class Lengths:
    def __init__(self, lengths):
        self.lengths = np.array(lengths)


def test_padding_is_the_share_of_cells_without_a_token():
    store = Lengths([5, 8, 3, 8])
    layouts = [
        lay_out(np.arange(4), store.lengths, batching="fixed", seq_len=8, capacity=4),
        lay_out(np.arange(3), store.lengths[:3], batching="bucketed", seq_len=8, capacity=4),
    ]
    facts = step_facts(layouts, store)
    assert facts.padding_share == pytest.approx(1 - (24 + 16) / (32 + 24), abs=1e-4)
    assert facts.tokens_per_step == 20
    assert facts.common_shapes == [CommonShape(4, 8, steps=1), CommonShape(3, 8, steps=1)]
    assert facts.shapes == 2


def test_the_memory_of_the_weights_is_about_their_number(toy_weights):
    from trainer.backbones.huggingface import load_backbone, read_config

    config = read_config(toy_weights)
    layouts = [lay_out(np.arange(4), np.full(4, 8), batching="fixed", seq_len=8, capacity=4)]
    large = read_config_of_base()
    estimate = memory(large, layouts, TrainSettings())
    # BERT base has 109.5 million
    assert estimate.weights_mb == pytest.approx(4 * 109.5, rel=0.01)
    assert estimate.gradients_mb == estimate.weights_mb
    assert estimate.optimizer_mb == pytest.approx(2 * estimate.weights_mb, abs=1)
    parts = (
        estimate.weights_mb,
        estimate.gradients_mb,
        estimate.optimizer_mb,
        estimate.activations_mb,
    )
    assert estimate.total_mb == pytest.approx(sum(parts), abs=3)
    half = memory(large, layouts, TrainSettings(precision="mixed_bfloat16"))
    assert half.activations_mb == pytest.approx(estimate.activations_mb / 2, abs=1)
    encoder, _ = load_backbone(toy_weights)
    assert sum(np.prod(weight.shape) for weight in encoder.weights) == pytest.approx(
        count_of(config), rel=0.01
    )


def read_config_of_base():
    from trainer.backbones.huggingface import parse_config

    return parse_config({"model_type": "bert"}, where="BERT base, all of it defaults")


def count_of(config):
    """Encoder weights by hand."""
    h, i = config.hidden_size, config.intermediate_size
    layer = 4 * (h * h + h) + (h * i + i) + (i * h + h) + 4 * h
    return (
        (config.vocabulary_size + config.max_positions + config.segment_types) * h
        + 2 * h
        + config.layers * layer
        + h * h
        + h
    )


@pytest.mark.parametrize(
    ("settings", "copies"),
    [
        ({"optimizer": "sgd"}, 1),
        ({"optimizer": "rmsprop"}, 2),
        ({"optimizer": "adafactor"}, 0),
        ({"optimizer": "adam", "ema_decay": 0.99}, 3),
    ],
)
def test_the_memory_of_the_optimizer_is_that_of_its_slots(settings, copies):
    layouts = [lay_out(np.arange(4), np.full(4, 8), batching="fixed", seq_len=8, capacity=4)]
    estimate = memory(read_config_of_base(), layouts, TrainSettings(**settings))
    assert estimate.optimizer_mb == pytest.approx(copies * estimate.weights_mb, abs=2)
