"""Checkpoints: what PyTorch computed from them (golden files), reading, writing, and what is said
when they are wrong.
"""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig

from tests.golden.cases import of_task
from trainer.backbones.huggingface import (
    has_weights,
    load_backbone,
    read_config,
    read_eos_id,
    read_task_head,
    save_huggingface,
)
from trainer.backbones.huggingface.bare_names import present_name
from trainer.errors import WeightsError

GOLDEN = Path(__file__).parent.parent / "golden" / "backbones"
CASES = [
    *of_task("ForSequenceClassification"),
    "bert_tanh",
    "bert_no_pooler",
    "albert_tokens",
    "gpt2_tokens",
    "gpt2_questions",
]
# the others' are in tests/heads/test_golden.py
RECIPES = ("bert", "bert_no_pooler", "distilbert", "electra")


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(GOLDEN / "bert", tmp_path / "bert"))


def edit_config(folder, **changes):
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value != "REMOVE"}))


def edit_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def recipe(case, encoder, output, head):
    """Each family's classification head, as numpy."""
    cls = output["sequence_output"][:, 0].numpy()
    t = {name: tensor.T for name, tensor in head.tensors.items()}
    if case == "bert":
        return encoder.pool(cls).numpy() @ t["classifier.weight"] + t["classifier.bias"]
    if case == "distilbert":
        return (
            np.maximum(cls @ t["pre_classifier.weight"] + t["pre_classifier.bias"], 0)
            @ t["classifier.weight"]
            + t["classifier.bias"]
        )
    if case == "electra":
        return (
            gelu(cls @ t["classifier.dense.weight"] + t["classifier.dense.bias"])
            @ t["classifier.out_proj.weight"]
            + t["classifier.out_proj.bias"]
        )
    # tokens
    return output["sequence_output"].numpy() @ t["classifier.weight"] + t["classifier.bias"]


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_pytorchs(case):
    encoder, report = load_backbone(GOLDEN / case)
    expected = np.load(GOLDEN / case / "outputs.npz")
    output = encoder(
        dict(np.load(GOLDEN / "inputs.npz")), output_hidden_states=True, output_attentions=True
    )
    layers = 3 if "albert" in case else 2
    assert len(output["hidden_states"]) == layers + 1
    assert len(output["attentions"]) == layers
    # RoBERTa's padding has a position of its own, which is nobody's business
    real = (
        np.load(GOLDEN / "inputs.npz")["padding_mask"].astype(bool)
        if "roberta" in case
        else np.ones((3, 9), bool)
    )
    for i, state in enumerate(output["hidden_states"]):
        np.testing.assert_allclose(
            state.numpy()[real], expected[f"hidden_{i}"][real], atol=1e-5, rtol=0
        )
    for i, attention in enumerate(output["attentions"]):
        ours, theirs = (
            np.moveaxis(np.asarray(values), 1, 2)[real]
            for values in (attention, expected[f"attention_{i}"])
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)
    if "pooled" in expected:
        np.testing.assert_allclose(output["pooled_output"], expected["pooled"], atol=1e-5, rtol=0)
    if case in RECIPES:
        np.testing.assert_allclose(
            recipe(case, encoder, output, read_task_head(GOLDEN / case)),
            expected["logits"],
            atol=1e-5,
            rtol=0,
        )
    new = {
        "bert_no_pooler": ["pooler.dense.weight", "pooler.dense.bias"],
        "albert_tokens": ["pooler.weight", "pooler.bias"],
    }
    assert report.new == new.get(case, [])


def test_the_report_says_what_was_not_used():
    assert load_backbone(GOLDEN / "bert")[1].unused == ["classifier.bias", "classifier.weight"]
    encoder, report = load_backbone(GOLDEN / "bert", pooler=False)
    assert report.unused == [
        "classifier.bias",
        "classifier.weight",
        "pooler.dense.bias",
        "pooler.dense.weight",
    ]
    assert encoder.pooler is None and "pooled_output" not in encoder(
        {"token_ids": np.array([[1, 2]])}
    )


