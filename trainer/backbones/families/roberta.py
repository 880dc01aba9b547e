"""RoBERTa (Liu et al. 2019): BERT with one segment, and positions that begin behind padding's."""

from collections.abc import Mapping

from trainer.backbones.config_keys import ConfigKey, Count, TokenId
from trainer.backbones.families import bert
from trainer.backbones.family import Family, HiddenLayer, MaskedLM, SequenceClassifier, Shaped

_CONFIG_KEYS: Mapping[str, ConfigKey] = {
    **bert.CONFIG_KEYS,
    "vocabulary_size": Count("vocab_size", 50265),
    "pad_token_id": TokenId("pad_token_id", 1, nullable=True),
}


def _marks(tensors: Mapping[str, Shaped]) -> bool:
    return bert.segment_types(tensors) == 1


FAMILY = Family(
    model_type="roberta",
    class_name="Roberta",
    prefix="roberta.",
    config_keys=_CONFIG_KEYS,
    fixed={"pooler": False, "qa_dropout": 0.0},
    required=bert.REQUIRED,
    modules={**bert.EMBEDDINGS, **bert.LAYERS, "pooler": "pooler.dense"},
    buffers=bert.BUFFERS,
    positions_behind_padding=True,
    task_parts=("classifier.", "lm_head.", "qa_outputs."),
    sequence_classifier=SequenceClassifier(
        "classifier.out_proj", HiddenLayer("classifier.dense", "tanh", drops_input=True)
    ),
    masked_lm=MaskedLM(
        dense="lm_head.dense",
        norm="lm_head.layer_norm",
        bias="lm_head.bias",
        copies=("lm_head.decoder.weight", "lm_head.decoder.bias"),
        activation="gelu",
    ),
    marks=_marks,
)
