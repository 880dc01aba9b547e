"""What encoders and decoders share."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from trainer.backbones.config import BackboneConfig
from trainer.backbones.initial_values import initial_value
from trainer.backbones.layers import Dense, Outputs, Piece, Rows
from trainer.errors import WeightsError


class Backbone(Piece):
    """A network from token ids to hidden states. The weights exist as soon as it does.

    Weights are float32 and named `encoder/layer_0/attention/query_key_value/kernel` and so on:
    kernels are (inputs, outputs), norms have `scale` and `bias`, embeddings are `word`, `position`
    and `segment`.

    Attributes:
        embeddings: a piece with `word`, (V, E).
        blocks: pieces, one for each layer with weights of its own.
        pooler: BERT's layer on [CLS]; None where there is none.
    """

    pooler: Dense | None = None

    def __init__(
        self, config: BackboneConfig, *, seed: int | None = 0, dtype: str = "float32", name: str
    ) -> None:
        """Makes the weights.

        Args:
            config: sizes and rates.
            seed: of the initial values; None leaves zeros, for a loader to fill.
            dtype: "float32" or "mixed_bfloat16" (matrix products in bfloat16).
            name: first part of the weights' names.
        """
        super().__init__(config, dtype=dtype, name=name)
        self.build()
        if seed is None:
            return
        for path, weight in self.weights_by_path().items():
            weight.assign(initial_value(config, path, tuple(weight.shape), seed))

    def weights_by_path(self) -> dict[str, keras.Variable]:
        """Every weight by its path inside the backbone, such as layer_0/attention/output/kernel."""
        own_path = f"{self.path}/"
        return {weight.path.removeprefix(own_path): weight for weight in self.weights}

    def word_embeddings(self) -> tf.Tensor:
        """(V, E), of all tokens, in the compute dtype."""
        return tf.cast(self.embeddings.word.value, self.compute_dtype)

    def pool(self, x: tf.Tensor) -> tf.Tensor:
        """BERT's pooler, on the vectors of any [CLS] tokens.

        Args:
            x: (..., H).
        Returns:
            (..., H), in (-1, 1).
        Raises:
            ValueError: this backbone has no pooler.
        """
        if self.pooler is None:
            raise ValueError(
                "expected a backbone with a pooler. Received one of architecture"
                f" {self.config.architecture!r} without"
            )
        x = tf.cast(x, self.compute_dtype)
        flat = tf.reshape(x, [-1, self.config.hidden_size])
        return tf.reshape(tf.tanh(self.pooler.apply(flat)), tf.shape(x))


def hidden_outputs(
    states: Sequence[tf.Tensor],
    rows: Rows,
    places: tf.Tensor | None,
    output_hidden_states: bool,
) -> Outputs:
    """What a backbone returns of its hidden states.

    Args:
        states: the embeddings and each layer's output, (B*S, H); with places the last is (M, H).
        rows: that were read.
        places: (M,) int32, whose last state is wanted; None: of all tokens.
        output_hidden_states: whether all states are wanted.
    Raises:
        ValueError: all are wanted, and the last are there at places only.
    """
    if places is not None:
        if output_hidden_states:
            raise ValueError("expected output_hidden_states or places. Received both")
        return {"place_output": states[-1]}
    shape = [*rows.shape, states[-1].shape[-1]]
    wide = [tf.reshape(state, shape) for state in states]
    outputs: Outputs = {"sequence_output": wide[-1]}
    if output_hidden_states:
        outputs["hidden_states"] = wide
    return outputs


def set_frozen(backbone: Backbone, *, embeddings: bool = False, layers: int = 0) -> None:
    """Chooses what is not trained: `backbone.trainable_variables` leaves it out.

    Everything else is trained. A block that layers share is frozen with the last of them.

    Args:
        backbone: to change.
        embeddings: freeze the embeddings, ELECTRA's projection included.
        layers: freeze the first so many.
    Raises:
        WeightsError: the backbone has fewer layers.
    """
    config = backbone.config
    if layers > config.layers:
        raise WeightsError(
            f"cannot freeze {layers} layers of a backbone with {config.layers}:"
            f" set backbone.freeze_layers to at most {config.layers}"
        )
    backbone.embeddings.trainable = not embeddings
    last_layer = {config.weights_of(layer): layer for layer in range(config.layers)}
    for index, block in enumerate(backbone.blocks):
        block.trainable = last_layer[index] >= layers