def test_config_of_each_family():
    bert, distilbert, electra = (
        read_config(GOLDEN / case) for case in ("bert", "distilbert", "electra")
    )
    assert (bert.layers, bert.heads, bert.segment_types, bert.pooler, bert.classifier_dropout) == (
        2,
        3,
        2,
        True,
        0.1,
    )
    assert (
        distilbert.segment_types,
        distilbert.pooler,
        distilbert.classifier_dropout,
        distilbert.intermediate_size,
    ) == (0, False, 0.2, 42)
    assert (electra.embedding_size, electra.hidden_size, electra.pooler) == (20, 30, False)
    assert (
        read_config(GOLDEN / "bert_tanh").layer_norm_epsilon == 1e-6
        and read_config(GOLDEN / "bert_tanh").activation == "gelu_new"
    )


@pytest.mark.parametrize("case", ["gpt2", "distilbert"])
def test_config_may_have_hugging_faces_common_names(tmp_path, case):
    """AutoConfig takes them: else a model of other sizes would start from random values without a
    word.
    """
    common = {
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 77,
    }
    (tmp_path / "config.json").write_text(json.dumps({"model_type": case, **common}))
    config = read_config(tmp_path)
    theirs = AutoConfig.from_pretrained(tmp_path)
    ours = {
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "max_position_embeddings": config.max_positions,
    }
    assert ours == common == {name: getattr(theirs, name) for name in common}


def test_the_output_layer_is_the_embeddings_where_those_were_left_out(tmp_path):
    folder = Path(shutil.copytree(GOLDEN / "gpt2_words", tmp_path / "gpt2"))
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors.pop("transformer.wte.weight")
    save_file(tensors, folder / "model.safetensors")
    backbone, report = load_backbone(folder)
    assert (
        report.new == [] and (backbone.embeddings.word.numpy() == tensors["lm_head.weight"]).all()
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [(7, 7), ([8, 9], 8), (None, None), (50256, None), ("</s>", None), ([], None)],
)
def test_what_config_json_says_of_the_end_of_a_text(tmp_path, value, expected):
    folder = Path(shutil.copytree(GOLDEN / "gpt2", tmp_path / "gpt2"))
    edit_config(folder, eos_token_id=value)
    assert read_eos_id(folder) == expected


def test_rates_can_be_replaced():
    config = load_backbone(GOLDEN / "bert", hidden_dropout=0.0, attention_dropout=0.3)[0].config
    assert (config.hidden_dropout, config.attention_dropout, config.classifier_dropout) == (
        0.0,
        0.3,
        0.1,
    )


def test_a_folder_with_config_alone_starts_from_random_values(folder):
    (folder / "model.safetensors").unlink()
    assert not has_weights(folder)
    (one, report), (same, _), (other, _) = (load_backbone(folder, seed=seed) for seed in (1, 1, 2))
    assert (
        len(report.new) == len(load_file(GOLDEN / "bert" / "model.safetensors")) - 2
        and report.unused == []
    )
    values = [
        encoder.weights_by_path()["layer_0/attention/query_key_value/kernel"].numpy()
        for encoder in (one, same, other)
    ]
    assert (values[0] == values[1]).all() and (values[0] != values[2]).any()
    assert read_task_head(folder).tensors == {}


def test_a_missing_pooler_is_the_same_for_the_same_seed():
    kernels = [
        load_backbone(GOLDEN / "bert_no_pooler", seed=seed)[0]
        .weights_by_path()["pooler/kernel"]
        .numpy()
        for seed in (1, 1, 2)
    ]
    assert (kernels[0] == kernels[1]).all() and (kernels[0] != kernels[2]).any()


