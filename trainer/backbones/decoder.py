"""GPT-2: a decoder, whose tokens see only what stands before them, for packed rows and for
generation with a cache.
"""

import math

import tensorflow as tf

from trainer.backbones.activations import ACTIVATIONS
from trainer.backbones.backbone import Backbone
from trainer.backbones.config import BackboneConfig
from trainer.backbones.layers import (
    MASKED,
    Dense,
    LayerNorm,
    Piece,
    attention_mask,
    checked_seed,
    dropout,
    embedding_dropout,
    look_up_positions,
)

Cache = tuple[tf.Tensor, ...]  # of each layer the keys, (B, N, T, H/N), and the values, the same


class _Embeddings(Piece):
    def build(self) -> None:
        c = self.config
        self.word = self.weight("word", c.vocabulary_size, c.hidden_size)
        self.position = self.weight("position", c.max_positions, c.hidden_size)

    def apply(self, inputs: dict[str, tf.Tensor], seed: tf.Tensor | None) -> tf.Tensor:
        x = tf.gather(self.word.value, inputs["token_ids"]) + look_up_positions(
            self.position, inputs, self.config
        )
        x = tf.cast(tf.reshape(x, [-1, self.config.hidden_size]), self.compute_dtype)
        return dropout(x, embedding_dropout(self.config), seed, 0)  # (T, H)


class _Attention(Piece):
    def build(self) -> None:
        hidden = self.config.hidden_size
        layer = {"dtype": self.dtype_policy}
        self.norm = LayerNorm(self.config, hidden, name="norm", **layer)
        self.query_key_value = Dense(
            self.config, hidden, 3 * hidden, name="query_key_value", **layer
        )
        self.output_dense = Dense(self.config, hidden, hidden, name="output", **layer)
        for piece in (self.norm, self.query_key_value, self.output_dense):
            piece.build()

    def project(
        self, x: tf.Tensor, shape: list, layer: int
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Queries, scaled, keys and values, (B, N, S, H/N) each."""
        c = self.config
        size = c.hidden_size // c.heads
        fused = tf.reshape(
            self.query_key_value.apply(self.norm.apply(x)), [*shape, 3, c.heads, size]
        )
        query, key, value = tf.unstack(tf.transpose(fused, [2, 0, 3, 1, 4]))
        scale = (1 / math.sqrt(size) if c.scale_attention else 1.0) / (
            layer + 1 if c.scale_attention_by_layer else 1
        )
        return query * scale, key, value

    def attend(
        self,
        query: tf.Tensor,
        key: tf.Tensor,
        value: tf.Tensor,
        mask: tf.Tensor,
        seed: tf.Tensor | None,
        site: int,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What to add to the stream, (T, H), and the probabilities, (B, N, S, T)."""
        c = self.config
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
        probabilities = tf.cast(tf.nn.softmax(scores + mask), self.compute_dtype)
        context = tf.matmul(dropout(probabilities, c.attention_dropout, seed, site), value)
        y = self.output_dense.apply(
            tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, c.hidden_size])
        )
        return dropout(y, c.hidden_dropout, seed, site + 1), probabilities


class _FeedForward(Piece):
    def build(self) -> None:
        c, layer = self.config, {"dtype": self.dtype_policy}
        self.norm = LayerNorm(c, c.hidden_size, name="norm", **layer)
        self.intermediate = Dense(
            c, c.hidden_size, c.intermediate_size, name="intermediate", **layer
        )
        self.output_dense = Dense(c, c.intermediate_size, c.hidden_size, name="output", **layer)
        for piece in (self.norm, self.intermediate, self.output_dense):
            piece.build()

    def apply(self, x: tf.Tensor, seed: tf.Tensor | None, site: int) -> tf.Tensor:
        y = self.output_dense.apply(
            ACTIVATIONS[self.config.activation](self.intermediate.apply(self.norm.apply(x)))
        )
        return x + dropout(y, self.config.hidden_dropout, seed, site)


class _Block(Piece):
    def __init__(self, config: BackboneConfig, **layer) -> None:
        super().__init__(config, **layer)
        self.attention = _Attention(config, dtype=self.dtype_policy, name="attention")
        self.feed_forward = _FeedForward(config, dtype=self.dtype_policy, name="feed_forward")

    def build(self) -> None:
        self.attention.build()
        self.feed_forward.build()


