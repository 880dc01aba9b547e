"""GPT-2 (Radford et al. 2019): a decoder."""

from collections.abc import Mapping

from trainer.backbones.config_keys import ConfigKey, Count, Share, Switch, Word
from trainer.backbones.family import Family, Modules, SequenceClassifier

_CONFIG_KEYS: Mapping[str, ConfigKey] = {
    "vocabulary_size": Count("vocab_size", 50257),
    "hidden_size": Count("n_embd", 768, aliases=("hidden_size",)),
    "layers": Count("n_layer", 12, aliases=("num_hidden_layers",)),
    "heads": Count("n_head", 12, aliases=("num_attention_heads",)),
    "intermediate_size": Count("n_inner", None, nullable=True),
    "max_positions": Count("n_positions", 1024, aliases=("max_position_embeddings",)),
    "activation": Word("activation_function", "gelu_new"),
    "layer_norm_epsilon": Share("layer_norm_epsilon", 1e-5),
    "hidden_dropout": Share("resid_pdrop", 0.1),
    "embedding_dropout": Share("embd_pdrop", 0.1),
    "attention_dropout": Share("attn_pdrop", 0.1),
    "token_classifier_dropout": Share("classifier_dropout", 0.1, nullable=True),
    "initializer_range": Share("initializer_range", 0.02),
    "scale_attention": Switch("scale_attn_weights", True),
    "scale_attention_by_layer": Switch("scale_attn_by_inverse_layer_idx", False),
}
_FIXED = {
    "pooler": False,
    "qa_dropout": 0.0,
    "segment_types": 0,
    "causal": True,
    "classifier_dropout": 0.0,
    "pad_token_id": None,
}
_MODULES: Modules = {
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

FAMILY = Family(
    model_type="gpt2",
    class_name="GPT2",
    prefix="transformer.",
    config_keys=_CONFIG_KEYS,
    fixed=_FIXED,
    required={"add_cross_attention": False, "tie_word_embeddings": True},
    modules=_MODULES,
    buffers=("h.#.attn.bias", "h.#.attn.masked_bias"),
    kernels_transposed=False,
    task_parts=("classifier.", "lm_head.", "multiple_choice_head.", "qa_outputs.", "score."),
    sequence_classifier=SequenceClassifier("score", reads_last=True, has_bias=False),
    causal_lm_class="LMHeadModel",
)
