"""What describes a family of checkpoints, such as BERT or GPT-2, in Hugging Face's format."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Protocol

from trainer.backbones.config_keys import ConfigKey

# Our module -> Hugging Face's; three of theirs are concatenated in one of ours. # is the layer.
Modules = Mapping[str, str | tuple[str, ...]]


class Shaped(Protocol):
    """What has a shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""


@dataclasses.dataclass(frozen=True)
class Blocks:
    """How the layers of a family's networks differ from those of others.

    Attributes:
        drops_attention_output: dropout behind the output layer of the attention.
        drops_feed_forward_output: dropout behind the output layer of the feed-forward part.
        always_projects: the embeddings are projected, even where they are as wide as the layers.
    """

    drops_attention_output: bool = True
    drops_feed_forward_output: bool = True
    always_projects: bool = False


@dataclasses.dataclass(frozen=True)
class HiddenLayer:
    """A dense layer that a task head has before its output layer.

    Attributes:
        tensor: its name, without .weight and .bias.
        activation: by Hugging Face's name.
        drops_input: dropout before the layer, too.
    """

    tensor: str
    activation: str
    drops_input: bool = False


@dataclasses.dataclass(frozen=True)
class SequenceClassifier:
    """What …ForSequenceClassification has above the backbone.

    Attributes:
        output: the name of the output layer's tensors, without .weight and .bias.
        hidden: the head's own layer before it; None where there is none.
        pooled: the backbone's pooler stands before it.
        reads_last: it reads the last token of a text, not the first.
        has_bias: the output layer has a bias.
    """

    output: str
    hidden: HiddenLayer | None = None
    pooled: bool = False
    reads_last: bool = False
    has_bias: bool = True

    @property
    def tensors(self) -> list[str]:
        """The names of its layers, in their order."""
        if self.hidden is None:
            return [self.output]
        return [self.hidden.tensor, self.output]


@dataclasses.dataclass(frozen=True)
class MaskedLM:
    """What …ForMaskedLM has between the backbone and its vocabulary.

    Attributes:
        dense, norm: names of the two layers, without .weight and .bias.
        bias: the tensor of each word's bias.
        copies: tensors that Hugging Face ties to the word embeddings or to the bias.
        activation: behind the dense layer; None: the backbone's.
    """

    dense: str
    norm: str
    bias: str
    copies: tuple[str, ...]
    activation: str | None = None

    @property
    def tensors(self) -> list[str]:
        """Kernel and bias of the dense layer, scale and bias of the norm, each word's bias."""
        return [
            f"{self.dense}.weight",
            f"{self.dense}.bias",
            f"{self.norm}.weight",
            f"{self.norm}.bias",
            self.bias,
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """One model_type of Hugging Face.

    Attributes:
        model_type: in config.json.
        class_name: how its classes begin, as BertForTokenClassification does.
        prefix: of the backbone's tensors in the model of a task.
        config_keys: field of BackboneConfig -> key of config.json.
        fixed: fields of BackboneConfig that all checkpoints of the family have in common.
        required: keys of config.json that must have this value, or be absent.
        modules: where our weights stand.
        buffers: tensors that are no weights; # is the layer.
        kernels_transposed: whether kernels are (outputs, inputs) in the file.
        positions_behind_padding: the first token's position is the one behind that of padding.
        blocks: what its layers are made of.
        task_parts: how the tensors begin that its task models add to the backbone.
        sequence_classifier: of its …ForSequenceClassification.
        token_classifier: name of the output layer of its …ForTokenClassification.
        span_classifier: name of the output layer of its …ForQuestionAnswering.
        masked_lm: of its …ForMaskedLM; None for a decoder.
        causal_lm_class: how the name of its causal language models ends.
        marks: whether the tensors of a checkpoint that names no model_type are of this family. It
            is asked where several families name their layers alike; without it the family is one
            of those only where config.json says so.
    """

    model_type: str
    class_name: str
    prefix: str
    config_keys: Mapping[str, ConfigKey]
    fixed: Mapping[str, object]
    required: Mapping[str, object]
    modules: Modules
    buffers: tuple[str, ...]
    kernels_transposed: bool = True
    positions_behind_padding: bool = False
    blocks: Blocks = Blocks()
    task_parts: tuple[str, ...]
    sequence_classifier: SequenceClassifier
    token_classifier: str = "classifier"
    span_classifier: str = "qa_outputs"
    masked_lm: MaskedLM | None = None
    causal_lm_class: str = "ForCausalLM"
    marks: Callable[[Mapping[str, Shaped]], bool] | None = None

    def class_for(self, task: str) -> str:
        """Hugging Face's class for a task, such as ForTokenClassification."""
        return f"{self.class_name}{task}"

    @property
    def word_embeddings(self) -> str:
        """The tensor of the word embeddings."""
        return f"{self.modules['embeddings/word']}.weight"

    def has_buffer(self, name: str) -> bool:
        """Whether a tensor is one of the buffers."""
        layerless = re.sub(r"\.\d+\.", ".#.", name)
        return layerless in self.buffers
