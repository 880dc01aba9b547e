"""The BERT family, encoders whose tokens see each other, written for packed rows, XLA and few
memory passes.

Tokens stay flattened, (B*S, H), from the embeddings to the end; only attention sees (B, N, S, S).
"""

import math

import tensorflow as tf

from trainer.backbones.activations import ACTIVATIONS
from trainer.backbones.backbone import Backbone
from trainer.backbones.config import BackboneConfig
from trainer.backbones.layers import (
    Dense,
    LayerNorm,
    Piece,
    attention_mask,
    checked_seed,
    dropout,
    embedding_dropout,
    look_up_positions,
)


class _Embeddings(Piece):
    def build(self) -> None:
        c = self.config
        layer = {"dtype": self.dtype_policy}
        self.word = self.weight("word", c.vocabulary_size, c.embedding_size)
        self.position = self.weight(
            "position", c.max_positions + c.first_position, c.embedding_size
        )
        self.segment = (
            self.weight("segment", c.segment_types, c.embedding_size) if c.segment_types else None
        )
        self.norm = LayerNorm(c, c.embedding_size, name="norm", **layer)
        self.norm.build()
        self.project = None
        if c.projects_embeddings:
            self.project = Dense(c, c.embedding_size, c.hidden_size, name="project", **layer)
            self.project.build()

    def apply(self, inputs: dict[str, tf.Tensor], seed: tf.Tensor | None) -> tf.Tensor:
        tokens = inputs["token_ids"]
        x = tf.gather(self.word.value, tokens)  # (B, S, E)
        x += look_up_positions(self.position, inputs, self.config)
        if self.segment is not None:
            chosen = "segment_ids" in inputs and self.config.segment_types > 1
            x += (
                tf.gather(self.segment.value, inputs["segment_ids"])
                if chosen
                else self.segment.value[0]
            )
        x = self.norm.apply(tf.reshape(x, [-1, self.config.embedding_size]))  # (T, E)
        x = dropout(x, embedding_dropout(self.config), seed, 0)
        return x if self.project is None else self.project.apply(x)  # (T, H)


class _Attention(Piece):
    def build(self) -> None:
        hidden = self.config.hidden_size
        layer = {"dtype": self.dtype_policy}
        self.query_key_value = Dense(
            self.config, hidden, 3 * hidden, name="query_key_value", **layer
        )
        self.output_dense = Dense(self.config, hidden, hidden, name="output", **layer)
        self.norm = LayerNorm(self.config, hidden, name="norm", **layer)
        for piece in (self.query_key_value, self.output_dense, self.norm):
            piece.build()

    def apply(
        self, x: tf.Tensor, shape: list, mask: tf.Tensor | None, seed: tf.Tensor | None, site: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        c = self.config
        batch, tokens, size = *shape, c.hidden_size // c.heads
        fused = tf.reshape(self.query_key_value.apply(x), [batch, tokens, 3, c.heads, size])
        # (B, N, S, H/N), one pass for the three
        query, key, value = tf.unstack(tf.transpose(fused, [2, 0, 3, 1, 4]))
        scores = tf.matmul(query * (1 / math.sqrt(size)), key, transpose_b=True)  # (B, N, S, S)
        scores = tf.cast(scores, tf.float32)
        probabilities = tf.cast(
            tf.nn.softmax(scores if mask is None else scores + mask), self.compute_dtype
        )
        # (B, N, S, H/N)
        context = tf.matmul(dropout(probabilities, c.attention_dropout, seed, site), value)
        # (T, H)
        y = self.output_dense.apply(
            tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, c.hidden_size])
        )
        if c.family.blocks.drops_attention_output:
            y = dropout(y, c.hidden_dropout, seed, site + 1)
        return self.norm.apply(x + y), probabilities


class _FeedForward(Piece):
    def build(self) -> None:
        c, layer = self.config, {"dtype": self.dtype_policy}
        self.intermediate = Dense(
            c, c.hidden_size, c.intermediate_size, name="intermediate", **layer
        )
        self.output_dense = Dense(c, c.intermediate_size, c.hidden_size, name="output", **layer)
        self.norm = LayerNorm(c, c.hidden_size, name="norm", **layer)
        for piece in (self.intermediate, self.output_dense, self.norm):
            piece.build()

    def apply(self, x: tf.Tensor, seed: tf.Tensor | None, site: int) -> tf.Tensor:
        y = self.output_dense.apply(ACTIVATIONS[self.config.activation](self.intermediate.apply(x)))
        if self.config.family.blocks.drops_feed_forward_output:
            y = dropout(y, self.config.hidden_dropout, seed, site)
        return self.norm.apply(x + y)