class Decoder(Backbone):
    """A GPT-2.

    Source: Radford et al. 2019.
    """

    def __init__(
        self,
        config: BackboneConfig,
        *,
        seed: int | None = 0,
        dtype: str = "float32",
        name: str = "decoder",
    ) -> None:
        """Makes the weights; see `Backbone`."""
        super().__init__(config, seed=seed, dtype=dtype, name=name)

    def make(self) -> list[Piece]:
        """Embeddings, layers and the last norm."""
        c, layer = self.config, {"dtype": self.dtype_policy}
        self.embeddings = _Embeddings(c, name="embeddings", **layer)
        self.blocks = [_Block(c, name=f"layer_{i}", **layer) for i in range(c.layers)]
        self.norm = LayerNorm(c, c.hidden_size, name="norm", **layer)
        return [self.embeddings, *self.blocks, self.norm]

    def call(
        self,
        inputs: dict[str, tf.Tensor],
        *,
        training: bool = False,
        dropout_seed: tf.Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        output_cache: bool = False,
    ) -> dict[str, tf.Tensor | list[tf.Tensor]]:
        """Reads rows of tokens.

        Args:
            inputs: as the encoder's; `segment_ids` are not looked at.
            training, dropout_seed, output_hidden_states, output_attentions: as the encoder's.
            output_cache: return what later tokens need of these.
        Returns:
            `sequence_output` (B, S, H) in the compute dtype, after the last norm; `hidden_states`,
            the embeddings and every layer's output, of which the last is after the norm, as in
            Hugging Face; `attentions`; `cache`, (B, N, S, H/N) each.
        Raises:
            ValueError: training with dropout and no dropout_seed; more positions than the decoder
                has.
        """
        inputs = {name: tf.convert_to_tensor(x) for name, x in inputs.items() if x is not None}
        seed = checked_seed(self.config, training, dropout_seed)
        tokens = inputs["token_ids"]
        shape = [
            static or dynamic
            for static, dynamic in zip(tokens.shape, tf.unstack(tf.shape(tokens)), strict=True)
        ]
        mask = attention_mask(inputs, causal=True)
        with tf.name_scope("embeddings"):
            x = self.embeddings.apply(inputs, seed)
        states = [x]
        attentions = []
        cache = []
        for layer, block in enumerate(self.blocks):
            with tf.name_scope(block.name):
                with tf.name_scope("attention"):
                    query, key, value = block.attention.project(x, shape, layer)
                    y, probabilities = block.attention.attend(
                        query, key, value, mask, seed, 1 + 3 * layer
                    )
                with tf.name_scope("feed_forward"):
                    x = block.feed_forward.apply(x + y, seed, 3 + 3 * layer)
            states.append(x)
            attentions.append(probabilities)
            cache += [key, value]
        states[-1] = self.norm.apply(x)
        states = [tf.reshape(state, [*shape, self.config.hidden_size]) for state in states]
        outputs = {"sequence_output": states[-1]}
        outputs |= {"hidden_states": states} if output_hidden_states else {}
        outputs |= {"attentions": attentions} if output_attentions else {}
        return outputs | ({"cache": tuple(cache)} if output_cache else {})

    def step(
        self,
        token_ids: tf.Tensor,
        position_ids: tf.Tensor,
        cache: Cache,
        slot: tf.Tensor,
        seen: tf.Tensor,
        *,
        compiled: bool = False,
    ) -> tuple[tf.Tensor, Cache]:
        """Reads one more token of each row.

        Args:
            token_ids, position_ids: (B,) int32.
            cache: of T slots.
            slot: () int32, where in it these tokens go.
            seen: (B, T) bool, the slots that they see, their own included.
            compiled: by XLA, which has another way to write a slot in place.
        Returns:
            (B, H) in the compute dtype, after the last norm; the cache with these tokens.
        """
        shape = [token_ids.shape[0] or tf.shape(token_ids)[0], 1]
        mask = tf.where(seen, 0.0, MASKED)[:, None, None, :]
        write = _scatter if compiled else _assign
        x = self.embeddings.apply(
            {"token_ids": token_ids[:, None], "position_ids": position_ids[:, None]}, None
        )
        filled = []
        for layer, block in enumerate(self.blocks):
            query, key, value = block.attention.project(x, shape, layer)
            key = write(cache[2 * layer], slot, key)
            value = write(cache[2 * layer + 1], slot, value)
            x = block.feed_forward.apply(
                x + block.attention.attend(query, key, value, mask, None, 0)[0], None, 0
            )
            filled += [key, value]
        return self.norm.apply(x), tuple(filled)


def _assign(cache: tf.Tensor, slot: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """A slot of (B, N, T, D) written, in place where the loop holds the only copy; XLA wants to
    know the slot beforehand.
    """
    first, behind = (tf.stack([0, 0, place, 0]) for place in (slot, slot + 1))
    everything = 0b1011  # of the axes but that of the slots
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=cache,
        begin=first,
        end=behind,
        strides=[1] * 4,
        value=new,
        begin_mask=everything,
        end_mask=everything,
    )


def _scatter(cache: tf.Tensor, slot: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """The same as XLA writes it in place, where TensorFlow's own kernel copies all."""
    batch, heads = (
        static or dynamic
        for static, dynamic in zip(cache.shape[:2], tf.unstack(tf.shape(cache)[:2]), strict=True)
    )
    places = tf.reshape(
        tf.stack(tf.meshgrid(tf.range(batch), tf.range(heads), slot, indexing="ij"), axis=-1),
        [-1, 3],
    )
    return tf.tensor_scatter_nd_update(cache, places, tf.reshape(new, [-1, new.shape[-1]]))
