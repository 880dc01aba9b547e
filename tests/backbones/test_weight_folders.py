"""Folders of weights as they are met: named otherwise, damaged, of another kind.

Nothing is allocated before a misfit is told.
"""

import json
import os
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests import toy
from trainer.backbones import huggingface
from trainer.backbones.huggingface import load_backbone, read_config, require_weights_that_fit
from trainer.backbones.huggingface.safetensors_files import read_headers
from trainer.backbones.sizes import weight_shapes
from trainer.errors import WeightsError

pytestmark = pytest.mark.heavy

TENSORS = toy.bert_tensors(32, 2, 0)


@pytest.fixture
def folder(tmp_path):
    return toy.write_checkpoint(tmp_path / "bert")


def write_tensors(folder, tensors):
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def edit_config(folder, **changes):
    content = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(
        json.dumps({key: value for key, value in content.items() if value != "REMOVE"})
    )
    return folder


def message(folder):
    with pytest.raises(WeightsError) as error:
        require_weights_that_fit(folder)
    assert len(str(error.value)) < 4000
    return str(error.value)


def assert_toy_weights(folder, notes):
    backbone, report = load_backbone(folder)
    np.testing.assert_array_equal(
        backbone.embeddings.word.numpy(), TENSORS["embeddings.word_embeddings.weight"]
    )
    np.testing.assert_array_equal(
        backbone.blocks[1].feed_forward.output_dense.kernel.numpy(),
        TENSORS["encoder.layer.1.output.dense.weight"].T,
    )
    assert report.new == [] and report.notes == notes


@pytest.mark.parametrize(
    "case",
    [
        "bert",
        "distilbert",
        "electra",
        "roberta",
        "xlm_roberta",
        "albert",
        "albert_tokens",
        "gpt2",
        "bert_no_pooler",
    ],
)
def test_shapes_are_those_of_the_backbone_that_is_built(case):
    from tests.heads.test_golden import GOLDEN

    backbone, _ = load_backbone(GOLDEN / case)
    assert dict(weight_shapes(backbone.config)) == {
        path: tuple(weight.shape) for path, weight in backbone.weights_by_path().items()
    }


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.",
        "module.",
        "model.",
        "base_model.model.",
        "_orig_mod.module.",
        "module._orig_mod.",
        "model.model.",
        "0.auto_model.",
        "text_encoder.",
    ],
)
@pytest.mark.parametrize("own", ["", "bert."])
def test_what_stands_before_all_names_is_taken_off(folder, prefix, own):
    write_tensors(folder, {f"{prefix}{own}{name}": tensor for name, tensor in TENSORS.items()})
    backbone, report = load_backbone(folder)
    np.testing.assert_array_equal(
        backbone.embeddings.word.numpy(), TENSORS["embeddings.word_embeddings.weight"]
    )
    assert report.new == report.unused == [] and len(report.notes) == 1
    assert report.notes[0].startswith("read without ") and (
        "_orig_mod" in report.notes[0] or prefix in report.notes[0]
    )


def test_a_compiled_part_is_read(folder):
    write_tensors(
        folder,
        {f"bert._orig_mod.{name}": tensor for name, tensor in TENSORS.items()}
        | {"classifier.weight": np.zeros((2, 32), np.float32)},
    )
    assert_toy_weights(folder, ["read without _orig_mod., which stands before its tensors' names"])
    assert set(huggingface.read_task_head(folder).tensors) == {"classifier.weight"}


def test_a_backbone_beside_layers_of_ones_own(folder):
    write_tensors(
        folder,
        {f"backbone.{name}": tensor for name, tensor in TENSORS.items()}
        | {"fc.weight": np.zeros((2, 32), np.float32)},
    )
    assert load_backbone(folder)[1].unused == ["fc.weight"]


def test_the_name_of_another_family_is_not_taken_off(folder):
    write_tensors(folder, {f"roberta.{name}": tensor for name, tensor in TENSORS.items()})
    assert "  missing (37): embeddings.word_embeddings.weight, " in message(folder)


def test_a_tensor_that_is_there_twice(folder):
    write_tensors(
        folder,
        {f"bert.{name}": tensor for name, tensor in TENSORS.items()}
        | {"pooler.dense.bias": np.zeros(32, np.float32)},
    )
    assert (
        "the weights have pooler.dense.bias twice, as bert.pooler.dense.bias and as"
        " pooler.dense.bias" in message(folder)
    )