def test_sharded_checkpoint(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names, places = sorted(tensors), {}
    for shard, part in enumerate((names[:9], names[9:]), 1):
        file = f"model-0000{shard}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file)
        places |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": places})
    )
    for path, weight in load_backbone(folder)[0].weights_by_path().items():
        np.testing.assert_array_equal(
            weight, load_backbone(GOLDEN / "bert")[0].weights_by_path()[path]
        )
    save_file({name: tensors[name] for name in names[9:-1]}, folder / file)
    with pytest.raises(
        WeightsError,
        match=(
            rf"{file} does not have {names[-1]}, which model.safetensors.index.json places there:"
            r" download"
        ),
    ):
        load_backbone(folder)
    (folder / file).unlink()
    with pytest.raises(
        WeightsError,
        match=rf"does not have {file}, which model.safetensors.index.json names: download",
    ):
        load_backbone(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(
        WeightsError, match=r"model.safetensors.index.json has no weight_map: download"
    ):
        load_backbone(folder)


def test_head_of_a_checkpoint():
    head = read_task_head(GOLDEN / "electra")
    assert {name: tensor.shape for name, tensor in head.tensors.items()} == {
        "classifier.dense.weight": (30, 30),
        "classifier.dense.bias": (30,),
        "classifier.out_proj.weight": (4, 30),
        "classifier.out_proj.bias": (4,),
    }
    assert {tensor.dtype for tensor in head.tensors.values()} == {np.dtype(np.float32)}
    assert head.id2label == {i: f"LABEL_{i}" for i in range(4)} and head.label2id["LABEL_3"] == 3
    assert head.num_labels == 4 and head.problem_type is None


def test_head_without_labels(folder):
    edit_config(folder, id2label="REMOVE", label2id="REMOVE", problem_type="regression")
    head = read_task_head(folder)
    assert (head.id2label, head.label2id, head.num_labels, head.problem_type) == (
        None,
        None,
        None,
        "regression",
    )


@pytest.mark.parametrize("case", CASES)
def test_saving_and_loading_changes_no_bit(case, tmp_path):
    (encoder, _), head = load_backbone(GOLDEN / case), read_task_head(GOLDEN / case)
    save_huggingface(tmp_path / "new" / "saved", encoder, GOLDEN / case, head_tensors=head.tensors)
    again, report = load_backbone(tmp_path / "new" / "saved")
    new = {
        "bert_no_pooler": ["pooler.dense.weight", "pooler.dense.bias"],
        "albert_tokens": ["pooler.weight", "pooler.bias"],
    }
    assert report.new == new.get(case, [])
    for path, weight in encoder.weights_by_path().items():
        if not (case == "bert_no_pooler" and path.startswith("pooler")):
            np.testing.assert_array_equal(weight, again.weights_by_path()[path])
    for name, tensor in read_task_head(tmp_path / "new" / "saved").tensors.items():
        np.testing.assert_array_equal(tensor, head.tensors[name])
    written = load_file(tmp_path / "new" / "saved" / "model.safetensors")
    original = load_file(GOLDEN / case / "model.safetensors")
    assert set(written) == {present_name(name) for name in original}


def test_config_is_kept_and_updated(tmp_path, folder):
    edit_config(folder, torch_dtype="float16", num_labels=2, my_note="保留")
    (folder / "vocab.txt").write_text("[PAD]\n")
    updates = {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {0: "坏", 1: "好"},
        "label2id": {"坏": 0, "好": 1},
        "problem_type": "single_label_classification",
    }
    save_huggingface(
        tmp_path / "saved",
        load_backbone(folder)[0],
        folder,
        config_updates=updates,
        tokenizer_folder=folder,
    )
    content = json.loads((tmp_path / "saved" / "config.json").read_text(encoding="utf-8"))
    assert (
        content["my_note"] == "保留"
        and content["dtype"] == "float32"
        and not {"torch_dtype", "num_labels"} & set(content)
    )
    assert read_task_head(tmp_path / "saved").id2label == {0: "坏", 1: "好"}
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "config.json",
        "model.safetensors",
        "podtune_files.json",
        "vocab.txt",
    ]


