"""ALBERT (Lan et al. 2020): layers that share their weights, behind narrow embeddings."""

from collections.abc import Mapping

from trainer.backbones.config_keys import ConfigKey, Count, Share, Word
from trainer.backbones.families import bert
from trainer.backbones.family import Blocks, Family, MaskedLM, Modules, SequenceClassifier

_CONFIG_KEYS: Mapping[str, ConfigKey] = {
    **bert.CONFIG_KEYS,
    "vocabulary_size": Count("vocab_size", 30000),
    "embedding_size": Count("embedding_size", 128),
    "hidden_size": Count("hidden_size", 4096),
    "layer_groups": Count("num_hidden_groups", 1),
    "heads": Count("num_attention_heads", 64),
    "intermediate_size": Count("intermediate_size", 16384, nullable=True),
    "activation": Word("hidden_act", "gelu_new"),
    "hidden_dropout": Share("hidden_dropout_prob", 0.0),
    "attention_dropout": Share("attention_probs_dropout_prob", 0.0),
    "classifier_dropout": Share("classifier_dropout_prob", 0.1, nullable=True),
    "token_classifier_dropout": Share("classifier_dropout_prob", 0.1, nullable=True),
}
_LAYER = "encoder.albert_layer_groups.#.albert_layers.0"
_LAYERS: Modules = {
    "layer_#/attention/query_key_value": (
        f"{_LAYER}.attention.query",
        f"{_LAYER}.attention.key",
        f"{_LAYER}.attention.value",
    ),
    "layer_#/attention/output": f"{_LAYER}.attention.dense",
    "layer_#/attention/norm": f"{_LAYER}.attention.LayerNorm",
    "layer_#/feed_forward/intermediate": f"{_LAYER}.ffn",
    "layer_#/feed_forward/output": f"{_LAYER}.ffn_output",
    "layer_#/feed_forward/norm": f"{_LAYER}.full_layer_layer_norm",
}

FAMILY = Family(
    model_type="albert",
    class_name="Albert",
    prefix="albert.",
    config_keys=_CONFIG_KEYS,
    fixed={"pooler": True, "qa_dropout": 0.0},
    required={**bert.REQUIRED, "inner_group_num": 1},
    modules={
        **bert.EMBEDDINGS,
        "embeddings/project": "encoder.embedding_hidden_mapping_in",
        **_LAYERS,
        "pooler": "pooler",
    },
    buffers=bert.BUFFERS,
    blocks=Blocks(drops_feed_forward_output=False, always_projects=True),
    task_parts=("classifier.", "predictions.", "qa_outputs.", "sop_classifier."),
    sequence_classifier=SequenceClassifier("classifier", pooled=True),
    masked_lm=MaskedLM(
        dense="predictions.dense",
        norm="predictions.LayerNorm",
        bias="predictions.bias",
        copies=("predictions.decoder.weight", "predictions.decoder.bias"),
    ),
)