def test_no_model_type(folder):
    edit_config(folder, model_type="REMOVE", architectures="REMOVE")
    assert_toy_weights(folder, ["config.json has no model_type: by its tensors it is bert"])
    exported = folder / "exported"
    huggingface.save_huggingface(exported, load_backbone(folder)[0], folder)
    assert json.loads((exported / "config.json").read_text())["model_type"] == "bert"


@pytest.mark.parametrize(
    "case",
    [
        "bert",
        "distilbert",
        "electra",
        "roberta",
        "albert",
        "gpt2",
        "bert_no_pooler",
        "distilbert_words",
        "electra_tokens",
    ],
)
@pytest.mark.parametrize("classes", [True, False])
def test_a_family_is_known_by_its_names(tmp_path, case, classes):
    import shutil

    from tests.heads.test_golden import GOLDEN

    folder = edit_config(
        shutil.copytree(GOLDEN / case, tmp_path / case),
        model_type="REMOVE",
        **({} if classes else {"architectures": "REMOVE"}),
    )
    assert read_config(folder).architecture == case.split("_")[0]
    require_weights_that_fit(folder)


def test_xlm_r_is_known_by_its_class(tmp_path):
    import shutil

    from tests.heads.test_golden import GOLDEN

    folder = edit_config(
        shutil.copytree(GOLDEN / "xlm_roberta", tmp_path / "x"), model_type="REMOVE"
    )
    assert read_config(folder).architecture == "xlm-roberta"


def test_a_family_that_is_not_known(folder):
    # BERT's or ELECTRA's
    bare = {name: tensor for name, tensor in TENSORS.items() if not name.startswith("pooler")}
    write_tensors(edit_config(folder, model_type="REMOVE", architectures="REMOVE"), bare)
    assert (
        "has no model_type, and the tensors' names do not tell it. Set it in config.json, to one of"
        " albert, bert," in message(folder)
    )
    write_tensors(folder, {"x.weight": np.zeros(3, np.float32)})
    assert "has no model_type, and the tensors' names do not tell it" in message(folder)
    (folder / "model.safetensors").unlink()
    assert "has no model_type, and the tensors' names do not tell it" in message(folder)


@pytest.mark.parametrize("value", [["bert"], 7, {"a": 1}, "x" * 10**6, "bert\x1b[2J"])
def test_a_model_type_that_is_none(folder, value):
    assert "which is not implemented: expected one of albert, bert," in message(
        edit_config(folder, model_type=value)
    )


def test_an_old_folder_of_sentence_transformers(tmp_path):
    toy.write_checkpoint(tmp_path / "st" / "0_Transformer")
    module = {
        "idx": 0,
        "name": "0",
        "path": "0_Transformer",
        "type": "sentence_transformers.models.Transformer",
    }
    (tmp_path / "st" / "modules.json").write_text(json.dumps([module]))
    remedy = f"whose model is in 0_Transformer: set backbone.weights to {tmp_path}/st/0_Transformer"
    assert remedy in message(tmp_path / "st")
    (tmp_path / "st" / "config.json").write_text(json.dumps({"__version__": "0.2.5"}))
    assert remedy in message(tmp_path / "st")


def test_an_adapter(tmp_path):
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "bert-base-uncased"})
    )
    wanted = (
        r"has an adapter of PEFT (LORA), a change of 'bert-base-uncased', and not the model itself."
        r" Merge the two"
    )
    assert wanted in message(tmp_path)
    toy.write_checkpoint(tmp_path, weights=False)
    assert wanted in message(tmp_path)
    write_tensors(tmp_path, TENSORS)
    require_weights_that_fit(tmp_path)


