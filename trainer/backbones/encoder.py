"""Encoders, whose tokens see each other, written for packed rows, XLA and few memory passes.

Tokens stay flattened, (B*S, H), from the embeddings to the end; only attention sees (B, N, S, S).
"""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from trainer.backbones.attention import attend, attention_mask, split_heads
from trainer.backbones.backbone import Backbone, hidden_outputs
from trainer.backbones.config import BackboneConfig
from trainer.backbones.execution import PLAIN, Execution, Lane
from trainer.backbones.layers import (
    SITES_OF_A_LAYER,
    Dense,
    Inputs,
    LayerNorm,
    Outputs,
    Piece,
    Rows,
    add_dense,
    at_places,
    given_inputs,
    known_shape,
    look_up,
    look_up_positions,
    look_up_words,
    make_masks,
)


class _Embeddings(Piece):
    def build(self) -> None:
        config = self.config
        width = config.embedding_size
        positions = config.max_positions + config.first_position
        self.word = self.weight("word", config.vocabulary_size, width)
        self.position = self.weight("position", positions, width)
        self.segment = None
        if config.segment_types:
            self.segment = self.weight("segment", config.segment_types, width)
        self.norm = self.part(LayerNorm, "norm", width)
        self.project = None
        if config.projects_embeddings:
            self.project = self.part(Dense, "project", width, config.hidden_size)

    def apply(self, inputs: Inputs, rows: Rows) -> tf.Tensor:
        """(T, H), where T = B*S."""
        config = self.config
        x = look_up_words(self.word, inputs)  # (B, S, E)
        x += look_up_positions(self.position, inputs, config)
        if self.segment is not None:
            x += _look_up_segments(self.segment, inputs)
        x = tf.reshape(x, [-1, config.embedding_size])  # (T, E)
        x = self.norm.apply(x, rows)
        x = rows.drop(x, config.input_dropout, 0)
        if self.project is None:
            return x
        return self.project.apply(x)


def _look_up_segments(segment: keras.Variable, inputs: Inputs) -> tf.Tensor:
    """(B, S, E); (E,) where all tokens are of the first segment."""
    segment_types = segment.shape[0]
    if "segment_ids" in inputs and segment_types > 1:
        return look_up(segment, inputs["segment_ids"])
    return segment.value[0]


