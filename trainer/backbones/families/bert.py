"""BERT (Devlin et al. 2019)."""

from collections.abc import Mapping

from trainer.backbones.config_keys import ConfigKey, Count, Share, TokenId, Word
from trainer.backbones.family import Family, MaskedLM, Modules, SequenceClassifier, Shaped

CONFIG_KEYS: Mapping[str, ConfigKey] = {
    "vocabulary_size": Count("vocab_size", 30522),
    "hidden_size": Count("hidden_size", 768),
    "layers": Count("num_hidden_layers", 12),
    "heads": Count("num_attention_heads", 12),
    "intermediate_size": Count("intermediate_size", 3072, nullable=True),
    "max_positions": Count("max_position_embeddings", 512),
    "segment_types": Count("type_vocab_size", 2),
    "activation": Word("hidden_act", "gelu"),
    "layer_norm_epsilon": Share("layer_norm_eps", 1e-12),
    "hidden_dropout": Share("hidden_dropout_prob", 0.1),
    "attention_dropout": Share("attention_probs_dropout_prob", 0.1),
    "classifier_dropout": Share("classifier_dropout", None, nullable=True),
    "token_classifier_dropout": Share("classifier_dropout", None, nullable=True),
    "initializer_range": Share("initializer_range", 0.02),
    "pad_token_id": TokenId("pad_token_id", 0, nullable=True),
}
REQUIRED = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
EMBEDDINGS: Modules = {
    "embeddings/word": "embeddings.word_embeddings",
    "embeddings/position": "embeddings.position_embeddings",
    "embeddings/segment": "embeddings.token_type_embeddings",
    "embeddings/norm": "embeddings.LayerNorm",
}
LAYERS: Modules = {
    "layer_#/attention/query_key_value": (
        "encoder.layer.#.attention.self.query",
        "encoder.layer.#.attention.self.key",
        "encoder.layer.#.attention.self.value",
    ),
    "layer_#/attention/output": "encoder.layer.#.attention.output.dense",
    "layer_#/attention/norm": "encoder.layer.#.attention.output.LayerNorm",
    "layer_#/feed_forward/intermediate": "encoder.layer.#.intermediate.dense",
    "layer_#/feed_forward/output": "encoder.layer.#.output.dense",
    "layer_#/feed_forward/norm": "encoder.layer.#.output.LayerNorm",
}
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")


def segment_types(tensors: Mapping[str, Shaped]) -> int | None:
    """How many segments the tensors have embeddings of; None where they have none."""
    for name, tensor in tensors.items():
        is_table = name.endswith("embeddings.token_type_embeddings.weight")
        if is_table and tensor.shape:
            return tensor.shape[0]
    return None


def _marks(tensors: Mapping[str, Shaped]) -> bool:
    """Unlike RoBERTa it has several segments, unlike ELECTRA a pooler."""
    has_pooler = any(name.endswith("pooler.dense.weight") for name in tensors)
    return has_pooler and segment_types(tensors) not in (None, 1)


FAMILY = Family(
    model_type="bert",
    class_name="Bert",
    prefix="bert.",
    config_keys=CONFIG_KEYS,
    fixed={"pooler": True, "qa_dropout": 0.0},
    required=REQUIRED,
    modules={**EMBEDDINGS, **LAYERS, "pooler": "pooler.dense"},
    buffers=BUFFERS,
    task_parts=("classifier.", "cls.", "qa_outputs."),
    sequence_classifier=SequenceClassifier("classifier", pooled=True),
    masked_lm=MaskedLM(
        dense="cls.predictions.transform.dense",
        norm="cls.predictions.transform.LayerNorm",
        bias="cls.predictions.bias",
        copies=("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"),
    ),
    marks=_marks,
)