def test_checkpoints_in_a_folder(tmp_path):
    for step in (100, 200):
        toy.write_checkpoint(tmp_path / f"checkpoint-{step}")
    assert (
        f"set backbone.weights to {tmp_path}/checkpoint-100, or {tmp_path}/checkpoint-200"
        in message(tmp_path)
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"hidden_size": 10**9},
            "hidden_size is 1,000,000,000 in config.json, the tensors have 32",
        ),
        (
            {"num_hidden_layers": 10**9},
            "num_hidden_layers is 1,000,000,000 in config.json, the tensors have 2",
        ),
        ({"num_hidden_layers": 1}, "num_hidden_layers is 1 in config.json, the tensors have 2"),
        (
            {"intermediate_size": 2 * 10**9},
            "intermediate_size is 2,000,000,000 in config.json, the tensors have 64",
        ),
        (
            {"max_position_embeddings": 512},
            "max_position_embeddings is 512 in config.json, the tensors have 64",
        ),
        (
            {"type_vocab_size": 10**9},
            "type_vocab_size is 1,000,000,000 in config.json, the tensors have 2",
        ),
        ({"vocab_size": 128}, "vocab_size is 128 in config.json, the tensors have"),
        ({"vocab_size": 32}, f"set vocab_size to {len(toy.VOCABULARY)} in it"),
    ],
)
def test_a_size_that_is_not_that_of_the_tensors(folder, changes, said):
    assert said in message(edit_config(folder, **changes))


@pytest.mark.parametrize(
    "key",
    [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
        "intermediate_size",
        "max_position_embeddings",
    ],
)
@pytest.mark.parametrize(
    "value", [-1, 0, "32", 32.0, None, True, [32], {"a": 1}, 10**30, float("nan"), float("inf")]
)
def test_a_size_that_is_none(folder, key, value):
    (folder / "config.json").write_text(
        json.dumps(json.loads((folder / "config.json").read_text()) | {key: value})
    )
    if key == "intermediate_size" and value is None:
        require_weights_that_fit(edit_config(folder, intermediate_size=64))
    else:
        assert f"{key} is " in message(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"num_attention_heads": 5},
            "hidden size 32 is not a multiple of the number of attention heads, 5",
        ),
        ({"hidden_dropout_prob": float("nan")}, "hidden_dropout_prob is nan"),
        ({"pad_token_id": 10**6}, "pad_token_id is 1000000: expected one of the"),
        ({"hidden_act": "x" * 10**6}, "is not implemented: expected one of gelu"),
        ({"is_decoder": [[1]] * 10**5}, "only false is implemented"),
    ],
)
def test_a_setting_that_is_none(folder, changes, said):
    assert said in message(edit_config(folder, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 2**30, "num_attention_heads": 2},
        {"num_hidden_layers": 10**9},
        {"vocab_size": 2 * 10**9},
    ],
)
def test_a_backbone_that_is_too_large_to_make(tmp_path, changes):
    said = message(toy.write_checkpoint(tmp_path, weights=False, **changes))
    assert "this machine has" in said or "expected at most 1,000" in said


def test_a_misfit_names_six_of_each(folder):
    write_tensors(
        folder,
        {f"x.{name}": tensor for name, tensor in TENSORS.items() if "word_embeddings" not in name},
    )
    lines = message(folder).splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["  missing (37)", "  unexpected (38)"]
    assert all(line.count(", ") == 5 and line.endswith(" more") for line in lines[1:])


@pytest.mark.parametrize(
    ("dtype", "numpy"), [("F16", np.float16), ("F64", np.float64), ("BF16", None)]
)
def test_types_that_are_read(folder, dtype, numpy):
    rounded = {
        name: (
            (tensor.view(np.uint32) & 0xFFFF0000).view(np.float32)
            if numpy is None
            else tensor.astype(numpy)
        )
        for name, tensor in TENSORS.items()
    }
    if numpy is None:
        import ml_dtypes

        write_tensors(
            folder, {name: tensor.astype(ml_dtypes.bfloat16) for name, tensor in rounded.items()}
        )
    else:
        write_tensors(folder, rounded)
    assert {tensor.dtype for tensor in read_headers(folder).values()} == {dtype}
    weights = load_backbone(folder)[0].embeddings.word.numpy()
    np.testing.assert_array_equal(
        weights, rounded["embeddings.word_embeddings.weight"].astype(np.float32)
    )