class _Attention(Piece):
    def build(self) -> None:
        hidden = self.config.hidden_size
        self.query_key_value = self.part(Dense, "query_key_value", hidden, 3 * hidden)
        self.output_dense = self.part(Dense, "output", hidden, hidden)
        self.norm = self.part(LayerNorm, "norm", hidden)

    def apply(
        self, x: tf.Tensor, rows: Rows, site: int, places: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """(T, H) -> (M, H) of the places, of all where there are none; the probabilities.

        The probabilities are (B, N, S, S).
        """
        config = self.config
        fused = self.query_key_value.apply(x)  # one product for the three
        query, key, value = split_heads(fused, rows.shape, config.heads)
        scale = 1 / math.sqrt(config.head_size)
        mixed, probabilities = attend(
            query * scale,
            key,
            value,
            rows,
            rate=config.attention_dropout,
            site=site,
        )
        if places is not None:
            x = at_places(x, places)
            mixed = at_places(mixed, places)
        x = add_dense(
            x,
            self.output_dense,
            mixed,
            rows,
            rate=config.hidden_dropout if config.family.blocks.drops_attention_output else 0.0,
            site=site + 1,
            places=places,
            norm=self.norm,
        )
        return x, probabilities


class _FeedForward(Piece):
    def build(self) -> None:
        hidden = self.config.hidden_size
        inner = self.config.intermediate_size
        self.intermediate = self.part(Dense, "intermediate", hidden, inner)
        self.output_dense = self.part(Dense, "output", inner, hidden)
        self.norm = self.part(LayerNorm, "norm", hidden)

    def apply(self, x: tf.Tensor, rows: Rows, site: int, places: tf.Tensor | None) -> tf.Tensor:
        """(M, H), of the places or of all -> the same."""
        config = self.config
        y = self.intermediate.activate(x, rows)  # (T, intermediate size)
        return add_dense(
            x,
            self.output_dense,
            y,
            rows,
            rate=config.hidden_dropout if config.family.blocks.drops_feed_forward_output else 0.0,
            site=site,
            places=places,
            norm=self.norm,
        )


class _Block(Piece):
    def build(self) -> None:
        self.attention = self.part(_Attention, "attention")
        self.feed_forward = self.part(_FeedForward, "feed_forward")

    def apply(
        self, x: tf.Tensor, rows: Rows, site: int, places: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """As the attention's."""
        with tf.name_scope("attention"):
            x, probabilities = self.attention.apply(x, rows, site, places)
        with tf.name_scope("feed_forward"):
            x = self.feed_forward.apply(x, rows, site + 2, places)
        return x, probabilities


class Encoder(Backbone):
    """An encoder of the BERT kind: BERT, DistilBERT, ELECTRA, RoBERTa, XLM-R or ALBERT.

    Source: Vaswani et al. 2017; what tells the families apart is in families/.
    """

    def __init__(
        self,
        config: BackboneConfig,
        *,
        seed: int | None = 0,
        dtype: str = "float32",
        name: str = "encoder",
    ) -> None:
        """Makes the weights; see `Backbone`."""
        super().__init__(config, seed=seed, dtype=dtype, name=name)

    def build(self) -> None:
        """Embeddings, layers, and the pooler if there is one."""
        hidden = self.config.hidden_size
        self.embeddings = self.part(_Embeddings, "embeddings")
        names = [f"layer_{layer}" for layer in range(self.config.own_layers)]
        self.blocks = [self.part(_Block, name) for name in names]
        if self.config.pooler:
            self.pooler = self.part(Dense, "pooler", hidden, hidden)

    def call(
        self,
        inputs: Inputs,
        *,
        places: tf.Tensor | None = None,
        training: bool = False,
        dropout_seed: tf.Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        execution: Execution = PLAIN,
    ) -> Outputs:
        """Encodes rows of tokens.

        Args:
            inputs: each (B, S) int32: `token_ids`; optional `segment_ids` (default 0),
                `position_ids` (0 to S-1), `padding_mask` (all 1; bool too) and `sequence_ids`,
                which example of a packed row a token belongs to, 0 on padding: attention stays
                inside equal ids. Without it a row is one example.
            places: (M,) int32, among the B*S tokens: those whose last hidden state is wanted. What
                the last layer would compute of the others is left out.
            training: drop out.
            dropout_seed: (2,) int32; the masks are a pure function of it.
            output_hidden_states: return the embeddings and every layer's output too.
            output_attentions: return every layer's attention probabilities too.
            execution: how it is run.
        Returns:
            `sequence_output` (B, S, H) in the compute dtype; `pooled_output` (B, H) if there is a
            pooler: the first position's, so use `pool` for packed rows; `hidden_states`, layers + 1
            of (B, S, H); `attentions`, layers of (B, N, S, S). With places, `place_output` (M, H)
            in place of the first three.
        Raises:
            ValueError: training with dropout and no dropout_seed; more positions than the encoder
                has; places and output_hidden_states.
        """

        def read(lane: Lane) -> Outputs:
            rows = Rows(
                shape=known_shape(lane.inputs["token_ids"]),
                mask=attention_mask(lane.inputs),
                masks=make_masks(self.config, training, dropout_seed, lane.rows_before),
                compile_parts=execution.compile_parts,
            )
            flat_states, attentions = self._run_layers(lane.inputs, rows, lane.places)
            outputs = hidden_outputs(flat_states, rows, lane.places, output_hidden_states)
            if self.pooler and lane.places is None:
                width = rows.shape[1]
                outputs["pooled_output"] = self.pool(flat_states[-1][::width])
            if output_attentions:
                outputs["attentions"] = attentions
            return outputs

        return execution.run(read, given_inputs(inputs), places)

    def _run_layers(
        self, inputs: Inputs, rows: Rows, places: tf.Tensor | None
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """The embeddings and each layer's output, (T, H); each layer's probabilities.

        With places the last output is theirs, (M, H).
        """
        with tf.name_scope("embeddings"):
            x = self.embeddings.apply(inputs, rows)
        states = [x]
        attentions = []
        for layer in range(self.config.layers):
            block = self.blocks[self.config.weights_of(layer)]
            site = 1 + SITES_OF_A_LAYER * layer
            with tf.name_scope(f"layer_{layer}"):  # XLA names them in what it reports
                is_last = layer == self.config.layers - 1
                x, probabilities = block.apply(x, rows, site, places if is_last else None)
            states.append(x)
            attentions.append(probabilities)
        return states, attentions
