"""What a backbone is made of."""

import dataclasses

from trainer.backbones.activations import ACTIVATIONS
from trainer.backbones.families import families
from trainer.backbones.family import Family
from trainer.errors import WeightsError, shown_value


@dataclasses.dataclass(frozen=True)
class BackboneConfig:
    """Sizes and rates; `trainer.backbones.huggingface.read_config` reads them from config.json.

    Raises:
        WeightsError: the activation is unknown, or the heads do not divide the hidden size.
    """

    architecture: str  # the model_type of a family
    vocabulary_size: int  # V
    embedding_size: int  # H, but in small ELECTRAs, where a projection to H follows
    hidden_size: int  # H
    layers: int
    heads: int  # N
    intermediate_size: int
    max_positions: int
    segment_types: int  # 0: no segment embedding (DistilBERT); 1: one for all (RoBERTa)
    activation: str
    layer_norm_epsilon: float
    hidden_dropout: float
    attention_dropout: float
    classifier_dropout: float  # this and the next two: before the output layer of the heads
    token_classifier_dropout: float
    qa_dropout: float
    initializer_range: float
    pad_token_id: int | None
    pooler: bool
    # how fresh position embeddings start; a checkpoint brings its own
    sinusoidal_positions: bool = False
    # the row of the position embeddings that a text's first token takes: RoBERTa's are 2 more than
    # max_positions
    first_position: int = 0
    # layers of a group share their weights (ALBERT); None: each has its own
    layer_groups: int | None = None
    causal: bool = False  # a token sees only those before it (GPT-2)
    embedding_dropout: float | None = None  # None: as hidden_dropout
    scale_attention: bool = True  # scores by the root of the head's size
    scale_attention_by_layer: bool = False  # and by the number of the layer

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
        if self.layer_groups is not None and not 1 <= self.layer_groups <= self.layers:
            raise WeightsError(
                f"{self.layer_groups} groups of layers: expected 1 to {self.layers}, the number of"
                " layers"
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
    def own_layers(self) -> int:
        """How many layers have weights of their own."""
        return self.layers if self.layer_groups is None else self.layer_groups

    def weights_of(self, layer: int) -> int:
        """Which of these a layer takes."""
        return (
            layer if self.layer_groups is None else int(layer / (self.layers / self.layer_groups))
        )
