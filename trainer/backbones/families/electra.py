"""ELECTRA (Clark et al. 2020): BERT with a projection behind narrow embeddings, and no pooler."""

from collections.abc import Mapping

from trainer.backbones.config_keys import ConfigKey, Count
from trainer.backbones.families import bert
from trainer.backbones.family import Family, HiddenLayer, MaskedLM, SequenceClassifier, Shaped

_CONFIG_KEYS: Mapping[str, ConfigKey] = {
    **bert.CONFIG_KEYS,
    "embedding_size": Count("embedding_size", 128),
    "hidden_size": Count("hidden_size", 256),
    "heads": Count("num_attention_heads", 4),
    "intermediate_size": Count("intermediate_size", 1024, nullable=True),
}


def _marks(tensors: Mapping[str, Shaped]) -> bool:
    """Only small ones have the projection; without it and a prefix nothing tells them."""
    return any(name.endswith("embeddings_project.weight") for name in tensors)


FAMILY = Family(
    model_type="electra",
    class_name="Electra",
    prefix="electra.",
    config_keys=_CONFIG_KEYS,
    fixed={"pooler": False, "qa_dropout": 0.0},
    required=bert.REQUIRED,
    modules={**bert.EMBEDDINGS, "embeddings/project": "embeddings_project", **bert.LAYERS},
    buffers=bert.BUFFERS,
    task_parts=(
        "classifier.",
        "discriminator_predictions.",
        "generator_lm_head.",
        "generator_predictions.",
        "qa_outputs.",
        "sequence_summary.",
    ),
    sequence_classifier=SequenceClassifier(
        "classifier.out_proj", HiddenLayer("classifier.dense", "gelu", drops_input=True)
    ),
    masked_lm=MaskedLM(
        dense="generator_predictions.dense",
        norm="generator_predictions.LayerNorm",
        bias="generator_lm_head.bias",
        copies=("generator_lm_head.weight",),
        activation="gelu",
    ),
    marks=_marks,
)
