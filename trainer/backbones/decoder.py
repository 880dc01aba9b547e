"""GPT-2's decoder, whose tokens see only those before them.

It reads packed rows, and generates with a cache.
"""

from __future__ import annotations

import math

import tensorflow as tf

from trainer.backbones.attention import MASKED, attend, attention_mask, split_heads
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
    look_up_positions,
    look_up_words,
    make_masks,
)

Cache = tuple[tf.Tensor, ...]  # of each layer the keys, (B, N, T, H/N), and the values, the same


class _Embeddings(Piece):
    def build(self) -> None:
        hidden = self.config.hidden_size
        self.word = self.weight("word", self.config.vocabulary_size, hidden)
        self.position = self.weight("position", self.config.max_positions, hidden)

    def apply(self, inputs: Inputs, rows: Rows) -> tf.Tensor:
        """(T, H), where T = B*S."""
        x = look_up_words(self.word, inputs)  # (B, S, H)
        x += look_up_positions(self.position, inputs, self.config)
        x = tf.reshape(x, [-1, self.config.hidden_size])
        x = tf.cast(x, self.compute_dtype)
        return rows.drop(x, self.config.input_dropout, 0)


class _Attention(Piece):
    def build(self) -> None:
        hidden = self.config.hidden_size
        self.norm = self.part(LayerNorm, "norm", hidden)
        self.query_key_value = self.part(Dense, "query_key_value", hidden, 3 * hidden)
        self.output_dense = self.part(Dense, "output", hidden, hidden)

    def project(
        self, x: tf.Tensor, rows: Rows, layer: int
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Makes queries, keys and values of the stream.

        Args:
            x: (T, H).
            rows: that are read.
            layer: the number of the layer, from 0.
        Returns:
            Queries, scaled, keys and values, (B, N, S, H/N) each.
        """
        normed = self.norm.apply(x, rows)
        fused = self.query_key_value.apply(normed)  # one product for the three
        query, key, value = split_heads(fused, rows.shape, self.config.heads)
        query *= self._scale(layer)
        return query, key, value

    def _scale(self, layer: int) -> float:
        scale = 1.0
        if self.config.scale_attention:
            scale = 1 / math.sqrt(self.config.head_size)
        if self.config.scale_attention_by_layer:
            scale /= layer + 1
        return scale

    def attend(
        self,
        x: tf.Tensor,
        query: tf.Tensor,
        key: tf.Tensor,
        value: tf.Tensor,
        rows: Rows,
        site: int,
        places: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The stream with what its tokens have seen, (T, H); the probabilities.

        Args:
            x: the stream, (T, H).
            query, key, value, rows: as those of `attention.attend`.
            site: of the first of two dropouts.
            places: (M,) int32, the tokens that are read, so that the stream becomes (M, H); None:
                all.
        """
        mixed, probabilities = attend(
            query,
            key,
            value,
            rows,
            rate=self.config.attention_dropout,
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
            rate=self.config.hidden_dropout,
            site=site + 1,
            places=places,
        )
        return x, probabilities


class _FeedForward(Piece):
    def build(self) -> None:
        hidden = self.config.hidden_size
        inner = self.config.intermediate_size
        self.norm = self.part(LayerNorm, "norm", hidden)
        self.intermediate = self.part(Dense, "intermediate", hidden, inner)
        self.output_dense = self.part(Dense, "output", inner, hidden)

    def apply(
        self, x: tf.Tensor, rows: Rows, site: int, places: tf.Tensor | None = None
    ) -> tf.Tensor:
        """(M, H), of the places or of all -> the same."""
        normed = self.norm.apply(x, rows)
        y = self.intermediate.activate(normed, rows)  # (T, intermediate size)
        return add_dense(
            x,
            self.output_dense,
            y,
            rows,
            rate=self.config.hidden_dropout,
            site=site,
            places=places,
        )


class _Block(Piece):
    def build(self) -> None:
        self.attention = self.part(_Attention, "attention")
        self.feed_forward = self.part(_FeedForward, "feed_forward")


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

    def build(self) -> None:
        """Embeddings, layers and the last norm."""
        self.embeddings = self.part(_Embeddings, "embeddings")
        names = [f"layer_{layer}" for layer in range(self.config.layers)]
        self.blocks = [self.part(_Block, name) for name in names]
        self.norm = self.part(LayerNorm, "norm", self.config.hidden_size)

    def call(
        self,
        inputs: Inputs,
        *,
        places: tf.Tensor | None = None,
        training: bool = False,
        dropout_seed: tf.Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        output_cache: bool = False,
        execution: Execution = PLAIN,
    ) -> Outputs:
        """Reads rows of tokens.

        Args:
            inputs: as the encoder's; `segment_ids` are not looked at.
            places, training, dropout_seed, output_hidden_states, output_attentions, execution:
                as the encoder's.
            output_cache: return what later tokens need of these.
        Returns:
            `sequence_output` (B, S, H) in the compute dtype, after the last norm; `hidden_states`,
            the embeddings and every layer's output, of which the last is after the norm, as in
            Hugging Face; `attentions`; `cache`, (B, N, S, H/N) each. With places, `place_output`
            (M, H) in place of the first two.
        Raises:
            ValueError: training with dropout and no dropout_seed; more positions than the decoder
                has; places and output_hidden_states.
        """

        def read(lane: Lane) -> Outputs:
            rows = Rows(
                shape=known_shape(lane.inputs["token_ids"]),
                mask=attention_mask(lane.inputs, causal=True),
                masks=make_masks(self.config, training, dropout_seed, lane.rows_before),
                compile_parts=execution.compile_parts,
            )
            states, attentions, cache = self._run_layers(lane.inputs, rows, lane.places)
            states[-1] = self.norm.apply(states[-1], rows)
            outputs = hidden_outputs(states, rows, lane.places, output_hidden_states)
            if output_attentions:
                outputs["attentions"] = attentions
            if output_cache:
                outputs["cache"] = cache
            return outputs

        return execution.run(read, given_inputs(inputs), places)

    def _run_layers(
        self, inputs: Inputs, rows: Rows, places: tf.Tensor | None
    ) -> tuple[list[tf.Tensor], list[tf.Tensor], Cache]:
        """The embeddings and each layer's output, (T, H); each layer's probabilities; the cache.

        With places the last output is theirs, (M, H).
        """
        with tf.name_scope("embeddings"):
            x = self.embeddings.apply(inputs, rows)
        states = [x]
        attentions = []
        cache: list[tf.Tensor] = []
        for layer, block in enumerate(self.blocks):
            site = 1 + SITES_OF_A_LAYER * layer
            with tf.name_scope(block.name):
                with tf.name_scope("attention"):
                    query, key, value = block.attention.project(x, rows, layer)
                    is_last = layer == self.config.layers - 1
                    read = places if is_last else None
                    x, probabilities = block.attention.attend(
                        x, query, key, value, rows, site, read
                    )
                with tf.name_scope("feed_forward"):
                    x = block.feed_forward.apply(x, rows, site + 2, read)
            states.append(x)
            attentions.append(probabilities)
            cache += [key, value]
        return states, attentions, tuple(cache)

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
        mask = tf.where(seen, 0.0, MASKED)
        rows = Rows(
            shape=[*known_shape(token_ids), 1],
            mask=mask[:, None, None, :],
            masks=None,
        )
        write = _write_compiled if compiled else _write_in_place
        inputs = {
            "token_ids": token_ids[:, None],
            "position_ids": position_ids[:, None],
        }
        x = self.embeddings.apply(inputs, rows)
        filled: list[tf.Tensor] = []
        for layer, block in enumerate(self.blocks):
            attention = block.attention
            query, key, value = attention.project(x, rows, layer)
            keys = write(cache[2 * layer], slot, key)
            values = write(cache[2 * layer + 1], slot, value)
            x, _ = attention.attend(x, query, keys, values, rows, site=0)
            x = block.feed_forward.apply(x, rows, site=0)
            filled += [keys, values]
        return self.norm.apply(x, rows), tuple(filled)


def _write_in_place(cache: tf.Tensor, slot: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """Writes a slot of (B, N, T, D), in place where the loop holds the only copy.

    XLA cannot compile this: it wants to know the slot beforehand.
    """
    all_but_the_slots = 0b1011  # bit by axis
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=cache,
        begin=tf.stack([0, 0, slot, 0]),
        end=tf.stack([0, 0, slot + 1, 0]),
        strides=[1] * 4,
        value=new,
        begin_mask=all_but_the_slots,
        end_mask=all_but_the_slots,
    )


def _write_compiled(cache: tf.Tensor, slot: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """The same as XLA writes it in place, where TensorFlow's own kernel copies all."""
    batch, heads, *_ = known_shape(cache)
    axes = tf.meshgrid(
        tf.range(batch),
        tf.range(heads),
        slot,
        indexing="ij",
    )
    places = tf.stack(axes, axis=-1)
    places = tf.reshape(places, [-1, 3])
    vectors = tf.reshape(new, [-1, new.shape[-1]])
    return tf.tensor_scatter_nd_update(cache, places, vectors)