def test_a_failed_save_leaves_what_was_there(tmp_path, folder, monkeypatch):
    encoder = load_backbone(folder)[0]
    ours = tmp_path / "ours"
    save_huggingface(ours, encoder, folder)
    before = {path.name: path.read_bytes() for path in ours.iterdir()}
    monkeypatch.setattr(shutil, "copyfile", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    (folder / "vocab.txt").write_text("x")
    for target in (ours, tmp_path / "fresh"):
        with pytest.raises(OSError, match="disk full"):
            save_huggingface(target, encoder, folder, tokenizer_folder=folder)
    assert {path.name: path.read_bytes() for path in ours.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bert", "ours"]
    monkeypatch.undo()
    save_huggingface(ours, encoder, folder)
    assert sorted(path.name for path in ours.iterdir()) == [
        "config.json",
        "model.safetensors",
        "podtune_files.json",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bert", "ours"]


def test_a_source_of_another_size_or_a_strange_head_is_refused(tmp_path, folder):
    encoder = load_backbone(GOLDEN / "bert")[0]
    with pytest.raises(
        ValueError,
        match=(
            r"expected a source config.json that describes the backbone. Received one that differs"
            r" in activation"
        ),
    ):
        save_huggingface(
            tmp_path / "x",
            encoder,
            json.loads((folder / "config.json").read_text()) | {"hidden_act": "relu"},
        )
    with pytest.raises(
        ValueError, match=r"expected head tensors named classifier., cls.,.* Received kernel"
    ):
        save_huggingface(tmp_path / "x", encoder, folder, head_tensors={"kernel": np.ones(2)})
    assert not (tmp_path / "x").exists()


def test_no_folder(tmp_path):
    for function in (read_config, has_weights, read_task_head, load_backbone):
        with pytest.raises(
            WeightsError,
            match=(
                r"there is no folder .*gone: expected one with config.json and model.safetensors;"
                r" correct"
            ),
        ):
            function(tmp_path / "gone")


def test_no_config(folder):
    (folder / "config.json").rename(folder / "cfg.json")
    with pytest.raises(
        WeightsError,
        match=(
            r"has no config.json, so it is not .*: found cfg.json, model.safetensors, outputs.npz;"
            r" correct backbone"
        ),
    ):
        read_config(folder)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", r"config.json is not JSON \(Expecting property name"),
        ("[1]", "holds a JSON list: expected an object"),
    ],
)
def test_config_that_is_not_one(folder, text, message):
    (folder / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=message):
        read_config(folder)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"model_type": "t5"},
            (
                "model_type is 't5', which is not implemented: expected one of albert, bert,"
                " distilbert, electra, gpt2, roberta, xlm-roberta"
            ),
        ),
        (
            {"position_embedding_type": "relative_key"},
            'position_embedding_type is "relative_key": only "absolute" is implemented',
        ),
        ({"is_decoder": True}, "is_decoder is true: only false is implemented"),
        (
            {"hidden_size": "30", "num_hidden_layers": 0},
            (
                "hidden_size is '30': expected a value like 768; num_hidden_layers is 0: expected a"
                " value like 12"
            ),
        ),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob is 1.5: expected a value like 0.1"),
        ({"pad_token_id": -1}, "pad_token_id is -1: expected a value like 0"),
        ({"model_type": "gpt2", "n_inner": -1}, "n_inner is -1: expected a value like 1024"),
        (
            {"hidden_act": "gelu_20"},
            "config.json: activation 'gelu_20' is not implemented: expected one of gelu, ",
        ),
        (
            {"num_attention_heads": 7},
            "config.json: hidden size 30 is not a multiple of the number of attention heads, 7",
        ),
    ],
)
def test_config_that_is_not_supported(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(WeightsError, match=message):
        read_config(folder)


@pytest.mark.parametrize(
    "case, changes, message",
    [
        (
            "albert",
            {"num_hidden_groups": 4},
            "config.json: 4 groups of layers: expected 1 to 3, the number of layers",
        ),
        ("albert", {"inner_group_num": 2}, "inner_group_num is 2: only 1 is implemented"),
        (
            "gpt2",
            {"add_cross_attention": True},
            "add_cross_attention is true: only false is implemented",
        ),
        (
            "gpt2",
            {"tie_word_embeddings": False},
            "tie_word_embeddings is false: only true is implemented",
        ),
    ],
)
def test_config_of_a_family_that_is_not_supported(tmp_path, case, changes, message):
    folder = Path(shutil.copytree(GOLDEN / case, tmp_path / case))
    edit_config(folder, **changes)
    with pytest.raises(WeightsError, match=message):
        read_config(folder)


@pytest.mark.parametrize(
    "name, remedy",
    [
        ("pytorch_model.bin", "Where PyTorch is installed.*weights_only=True"),
        ("tf_model.h5", "from_tf=True"),
        ("flax_model.msgpack", "from_flax=True"),
        ("pytorch_model.bin.index.json", "save_pretrained"),
    ],
)
def test_pickles_are_not_read(folder, name, remedy):
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(
        WeightsError,
        match=(
            f"has {name} but no model.safetensors: only safetensors are read, as a"
            f" pickled.*{remedy}"
        ),
    ):
        load_backbone(folder)


def test_all_misfits_are_listed_at_once(folder):
    def spoil(tensors):
        del tensors["bert.encoder.layer.0.output.dense.bias"]
        tensors["bert.encoder.layer.7.output.dense.bias"] = np.zeros(30, np.float16)
        tensors["bert.embeddings.token_type_embeddings.weight"] = np.zeros((3, 30), np.float16)
        tensors["bert.embeddings.position_ids"] = np.arange(16)[None]  # an old buffer: harmless
        tensors["cls.predictions.bias"] = np.zeros(61, np.float16)

    edit_tensors(folder, spoil)
    with pytest.raises(WeightsError) as error:
        load_backbone(folder)
    assert str(error.value).splitlines() == [
        (
            "the tensors do not fit config.json (bert, 2 layers, hidden size 30): use the"
            " config.json that came with the weights"
        ),
        "  type_vocab_size is 2 in config.json, the tensors have 3",
        "  missing (1): encoder.layer.0.output.dense.bias",
        "  unexpected (1): encoder.layer.7.output.dense.bias",
        "  shape (1): embeddings.token_type_embeddings.weight expected (2, 30) found (3, 30)",
    ]


def test_harmless_extras_are_reported(folder):
    edit_tensors(
        folder,
        lambda tensors: tensors.update(
            {"bert.embeddings.position_ids": np.arange(16)[None], "cls.seq.bias": np.zeros(2)}
        ),
    )
    assert load_backbone(folder)[1].unused == [
        "classifier.bias",
        "classifier.weight",
        "cls.seq.bias",
        "embeddings.position_ids",
    ]


@pytest.mark.parametrize(
    "kept, message",
    [
        (0, r"it has 0 bytes and no readable header"),
        (2000, "it has 2,000 bytes and no readable header"),
        (20000, "it has 20,000 bytes, its header announces 36,992"),
    ],
)
def test_truncated_weights(folder, kept, message):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:kept])
    with pytest.raises(
        WeightsError,
        match=rf"model.safetensors is damaged .*{message}; download the checkpoint again",
    ):
        load_backbone(folder)


def test_frozen_graph_runs_from_dynamic_shapes():
    encoder = load_backbone(GOLDEN / "bert")[0]
    signature = [
        {
            name: tf.TensorSpec([None, None], tf.int32)
            for name in ("token_ids", "padding_mask", "segment_ids")
        }
    ]
    inputs = {name: tf.constant(value) for name, value in np.load(GOLDEN / "inputs.npz").items()}
    graph = tf.function(
        lambda inputs: encoder(inputs)["sequence_output"], input_signature=signature
    )(inputs)
    np.testing.assert_allclose(
        graph, np.load(GOLDEN / "bert" / "outputs.npz")["hidden_2"], atol=1e-5, rtol=0
    )
