"""DistilBERT (Sanh et al. 2019): half of BERT's layers, without segments and pooler."""

from collections.abc import Mapping

from trainer.backbones.config_keys import ConfigKey, Count, Share, Switch, TokenId, Word
from trainer.backbones.families import bert
from trainer.backbones.family import (
    Blocks,
    Family,
    HiddenLayer,
    MaskedLM,
    Modules,
    SequenceClassifier,
)

_CONFIG_KEYS: Mapping[str, ConfigKey] = {
    "vocabulary_size": Count("vocab_size", 30522),
    "hidden_size": Count("dim", 768, aliases=("hidden_size",)),
    "layers": Count("n_layers", 6, aliases=("num_hidden_layers",)),
    "heads": Count("n_heads", 12, aliases=("num_attention_heads",)),
    "intermediate_size": Count("hidden_dim", 3072, nullable=True),
    "max_positions": Count("max_position_embeddings", 512),
    "activation": Word("activation", "gelu"),
    "hidden_dropout": Share("dropout", 0.1),
    "attention_dropout": Share("attention_dropout", 0.1),
    "classifier_dropout": Share("seq_classif_dropout", 0.2, nullable=True),
    "token_classifier_dropout": Share("dropout", 0.1, nullable=True),
    "qa_dropout": Share("qa_dropout", 0.1),
    "initializer_range": Share("initializer_range", 0.02),
    "pad_token_id": TokenId("pad_token_id", 0, nullable=True),
    "sinusoidal_positions": Switch("sinusoidal_pos_embds", False),
}
_MODULES: Modules = {
    "embeddings/word": "embeddings.word_embeddings",
    "embeddings/position": "embeddings.position_embeddings",
    "embeddings/norm": "embeddings.LayerNorm",
    "layer_#/attention/query_key_value": (
        "transformer.layer.#.attention.q_lin",
        "transformer.layer.#.attention.k_lin",
        "transformer.layer.#.attention.v_lin",
    ),
    "layer_#/attention/output": "transformer.layer.#.attention.out_lin",
    "layer_#/attention/norm": "transformer.layer.#.sa_layer_norm",
    "layer_#/feed_forward/intermediate": "transformer.layer.#.ffn.lin1",
    "layer_#/feed_forward/output": "transformer.layer.#.ffn.lin2",
    "layer_#/feed_forward/norm": "transformer.layer.#.output_layer_norm",
}

FAMILY = Family(
    model_type="distilbert",
    class_name="DistilBert",
    prefix="distilbert.",
    config_keys=_CONFIG_KEYS,
    fixed={"pooler": False, "segment_types": 0, "layer_norm_epsilon": 1e-12},
    required=bert.REQUIRED,
    modules=_MODULES,
    buffers=bert.BUFFERS,
    blocks=Blocks(drops_attention_output=False),
    task_parts=(
        "classifier.",
        "pre_classifier.",
        "qa_outputs.",
        "vocab_layer_norm.",
        "vocab_projector.",
        "vocab_transform.",
    ),
    sequence_classifier=SequenceClassifier("classifier", HiddenLayer("pre_classifier", "relu")),
    masked_lm=MaskedLM(
        dense="vocab_transform",
        norm="vocab_layer_norm",
        bias="vocab_projector.bias",
        copies=("vocab_projector.weight",),
    ),
)
