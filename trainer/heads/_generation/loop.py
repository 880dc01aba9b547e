"""Generation with a cache of keys and values, in one loop that can be compiled.

A batch's prompts are padded behind to P tokens. Slot p < P of the cache is a prompt's token p, and
slot P + t the t-th new one of every row, whatever the prompt's length: so a step writes one slot.
Positions, and what is seen, follow the lengths.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainer.heads._generation.decoding import Decoding
from trainer.heads._generation.rules import Prompts
from trainer.heads._generation.samplers import Sampler
from trainer.heads._generation.state import State
from trainer.lazy import tf

if TYPE_CHECKING:
    from trainer.backbones.decoder import Decoder


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
    """Goes on from prompts with a decoder.

    Attributes:
        backbone: the decoder.
        decoding: how tokens are chosen.
        compiled: whether this is part of functions that XLA compiles.
    """

    backbone: Decoder
    decoding: Decoding
    compiled: bool = False

    @functools.cached_property
    def generate_at_once(
        self,
    ) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
        """`generate` as a function of TensorFlow, traced once for each width of prompts."""
        return tf.function(
            self.generate,
            jit_compile=self.compiled,
            autograph=False,
            reduce_retracing=not self.compiled,
        )

    def generate(
        self, token_ids: tf.Tensor, lengths: tf.Tensor, seed: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """All new tokens of each prompt.

        Args:
            token_ids: (B, P) int32, anything behind a prompt's end.
            lengths: (B,) int32, of the prompts; 0 fills up a batch: nothing is generated there.
            seed: (2,) int32, of sampling.
        Returns:
            `token_ids` (B, M) int32, pad_id behind the end; `score` (B,) float32, of beams: the sum
            of the log-probabilities, divided by the length to the power of length_penalty; else the
            sum.
        """
        sampler = self._sampler()
        state = self._read_prompts(sampler, token_ids, lengths)
        state = self._write(sampler, state, seed, self.decoding.max_new_tokens)
        return {"token_ids": state.tokens, "score": state.score}

    def start(self, token_ids: tf.Tensor, lengths: tf.Tensor) -> State:
        """Reads the prompts, see `generate`."""
        return self._read_prompts(self._sampler(), token_ids, lengths)

    def run(self, state: State, seed: tf.Tensor, steps: int | tf.Tensor) -> State:
        """So many tokens more, or fewer where all texts have ended.

        Args:
            state: of `start`, or of an earlier `run`.
            seed: (2,) int32, of sampling.
            steps: tokens.
        """
        return self._write(self._sampler(), state, seed, steps)

    def _sampler(self) -> Sampler:
        """Made outside of the loop, so that its tables are there only once."""
        return self.decoding.sampler(self.backbone.config.vocabulary_size)

    def _read_prompts(self, sampler: Sampler, token_ids: tf.Tensor, lengths: tf.Tensor) -> State:
        prompts = _prompts_of(token_ids, lengths)
        outputs = self.backbone(
            {
                "token_ids": prompts.token_ids,
                "padding_mask": tf.cast(prompts.is_real, tf.int32),
            },
            output_cache=True,
        )
        last = tf.maximum(lengths - 1, 0)
        room = [[0, 0], [0, 0], [0, self.decoding.max_new_tokens], [0, 0]]
        finished = lengths == 0
        state = State(
            step=tf.constant(0),
            width=tf.convert_to_tensor(prompts.width),
            lengths=lengths,
            hidden=tf.gather(outputs["sequence_output"], last, batch_dims=1),
            cache=tuple(tf.pad(part, room) for part in outputs["cache"]),
            marks=tuple(rule.begin(prompts) for rule in sampler.rules),
            tokens=tf.fill([prompts.batch, self.decoding.max_new_tokens], self.decoding.pad_id),
            score=tf.zeros([prompts.batch]),
            finished=finished,
            kept=sampler.begin(finished),
        )
        return _with_rows_of_texts(state, sampler.texts)

    def _write(
        self, sampler: Sampler, state: State, seed: tf.Tensor, steps: int | tf.Tensor
    ) -> State:
        most = self.decoding.max_new_tokens
        last = tf.minimum(state.step + steps, most)

        def goes_on(*parts: tf.Tensor) -> tf.Tensor:
            now = tf.nest.pack_sequence_as(state, parts)
            return (now.step < last) & ~tf.reduce_all(now.finished)

        def one_more(*parts: tf.Tensor) -> list[tf.Tensor]:
            now = tf.nest.pack_sequence_as(state, parts)
            token, after = sampler.choose(self._logits(now), now, seed)
            return tf.nest.flatten(self._read(after, token))

        parts = tf.while_loop(
            goes_on,
            one_more,
            tf.nest.flatten(state),
            maximum_iterations=most,
            parallel_iterations=1,
        )
        return tf.nest.pack_sequence_as(state, parts)

    def _logits(self, state: State) -> tf.Tensor:
        """(R, V) float32, of the next token."""
        embeddings = self.backbone.word_embeddings()
        return tf.cast(tf.matmul(state.hidden, embeddings, transpose_b=True), tf.float32)

    def _read(self, state: State, token: tf.Tensor) -> State:
        """Lets the decoder read one more token of each row."""
        slot = state.width + state.step
        slots = tf.range(tf.shape(state.cache[0])[2])
        is_of_prompt = slots < state.lengths[:, None]
        is_of_text = (slots >= state.width) & (slots <= slot)
        hidden, cache = self.backbone.step(
            token,
            state.lengths + state.step,
            state.cache,
            slot,
            is_of_prompt | is_of_text,
            compiled=self.compiled,
        )
        return state._replace(hidden=hidden, cache=cache, step=state.step + 1)


def _prompts_of(token_ids: tf.Tensor, lengths: tf.Tensor) -> Prompts:
    batch, width = (
        dynamic if static is None else static
        for static, dynamic in zip(token_ids.shape, tf.unstack(tf.shape(token_ids)), strict=True)
    )
    is_real = tf.range(width) < lengths[:, None]
    return Prompts(tf.where(is_real, token_ids, 0), is_real, batch, width)


def _with_rows_of_texts(state: State, texts: int) -> State:
    """The state with as many rows of each prompt as texts are followed."""
    if texts == 1:
        return state

    def rows(part: tf.Tensor) -> tf.Tensor:
        return tf.repeat(part, texts, axis=0)

    return state._replace(
        lengths=rows(state.lengths),
        hidden=rows(state.hidden),
        cache=tf.nest.map_structure(rows, state.cache),
        marks=tf.nest.map_structure(rows, state.marks),
    )
