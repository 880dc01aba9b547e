"""Writes tests/golden/backbones: tiny random checkpoints and what PyTorch computes from them.

usage: make_backbones.py        (pip install torch transformers; made with torch 2.13, transformers
5.23)

The sizes are odd on purpose; weights are stored in 16 bits, with values that 16 bits hold exactly.
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

SIZES = {
    "vocab_size": 61,
    "hidden_size": 30,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 42,
    "max_position_embeddings": 16,
    "initializer_range": 0.3,
    "num_labels": 4,
}
DISTILBERT = {
    "vocab_size": 61,
    "dim": 30,
    "n_layers": 2,
    "n_heads": 3,
    "hidden_dim": 42,
    "max_position_embeddings": 16,
    "initializer_range": 0.3,
    "num_labels": 4,
}
ELECTRA = SIZES | {"embedding_size": 20}
# the inputs are padded with 0
ROBERTA = SIZES | {"type_vocab_size": 1, "pad_token_id": 0, "max_position_embeddings": 17}
# positions begin behind it; no input has a 2
XLM_ROBERTA = ROBERTA | {"pad_token_id": 2, "max_position_embeddings": 19}
ALBERT = SIZES | {
    "embedding_size": 20,
    "num_hidden_layers": 3,
    "num_hidden_groups": 2,
    "pad_token_id": 0,
}
GPT2 = {
    "vocab_size": 61,
    "n_embd": 30,
    "n_layer": 2,
    "n_head": 3,
    "n_inner": 42,
    "n_positions": 16,
    "initializer_range": 0.3,
    "num_labels": 4,
    "pad_token_id": 0,
}
CASES = {  # folder: (class, its config, dtype of the file)
    "bert": ("BertForSequenceClassification", SIZES, torch.float16),
    # gamma and beta, too
    "bert_tanh": (
        "BertModel",
        SIZES | {"hidden_act": "gelu_new", "layer_norm_eps": 1e-6},
        torch.bfloat16,
    ),
    "bert_no_pooler": ("BertForTokenClassification", SIZES, torch.float16),
    "distilbert": ("DistilBertForSequenceClassification", DISTILBERT, torch.float16),
    "electra": ("ElectraForSequenceClassification", ELECTRA, torch.float16),
    "bert_questions": ("BertForQuestionAnswering", SIZES | {"num_labels": 2}, torch.float16),
    "distilbert_questions": (
        "DistilBertForQuestionAnswering",
        DISTILBERT | {"num_labels": 2},
        torch.float16,
    ),
    "distilbert_tokens": ("DistilBertForTokenClassification", DISTILBERT, torch.float16),
    "electra_questions": (
        "ElectraForQuestionAnswering",
        ELECTRA | {"num_labels": 2},
        torch.float16,
    ),
    "electra_tokens": ("ElectraForTokenClassification", ELECTRA, torch.float16),
    "roberta": ("RobertaForSequenceClassification", ROBERTA, torch.float16),
    "roberta_tokens": ("RobertaForTokenClassification", ROBERTA, torch.float16),
    "roberta_questions": (
        "RobertaForQuestionAnswering",
        ROBERTA | {"num_labels": 2},
        torch.float16,
    ),
    "xlm_roberta": ("XLMRobertaForSequenceClassification", XLM_ROBERTA, torch.float16),
    "xlm_roberta_tokens": ("XLMRobertaForTokenClassification", XLM_ROBERTA, torch.float16),
    "xlm_roberta_questions": (
        "XLMRobertaForQuestionAnswering",
        XLM_ROBERTA | {"num_labels": 2},
        torch.float16,
    ),
    "albert": ("AlbertForSequenceClassification", ALBERT, torch.float16),
    "albert_tokens": (
        "AlbertForTokenClassification",
        ALBERT | {"num_hidden_groups": 1, "embedding_size": 30},
        torch.float16,
    ),
    "albert_questions": ("AlbertForQuestionAnswering", ALBERT | {"num_labels": 2}, torch.float16),
    "gpt2": ("GPT2ForSequenceClassification", GPT2, torch.float16),
    "gpt2_tokens": (
        "GPT2ForTokenClassification",
        GPT2
        | {
            "scale_attn_by_inverse_layer_idx": True,
            "n_inner": None,
            "layer_norm_epsilon": 0.01,
        },
        torch.float16,
    ),
    "gpt2_questions": (
        "GPT2ForQuestionAnswering",
        GPT2 | {"num_labels": 2, "scale_attn_weights": False, "activation_function": "relu"},
        torch.float16,
    ),
    "bert_words": ("BertForMaskedLM", SIZES, torch.float16),
    "distilbert_words": ("DistilBertForMaskedLM", DISTILBERT, torch.float16),
    "electra_words": ("ElectraForMaskedLM", ELECTRA, torch.float16),
    "roberta_words": ("RobertaForMaskedLM", ROBERTA, torch.float16),
    "xlm_roberta_words": ("XLMRobertaForMaskedLM", XLM_ROBERTA, torch.float16),
    "albert_words": ("AlbertForMaskedLM", ALBERT, torch.float16),
    "gpt2_words": ("GPT2LMHeadModel", GPT2, torch.float16),
}


def inputs() -> dict[str, np.ndarray]:
    """Three rows of 9 tokens with 9, 5 and 2 real ones, in two segments."""
    rng = np.random.default_rng(0)
    padding_mask = (np.arange(9) < np.array([[9], [5], [2]])).astype(np.int32)
    return {
        "token_ids": rng.integers(1, 61, (3, 9), np.int32) * padding_mask,
        "padding_mask": padding_mask,
        "segment_ids": (np.arange(9) >= np.array([[4], [3], [1]])).astype(np.int32) * padding_mask,
    }


def make(folder: Path, name: str, settings: dict, dtype: torch.dtype) -> None:
    """One checkpoint and its outputs."""
    torch.manual_seed(0)
    family = name.split("For")[0].removesuffix("Model").removesuffix("LMHead")
    config = getattr(transformers, f"{family}Config")(**settings)
    config._attn_implementation = "eager"  # the only one that returns attentions
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                # biases and scales start from 0 and 1
                parameter += 0.3 * torch.randn_like(parameter)
            parameter.copy_(parameter.to(dtype).float())
        ours = {key: torch.tensor(value) for key, value in inputs().items()}
        theirs = {
            "input_ids": ours["token_ids"],
            "attention_mask": ours["padding_mask"],
            "token_type_ids": ours["segment_ids"],
        }
        if family not in ("Bert", "Electra", "Albert"):
            del theirs["token_type_ids"]
        outputs = model(**theirs, output_hidden_states=True, output_attentions=True)
    arrays = {f"hidden_{i}": x for i, x in enumerate(outputs.hidden_states)} | {
        f"attention_{i}": x for i, x in enumerate(outputs.attentions)
    }
    if "start_logits" in outputs:
        arrays["logits"] = torch.stack([outputs.start_logits, outputs.end_logits], dim=2)
    else:
        arrays |= (
            {"logits": outputs.logits} if "logits" in outputs else {"pooled": outputs.pooler_output}
        )
    # a tied matrix is written once, as the embeddings, as save_pretrained does
    shared = {id(value) for key, value in model.named_parameters()}
    tensors = {}
    for key, value in sorted(
        model.state_dict(keep_vars=True).items(),
        key=lambda item: not item[0].startswith(model.base_model_prefix),
    ):
        if id(value) in shared:
            shared.remove(id(value))
            tensors[key] = value.detach().to(dtype).contiguous()
    if folder.name == "bert_tanh":
        tensors = {
            key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): value
            for key, value in tensors.items()
        }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    content = {
        key: value
        for key, value in config.to_diff_dict().items()
        if key not in ("dtype", "transformers_version")
    }
    (folder / "config.json").write_text(
        json.dumps(content | {"architectures": [name]}, indent=1) + "\n"
    )
    np.savez_compressed(
        folder / "outputs.npz", **{key: value.numpy() for key, value in arrays.items()}
    )


if __name__ == "__main__":
    for case, (name, settings, dtype) in CASES.items():
        make(Path(__file__).parent / "backbones" / case, name, settings, dtype)
    np.savez(Path(__file__).parent / "backbones" / "inputs.npz", **inputs())