def write_header(folder, change, *, extra=b""):
    """model.safetensors with its header changed."""
    content = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    text = json.dumps(change(header) or header).encode()
    (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", len(text)) + text + content[8 + length :] + extra
    )
    return folder


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"shape": [10**9, 32]}, "Expected dtype, shape and data_offsets that agree; download"),
        ({"shape": "x"}, "that agree"),
        ({"shape": [-1, 32]}, "that agree"),
        ({"shape": [1.5]}, "that agree"),
        ({"data_offsets": [5]}, "that agree"),
        ({"data_offsets": [8, 2]}, "that agree"),
        ({"data_offsets": [0, 10**18]}, "that agree"),
        ({"dtype": 5}, "that agree"),
        (
            {"dtype": "I32"},
            (
                "word_embeddings.weight is I32: weights are read from F64, F32, F16, BF16 only."
                " Choose the checkpoint before it was quantised"
            ),
        ),
        ({"dtype": "Q4_K"}, "word_embeddings.weight is Q4_K: weights are read from"),
    ],
)
def test_a_tensor_whose_header_is_wrong(folder, fields, said):
    assert said in message(
        write_header(
            folder, lambda header: header["embeddings.word_embeddings.weight"].update(fields)
        )
    )


def test_float8_weights(folder):
    name = "encoder.layer.0.output.dense.weight"

    def change(header):
        start, end = header[name]["data_offsets"]
        header[name] = {
            "dtype": "F8_E4M3",
            "shape": [32, 64],
            "data_offsets": [start, start + 32 * 64],
        }
        header["classifier.x"] = {
            "dtype": "U8",
            "shape": [end - start - 32 * 64],
            "data_offsets": [start + 32 * 64, end],
        }

    assert (
        "output.dense.weight is F8_E4M3: weights are read from F64, F32, F16, BF16 only."
        in message(write_header(folder, change))
    )


def test_two_tensors_of_the_same_bytes(folder):
    def change(header):
        header["pooler.dense.bias"]["data_offsets"] = header["embeddings.LayerNorm.bias"][
            "data_offsets"
        ]

    assert "is damaged (tensors overlap, or leave bytes out)" in message(
        write_header(folder, change)
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x05",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**9),
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"\xff\xfe",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        struct.pack("<Q", 4) + b"null",
    ],
)
def test_a_header_that_cannot_be_read(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    assert "is damaged (" in message(folder)


def test_bytes_that_no_tensor_has(folder):
    assert "its header announces" in message(write_header(folder, lambda header: None, extra=b"x"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_or_a_dead_link_where_a_file_belongs(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    assert f"{name} is a folder where a file belongs" in message(folder)
    (folder / name).rmdir()
    (folder / name).symlink_to("gone")
    assert f"{name} is a link to gone, where nothing is" in message(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert f"{name} is no regular file" in message(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"\xff\xfe{}", "is not in UTF-8: byte 0xff at 0"),
        (b"", "is not JSON"),
        (b"null", "holds a JSON NoneType"),
        (b'{"vocab_size": ' + b"1" * 5000 + b"}", "is not JSON"),
    ],
)
def test_a_config_that_is_no_json_object(folder, content, said):
    (folder / "config.json").write_bytes(content)
    assert said in message(folder)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"a": 5}, "weight_map places a in 5: expected the name of a file of this folder"),
        ({"a": "../../x"}, "places a in '../../x'"),
        ({"a": "/etc/passwd"}, "places a in '/etc/passwd'"),
        ({"a": None}, "places a in None"),
        ({"a": ""}, "places a in ''"),
        ({"a": "x\0"}, "places a in"),
        ({"a": ".."}, "places a in '..'"),
        ([], "has no weight_map"),
        (
            {"a": "gone.safetensors"},
            "does not have gone.safetensors, which model.safetensors.index",
        ),
        (
            {"a": "model-1.safetensors"},
            "does not have a, which model.safetensors.index.json places there",
        ),
    ],
)
def test_an_index_that_is_wrong(folder, places, said):
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert said in message(folder)


def test_the_run_ends_with_one_message_before_anything_is_prepared(tmp_path, capsys):
    weights = toy.write_checkpoint(tmp_path / "weights", num_hidden_layers=10**9)
    config = toy.write_config(tmp_path, weights, toy.write_sentences(tmp_path / "train.jsonl", 32))
    assert toy.run_main(config, tmp_path / "job") == 2
    said = capsys.readouterr().err
    assert (
        "num_hidden_layers is 1,000,000,000 in config.json, the tensors have 2" in said
        and "Traceback" not in said
    )
    assert not (tmp_path / "cache").exists()
