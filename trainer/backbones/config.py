"""What a backbone is made of."""

import dataclasses

from trainer.backbones.activations import ACTIVATIONS
from trainer.backbones.families import families
from trainer.backbones.family import Family
from trainer.errors import WeightsError, shown_value


@dataclasses.dataclass(frozen=True)
class BackboneConfig:
    """Sizes and rates; `trainer.backbones.huggingface.read_config` reads them from config.json.

    Attributes:
        architecture: the model_type of a family.
        embedding_size: as hidden_size where no projection follows the embeddings.
        max_positions: tokens that a text may have.
        segment_types: 0: no segment embedding (DistilBERT); 1: one for all tokens (RoBERTa).
        classifier_dropout: before the output layer of sequence classification.
        token_classifier_dropout: the same, of token classification.
        qa_dropout: the same, of question answering.
        initializer_range: standard deviation of fresh weights.
        sinusoidal_positions: how fresh position embeddings start; a checkpoint brings its own.
        first_position: the row of the position embeddings that a text's first token takes.
        layer_groups: layers of a group share their weights (ALBERT); None: each has its own.
        causal: a token sees only those before it (GPT-2).
        embedding_dropout: None: as hidden_dropout.
        scale_attention: scores are divided by the root of the head's size.
        scale_attention_by_layer: and by the number of the layer, from 1.
    Raises:
        WeightsError: the activation is unknown, the heads do not divide the hidden size, or the
            groups are more than the layers.
    """

    architecture: str
    vocabulary_size: int  # V
    embedding_size: int  # E
    hidden_size: int  # H
    layers: int
    heads: int  # N
    intermediate_size: int
    max_positions: int
    segment_types: int
    activation: str
    layer_norm_epsilon: float
    hidden_dropout: float
    attention_dropout: float
    classifier_dropout: float
    token_classifier_dropout: float
    qa_dropout: float
    initializer_range: float
    pad_token_id: int | None
    pooler: bool
    sinusoidal_positions: bool = False
    first_position: int = 0
    layer_groups: int | None = None
    causal: bool = False
    embedding_dropout: float | None = None
    scale_attention: bool = True
    scale_attention_by_layer: bool = False

    def __post_init__(self) -> None:
        """Checks what the sizes must satisfy."""
        if self.activation not in ACTIVATIONS:
            raise WeightsError(
                f"activation {shown_value(self.activation)} is not implemented: expected one of"
                f" {', '.join(sorted(ACTIVATIONS))}"
            )
        if self.heads < 1 or self.hidden_size % self.heads:
            raise WeightsError(
                f"hidden size {self.hidden_size} is not a multiple of the number of attention"
                f" heads, {self.heads}"
            )
        groups = self.layer_groups
        if groups is not None and not 1 <= groups <= self.layers:
            raise WeightsError(
                f"{groups} groups of layers: expected 1 to {self.layers}, the number of layers"
            )

    @property
    def family(self) -> Family:
        """How the family's checkpoints and task heads are made."""
        return families()[self.architecture]

    @property
    def projects_embeddings(self) -> bool:
        """Whether a projection stands between the embeddings and the layers."""
        return self.family.blocks.always_projects or self.embedding_size != self.hidden_size

    @property
    def head_size(self) -> int:
        """H/N."""
        return self.hidden_size // self.heads

    @property
    def input_dropout(self) -> float:
        """The rate behind the embeddings."""
        if self.embedding_dropout is None:
            return self.hidden_dropout
        return self.embedding_dropout

    @property
    def own_layers(self) -> int:
        """How many layers have weights of their own."""
        return self.layers if self.layer_groups is None else self.layer_groups

    def weights_of(self, layer: int) -> int:
        """Which of these a layer takes."""
        if self.layer_groups is None:
            return layer
        return int(layer / (self.layers / self.layer_groups))
