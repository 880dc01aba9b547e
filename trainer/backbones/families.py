"""What tells the families of checkpoints apart in Hugging Face's format: keys of config.json, names
of tensors and classes.
"""

import dataclasses
from typing import Any

# places in the network, by which dropout and initial values are seeded: those below are the
# backbone's
FIRST_HEAD_SITE = 1_000_000
Keys = dict[str, tuple[str, Any]]  # field of BackboneConfig: (key of config.json, its default)
# ours: Hugging Face's; three of theirs are concatenated in one of ours
Modules = dict[str, str | tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Family:
    """One model_type.

    Attributes:
        class_name: how its classes begin, as BertForTokenClassification does.
        prefix: of its tensors in a task's model.
        keys: what config.json says.
        fixed: what all of the family have in common.
        modules: where our weights stand; # is the layer.
        unsupported: keys of config.json that must have this value.
        aliases: keys of config.json, and how Hugging Face also calls them.
        kernels_transposed: whether kernels are (outputs, inputs) there.
    """

    class_name: str
    prefix: str
    keys: Keys
    fixed: dict[str, Any]
    modules: Modules
    unsupported: dict[str, Any] = dataclasses.field(default_factory=dict)
    aliases: dict[str, str] = dataclasses.field(default_factory=dict)
    kernels_transposed: bool = True


_BERT_KEYS: Keys = {
    "vocabulary_size": ("vocab_size", 30522),
    "hidden_size": ("hidden_size", 768),
    "layers": ("num_hidden_layers", 12),
    "heads": ("num_attention_heads", 12),
    "intermediate_size": ("intermediate_size", 3072),
    "max_positions": ("max_position_embeddings", 512),
    "segment_types": ("type_vocab_size", 2),
    "activation": ("hidden_act", "gelu"),
    "layer_norm_epsilon": ("layer_norm_eps", 1e-12),
    "hidden_dropout": ("hidden_dropout_prob", 0.1),
    "attention_dropout": ("attention_probs_dropout_prob", 0.1),
    "classifier_dropout": ("classifier_dropout", None),
    "token_classifier_dropout": ("classifier_dropout", None),
    "initializer_range": ("initializer_range", 0.02),
    "pad_token_id": ("pad_token_id", 0),
}
_ELECTRA_KEYS: Keys = _BERT_KEYS | {
    "embedding_size": ("embedding_size", 128),
    "hidden_size": ("hidden_size", 256),
    "heads": ("num_attention_heads", 4),
    "intermediate_size": ("intermediate_size", 1024),
}
_ROBERTA_KEYS: Keys = _BERT_KEYS | {
    "vocabulary_size": ("vocab_size", 50265),
    "pad_token_id": ("pad_token_id", 1),
}
_ALBERT_KEYS: Keys = _BERT_KEYS | {
    "vocabulary_size": ("vocab_size", 30000),
    "embedding_size": ("embedding_size", 128),
    "hidden_size": ("hidden_size", 4096),
    "layer_groups": ("num_hidden_groups", 1),
    "heads": ("num_attention_heads", 64),
    "intermediate_size": ("intermediate_size", 16384),
    "activation": ("hidden_act", "gelu_new"),
    "hidden_dropout": ("hidden_dropout_prob", 0.0),
    "attention_dropout": ("attention_probs_dropout_prob", 0.0),
    "classifier_dropout": ("classifier_dropout_prob", 0.1),
    "token_classifier_dropout": ("classifier_dropout_prob", 0.1),
}
_DISTILBERT_KEYS: Keys = {
    "vocabulary_size": ("vocab_size", 30522),
    "hidden_size": ("dim", 768),
    "layers": ("n_layers", 6),
    "heads": ("n_heads", 12),
    "intermediate_size": ("hidden_dim", 3072),
    "max_positions": ("max_position_embeddings", 512),
    "activation": ("activation", "gelu"),
    "hidden_dropout": ("dropout", 0.1),
    "attention_dropout": ("attention_dropout", 0.1),
    "classifier_dropout": ("seq_classif_dropout", 0.2),
    "token_classifier_dropout": ("dropout", 0.1),
    "qa_dropout": ("qa_dropout", 0.1),
    "initializer_range": ("initializer_range", 0.02),
    "pad_token_id": ("pad_token_id", 0),
    "sinusoidal_positions": ("sinusoidal_pos_embds", False),
}
_GPT2_KEYS: Keys = {
    "vocabulary_size": ("vocab_size", 50257),
    "hidden_size": ("n_embd", 768),
    "layers": ("n_layer", 12),
    "heads": ("n_head", 12),
    "intermediate_size": ("n_inner", None),
    "max_positions": ("n_positions", 1024),
    "activation": ("activation_function", "gelu_new"),
    "layer_norm_epsilon": ("layer_norm_epsilon", 1e-5),
    "hidden_dropout": ("resid_pdrop", 0.1),
    "embedding_dropout": ("embd_pdrop", 0.1),
    "attention_dropout": ("attn_pdrop", 0.1),
    "token_classifier_dropout": ("classifier_dropout", 0.1),
    "initializer_range": ("initializer_range", 0.02),
    "scale_attention": ("scale_attn_weights", True),
    "scale_attention_by_layer": ("scale_attn_by_inverse_layer_idx", False),
}

_BERT_MODULES: Modules = {
    "embeddings/word": "embeddings.word_embeddings",
    "embeddings/position": "embeddings.position_embeddings",
    "embeddings/segment": "embeddings.token_type_embeddings",
    "embeddings/norm": "embeddings.LayerNorm",
    "layer_#/attention/query_key_value": tuple(
        f"encoder.layer.#.attention.self.{part}" for part in ("query", "key", "value")
    ),
    "layer_#/attention/output": "encoder.layer.#.attention.output.dense",
    "layer_#/attention/norm": "encoder.layer.#.attention.output.LayerNorm",
    "layer_#/feed_forward/intermediate": "encoder.layer.#.intermediate.dense",
    "layer_#/feed_forward/output": "encoder.layer.#.output.dense",
    "layer_#/feed_forward/norm": "encoder.layer.#.output.LayerNorm",
    "pooler": "pooler.dense",
}
_ALBERT_LAYER = "encoder.albert_layer_groups.#.albert_layers.0"
_ALBERT_MODULES: Modules = {
    **{path: name for path, name in _BERT_MODULES.items() if path.startswith("embeddings/")},
    "embeddings/project": "encoder.embedding_hidden_mapping_in",
    "layer_#/attention/query_key_value": tuple(
        f"{_ALBERT_LAYER}.attention.{part}" for part in ("query", "key", "value")
    ),
    "layer_#/attention/output": f"{_ALBERT_LAYER}.attention.dense",
    "layer_#/attention/norm": f"{_ALBERT_LAYER}.attention.LayerNorm",
    "layer_#/feed_forward/intermediate": f"{_ALBERT_LAYER}.ffn",
    "layer_#/feed_forward/output": f"{_ALBERT_LAYER}.ffn_output",
    "layer_#/feed_forward/norm": f"{_ALBERT_LAYER}.full_layer_layer_norm",
    "pooler": "pooler",
}
_DISTILBERT_MODULES: Modules = {
    "embeddings/word": "embeddings.word_embeddings",
    "embeddings/position": "embeddings.position_embeddings",
    "embeddings/norm": "embeddings.LayerNorm",
    "layer_#/attention/query_key_value": tuple(
        f"transformer.layer.#.attention.{part}_lin" for part in "qkv"
    ),
    "layer_#/attention/output": "transformer.layer.#.attention.out_lin",
    "layer_#/attention/norm": "transformer.layer.#.sa_layer_norm",
    "layer_#/feed_forward/intermediate": "transformer.layer.#.ffn.lin1",
    "layer_#/feed_forward/output": "transformer.layer.#.ffn.lin2",
    "layer_#/feed_forward/norm": "transformer.layer.#.output_layer_norm",
}
_GPT2_MODULES: Modules = {
    "embeddings/word": "wte",
    "embeddings/position": "wpe",
    "layer_#/attention/norm": "h.#.ln_1",
    "layer_#/attention/query_key_value": "h.#.attn.c_attn",
    "layer_#/attention/output": "h.#.attn.c_proj",
    "layer_#/feed_forward/norm": "h.#.ln_2",
    "layer_#/feed_forward/intermediate": "h.#.mlp.c_fc",
    "layer_#/feed_forward/output": "h.#.mlp.c_proj",
    "norm": "ln_f",
}

_NO_POOLER = {"pooler": False, "qa_dropout": 0.0}
_ENCODER_ONLY = {"is_decoder": False, "add_cross_attention": False}
_ABSOLUTE = {"position_embedding_type": "absolute", **_ENCODER_ONLY}
FAMILIES: dict[str, Family] = {
    "bert": Family(
        "Bert", "bert.", _BERT_KEYS, {"pooler": True, "qa_dropout": 0.0}, _BERT_MODULES, _ABSOLUTE
    ),
    "electra": Family(
        "Electra",
        "electra.",
        _ELECTRA_KEYS,
        _NO_POOLER,
        _BERT_MODULES | {"embeddings/project": "embeddings_project"},
        _ABSOLUTE,
    ),
    "distilbert": Family(
        "DistilBert",
        "distilbert.",
        _DISTILBERT_KEYS,
        {"pooler": False, "segment_types": 0, "layer_norm_epsilon": 1e-12},
        _DISTILBERT_MODULES,
        _ABSOLUTE,
        {"dim": "hidden_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads"},
    ),
    "roberta": Family("Roberta", "roberta.", _ROBERTA_KEYS, _NO_POOLER, _BERT_MODULES, _ABSOLUTE),
    "xlm-roberta": Family(
        "XLMRoberta", "roberta.", _ROBERTA_KEYS, _NO_POOLER, _BERT_MODULES, _ABSOLUTE
    ),
    "albert": Family(
        "Albert",
        "albert.",
        _ALBERT_KEYS,
        {"pooler": True, "qa_dropout": 0.0},
        _ALBERT_MODULES,
        _ABSOLUTE | {"inner_group_num": 1},
    ),
    "gpt2": Family(
        "GPT2",
        "transformer.",
        _GPT2_KEYS,
        {
            **_NO_POOLER,
            "segment_types": 0,
            "causal": True,
            "classifier_dropout": 0.0,
            "pad_token_id": None,
        },
        _GPT2_MODULES,
        {"add_cross_attention": False, "tie_word_embeddings": True},
        {
            "n_embd": "hidden_size",
            "n_layer": "num_hidden_layers",
            "n_head": "num_attention_heads",
            "n_positions": "max_position_embeddings",
        },
        kernels_transposed=False,
    ),
}
# The first token's position is the one behind that of padding, which has its own.
FIRST_BEHIND_PADDING = ("roberta", "xlm-roberta")