class _Block(Piece):
    def __init__(self, config: BackboneConfig, **layer) -> None:
        super().__init__(config, **layer)
        self.attention = _Attention(config, dtype=self.dtype_policy, name="attention")
        self.feed_forward = _FeedForward(config, dtype=self.dtype_policy, name="feed_forward")

    def build(self) -> None:
        self.attention.build()
        self.feed_forward.build()

    def apply(
        self, x: tf.Tensor, shape: list, mask: tf.Tensor | None, seed: tf.Tensor | None, site: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.name_scope("attention"):
            x, probabilities = self.attention.apply(x, shape, mask, seed, site)
        with tf.name_scope("feed_forward"):
            return self.feed_forward.apply(x, seed, site + 2), probabilities


class Encoder(Backbone):
    """A BERT, DistilBERT, ELECTRA, RoBERTa, XLM-R or ALBERT encoder.

    Source: Devlin et al. 2019; Sanh et al. 2019; Clark et al. 2020; Liu et al. 2019; Conneau et al.
    2020; Lan et al. 2020.
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

    def make(self) -> list[Piece]:
        """Embeddings, layers, and the pooler if there is one."""
        c, layer = self.config, {"dtype": self.dtype_policy}
        self.embeddings = _Embeddings(c, name="embeddings", **layer)
        self.blocks = [_Block(c, name=f"layer_{i}", **layer) for i in range(c.own_layers)]
        if c.pooler:
            self.pooler = Dense(c, c.hidden_size, c.hidden_size, name="pooler", **layer)
        return [self.embeddings, *self.blocks, *([self.pooler] if c.pooler else [])]

    def call(
        self,
        inputs: dict[str, tf.Tensor],
        *,
        training: bool = False,
        dropout_seed: tf.Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> dict[str, tf.Tensor | list[tf.Tensor]]:
        """Encodes rows of tokens.

        Args:
            inputs: each (B, S) int32: `token_ids`; optional `segment_ids` (default 0),
                `position_ids` (0 to S-1), `padding_mask` (all 1; bool too) and `sequence_ids`,
                which example of a packed row a token belongs to, 0 on padding: attention stays
                inside equal ids. Without it a row is one example.
            training: drop out.
            dropout_seed: (2,) int32; the masks are a pure function of it.
            output_hidden_states: return the embeddings and every layer's output too.
            output_attentions: return every layer's attention probabilities too.
        Returns:
            `sequence_output` (B, S, H) in the compute dtype; `pooled_output` (B, H) if there is a
            pooler: the first position's, so use `pool` for packed rows; `hidden_states`, layers + 1
            of (B, S, H); `attentions`, layers of (B, N, S, S).
        Raises:
            ValueError: training with dropout and no dropout_seed; more positions than the encoder
                has.
        """
        inputs = {name: tf.convert_to_tensor(x) for name, x in inputs.items() if x is not None}
        seed = checked_seed(self.config, training, dropout_seed)
        tokens = inputs["token_ids"]
        shape = [
            static or dynamic
            for static, dynamic in zip(tokens.shape, tf.unstack(tf.shape(tokens)), strict=True)
        ]
        mask = attention_mask(inputs)
        with tf.name_scope("embeddings"):
            x = self.embeddings.apply(inputs, seed)  # (T, H), where T = B*S
        states, attentions = [x], []
        for layer in range(self.config.layers):
            with tf.name_scope(f"layer_{layer}"):  # XLA names them in what it reports
                x, probabilities = self.blocks[self.config.weights_of(layer)].apply(
                    x, shape, mask, seed, 1 + 3 * layer
                )
            states.append(x)
            attentions.append(probabilities)
        states = [tf.reshape(state, [*shape, self.config.hidden_size]) for state in states]
        outputs = {"sequence_output": states[-1]}
        outputs |= {"pooled_output": self.pool(states[-1][:, 0])} if self.pooler else {}
        outputs |= {"hidden_states": states} if output_hidden_states else {}
        return outputs | ({"attentions": attentions} if output_attentions else {})
