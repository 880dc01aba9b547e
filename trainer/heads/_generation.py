"""Generation with a cache of keys and values: greedy, sampled, or by beams, in one loop that can be
compiled.

A batch's prompts are padded behind to P tokens. Slot p < P of the cache is a prompt's token p, and
slot P + t the t-th new one of every row, whatever the prompt's length: so a step writes one slot.
Positions, and what is seen, follow the lengths.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from trainer.lazy import tf

NEVER = -1e9  # the score of a beam that is none
State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How tokens are chosen; the names are those of Hugging Face's GenerationConfig.

    Attributes:
        eos_id: ends a text; None: nothing does.
        pad_id: behind the end.
        stop: texts that end one, as bytes.
        opening: what a text may begin with, a byte at most, in which no stop is looked for.
        token_bytes: of each token; only needed for `stop`.
    """

    max_new_tokens: int
    eos_id: int | None
    pad_id: int
    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int | None = None
    min_new_tokens: int = 0
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    stop: tuple[bytes, ...] = ()
    opening: bytes = b""
    token_bytes: Sequence[bytes] = ()


class ManyPrompts:
    """Continues any number of prompts, long ones with long ones.

    More than a batch are padded to few lengths, for each of which the loop is compiled once.

    Args:
        batch_size: texts that are followed at once; of beams there are as many fewer prompts.
    """

    def __init__(self, generator: Generator, batch_size: int) -> None:
        self.generator = generator
        self.batch_size = max(1, batch_size // generator.decoding.num_beams)
        self.longest = generator.backbone.config.max_positions - generator.decoding.max_new_tokens
        generators = {
            False: generator,
            True: Generator(generator.backbone, generator.decoding, compiled=True),
        }
        self._generate = {
            compiled: tf.function(
                each.generate, jit_compile=compiled, autograph=False, reduce_retracing=not compiled
            )
            for compiled, each in generators.items()
        }

    def batches(self, prompts: int) -> int:
        """How many so many prompts make."""
        return -(-prompts // self.batch_size)

    def generate(
        self,
        prompts: Sequence[np.ndarray],
        seed: int,
        on_batch: Callable[[int, int], None] = lambda done, total: None,
        *,
        drawn: int = 0,
    ) -> dict[str, np.ndarray]:
        """What `Generator.generate` gives, in the order of the prompts.

        Args:
            prompts: (S,) int32 each, at least one token; a longer one than there is room for loses
                its beginning.
            seed: of sampling.
            drawn: batches that were drawn with this seed before, so that the same draws never come
                twice.
            on_batch: called with how many are done, and how many there are.
        """
        found: dict[str, np.ndarray] = {}
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        compiled = len(prompts) > self.batch_size
        for batch in range(self.batches(len(order))):
            members = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            rows = len(members)
            width = min(self.longest, len(prompts[members[0]]))
            if compiled:
                rows = self.batch_size
                width = min(self.longest, max(8, 1 << (width - 1).bit_length()))
            ids = np.zeros((rows, width), np.int32)
            lengths = np.zeros(rows, np.int32)
            for row, index in enumerate(members):
                prompt = prompts[index][-width:]
                ids[row, : len(prompt)], lengths[row] = prompt, len(prompt)
            outcome = self._generate[compiled](
                tf.constant(ids), tf.constant(lengths), tf.constant([seed, drawn + batch])
            )
            for name, values in outcome.items():
                found.setdefault(
                    name, np.zeros((len(prompts), *values.shape[1:]), values.dtype.as_numpy_dtype)
                )[members] = values.numpy()[: len(members)]
            on_batch(batch * self.batch_size + len(members), len(prompts))
        return found


class Generator:
    """Continues prompts with a decoder; `compiled`: in functions that XLA compiles."""

    def __init__(self, backbone: Any, decoding: Decoding, *, compiled: bool = False) -> None:
        self.backbone = backbone
        self.decoding = decoding
        self.compiled = compiled
        self._stops = [np.frombuffer(stop, np.uint8).astype(np.int32) for stop in decoding.stop]
        if self._stops:
            widest = max(map(len, decoding.token_bytes))
            # of embeddings to spare nothing
            parts = [
                *decoding.token_bytes,
                *[b""] * (backbone.config.vocabulary_size - len(decoding.token_bytes)),
            ]
            table = np.full((len(parts), widest), -1, np.int32)
            for row, part in zip(table, parts, strict=True):
                row[: len(part)] = np.frombuffer(part, np.uint8)
            self._bytes = tf.constant(table)
            self._widths = tf.constant([len(part) for part in parts], tf.int32)

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
        state = self.start(token_ids, lengths)
        return self.outcome(self.run(state, seed, self.decoding.max_new_tokens))

    def start(self, token_ids: tf.Tensor, lengths: tf.Tensor) -> State:
        """Reads the prompts."""
        d, beams = self.decoding, self.decoding.num_beams
        batch, length = (
            static or dynamic
            for static, dynamic in zip(
                token_ids.shape, tf.unstack(tf.shape(token_ids)), strict=True
            )
        )
        real = tf.range(length)[None, :] < lengths[:, None]
        out = self.backbone(
            {"token_ids": tf.where(real, token_ids, 0), "padding_mask": tf.cast(real, tf.int32)},
            output_cache=True,
        )
        hidden = tf.gather(out["sequence_output"], tf.maximum(lengths - 1, 0), batch_dims=1)
        cache = tuple(
            tf.pad(values, [[0, 0], [0, 0], [0, d.max_new_tokens], [0, 0]])
            for values in out["cache"]
        )
        state: State = {
            "step": tf.constant(0),
            "prompt": tf.constant(length) if isinstance(length, int) else length,
            "lengths": lengths,
            "hidden": hidden,
            "cache": cache,
            "tokens": tf.fill([batch, d.max_new_tokens], d.pad_id),
            "score": tf.zeros([batch]),
            "finished": lengths == 0,
        }
        if d.repetition_penalty != 1.0:
            words = self.backbone.config.vocabulary_size
            row = tf.repeat(tf.range(batch), length)
            places = tf.stack([row, tf.reshape(tf.where(real, token_ids, 0), [-1])], axis=1)
            state["used"] = (
                tf.scatter_nd(places, tf.reshape(tf.cast(real, tf.int32), [-1]), [batch, words]) > 0
            )
        if n := d.no_repeat_ngram_size:
            state["history"] = tf.pad(
                tf.where(real, token_ids, 0), [[0, 0], [0, d.max_new_tokens + n]]
            )
        if self._stops:
            state["tail"] = tf.fill([batch, max(map(len, self._stops))], -1)
        if beams > 1:
            state = {
                name: self._repeat(value) if name not in ("step", "prompt") else value
                for name, value in state.items()
            }
            state |= {
                "score": tf.tile([[0.0, *[NEVER] * (beams - 1)]], [batch, 1]),
                "best": tf.fill([batch, beams, d.max_new_tokens], d.pad_id),
                "best_score": tf.fill([batch, beams], NEVER),
                "best_finished": tf.repeat((lengths == 0)[:, None], beams, axis=1),
                "open": lengths > 0,
            }
        return state

    def run(self, state: State, seed: tf.Tensor, steps: int | tf.Tensor) -> State:
        """So many tokens more, or fewer where all rows have ended."""
        advance = self._advance_beams if self.decoding.num_beams > 1 else self._advance
        last = state["step"] + steps
        names = list(state)

        def unfinished(*values: Any) -> tf.Tensor:
            now = dict(zip(names, values, strict=True))
            left = (now["step"] < last) & (now["step"] < self.decoding.max_new_tokens)
            return left & (
                self._beams_left(now)
                if self.decoding.num_beams > 1
                else ~tf.reduce_all(now["finished"])
            )

        def body(*values: Any) -> tuple:
            after = advance(dict(zip(names, values, strict=True)), seed)
            return tuple(after[name] for name in names)

        values = tf.while_loop(
            unfinished,
            body,
            tuple(state[name] for name in names),
            maximum_iterations=self.decoding.max_new_tokens,
            parallel_iterations=1,
        )
        return dict(zip(names, values, strict=True))

    def outcome(self, state: State) -> dict[str, tf.Tensor]:
        """What `generate` returns, of the last state."""
        if self.decoding.num_beams == 1:
            return {"token_ids": state["tokens"], "score": state["score"]}
        return {"token_ids": state["best"][:, 0], "score": state["best_score"][:, 0]}

    def _logits(self, state: State) -> tf.Tensor:
        return tf.cast(
            tf.matmul(state["hidden"], self.backbone.word_embeddings(), transpose_b=True),
            tf.float32,
        )

    def _weighed(self, scores: tf.Tensor, state: State) -> tf.Tensor:
        """(B, V), by what the texts already have: repeated tokens less likely, what is forbidden
        next NEVER.
        """
        d = self.decoding
        if d.repetition_penalty != 1.0:
            scores = tf.where(
                state["used"],
                tf.where(scores < 0, scores * d.repetition_penalty, scores / d.repetition_penalty),
                scores,
            )
        if d.no_repeat_ngram_size:
            scores = tf.where(self._repeating(state, scores.shape[-1]), NEVER, scores)
        if d.min_new_tokens and d.eos_id is not None:
            too_early = (tf.range(scores.shape[-1]) == d.eos_id) & (
                state["step"] < d.min_new_tokens
            )
            scores = tf.where(too_early[None, :], NEVER, scores)
        return scores

    def _repeating(self, state: State, words: int) -> tf.Tensor:
        """(B, V) bool: tokens that would end an n-gram which prompt and text already have."""
        n = self.decoding.no_repeat_ngram_size
        history = state["history"]
        length = state["lengths"] + state["step"]
        starts = tf.shape(history)[1] - n + 1
        # the last n - 1 tokens
        before = tf.gather(
            history, tf.maximum(length[:, None] - n + 1 + tf.range(n - 1)[None, :], 0), batch_dims=1
        )
        found = (tf.range(starts)[None, :] + n <= length[:, None]) & (length[:, None] >= n)
        for place in range(n - 1):
            found &= history[:, place : starts + place] == before[:, place : place + 1]
        row = tf.repeat(tf.range(tf.shape(history)[0]), starts)
        places = tf.stack([row, tf.reshape(history[:, n - 1 : starts + n - 1], [-1])], axis=1)
        return (
            tf.scatter_nd(
                places, tf.reshape(tf.cast(found, tf.int32), [-1]), [tf.shape(history)[0], words]
            )
            > 0
        )

    def _advance(self, state: State, seed: tf.Tensor) -> State:
        d = self.decoding
        raw = self._logits(state)
        scores = self._weighed(raw, state)
        if d.do_sample:
            token = self._sample(
                scores, tf.random.experimental.stateless_fold_in(seed, state["step"])
            )
        else:
            token = tf.argmax(scores, axis=-1, output_type=tf.int32)
        score = state["score"] + tf.where(
            state["finished"], 0.0, tf.gather(tf.nn.log_softmax(raw), token, batch_dims=1)
        )
        token = tf.where(state["finished"], d.pad_id, token)
        state, ended = self._noted(state, token, state["lengths"], state["step"])
        finished = state["finished"] | ended
        column = tf.range(d.max_new_tokens)[None, :] == state["step"]
        return self._read(
            {
                **state,
                "tokens": tf.where(column, token[:, None], state["tokens"]),
                "score": score,
                "finished": finished,
            },
            token,
        )

    def _sample(self, scores: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """One token of each row, of those that top_k and top_p leave, by the Gumbel trick."""
        d = self.decoding
        scores /= d.temperature
        if d.top_k is not None:
            least = tf.math.top_k(scores, min(d.top_k, scores.shape[-1]))[0][:, -1:]
            scores = tf.where(scores < least, NEVER, scores)
        if d.top_p is not None:
            ordered = tf.sort(scores, direction="DESCENDING")
            shares = tf.nn.softmax(ordered)
            kept = tf.cumsum(shares, axis=-1, exclusive=True) < d.top_p  # the first always
            least = tf.reduce_min(tf.where(kept, ordered, float("inf")), axis=-1, keepdims=True)
            scores = tf.where(scores < least, NEVER, scores)
        uniform = tf.random.stateless_uniform(tf.shape(scores), seed, minval=1e-20)
        return tf.argmax(scores - tf.math.log(-tf.math.log(uniform)), axis=-1, output_type=tf.int32)

    def _noted(
        self, state: State, token: tf.Tensor, prompt: tf.Tensor, step: tf.Tensor
    ) -> tuple[State, tf.Tensor]:
        """Updates `used`, `history` and `tail` with the new tokens; returns the state, and which
        rows end. `prompt`: the length of each one's prompt.
        """
        ended = (
            tf.zeros_like(token, tf.bool)
            if self.decoding.eos_id is None
            else token == self.decoding.eos_id
        )
        state = dict(state)
        if "used" in state:
            state["used"] |= tf.one_hot(
                token, tf.shape(state["used"])[1], on_value=True, off_value=False
            )
        if "history" in state:
            at = tf.range(tf.shape(state["history"])[1])[None, :] == prompt[:, None] + step
            state["history"] = tf.where(at, token[:, None], state["history"])
        if "tail" in state:
            state["tail"], hit = self._tail(state["tail"], token, step == 0)
            ended |= hit
        return state, ended

    def _tail(
        self, tail: tf.Tensor, token: tf.Tensor, first: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The last bytes with those of the tokens, and which have a stop text in them; the opening
        of the `first` token is none.
        """
        added = tf.gather(self._bytes, token)
        if self.decoding.opening:
            opens = first & (added[:, :1] == self.decoding.opening[0])
            added = tf.concat([tf.where(opens, -1, added[:, :1]), added[:, 1:]], axis=1)
        together = tf.concat([tail, added], axis=1)
        kept = tf.gather(
            together,
            tf.gather(self._widths, token)[:, None] + tf.range(tail.shape[1])[None, :],
            batch_dims=1,
        )
        hit = tf.zeros_like(token, tf.bool)
        for stop in self._stops:
            starts = np.arange(together.shape[1] - len(stop) + 1)[:, None] + np.arange(len(stop))
            hit |= tf.reduce_any(
                tf.reduce_all(tf.gather(together, starts, axis=1) == stop, axis=2), axis=1
            )
        return kept, hit

    def _read(self, state: State, token: tf.Tensor) -> State:
        """Lets the decoder read one more token of each row."""
        slot = state["prompt"] + state["step"]
        places = tf.range(tf.shape(state["cache"][0])[2])[None, :]
        seen = (places < state["lengths"][:, None]) | (
            (places >= state["prompt"]) & (places <= slot)
        )
        hidden, cache = self.backbone.step(
            token,
            state["lengths"] + state["step"],
            state["cache"],
            slot,
            seen,
            compiled=self.compiled,
        )
        return {**state, "hidden": hidden, "cache": cache, "step": state["step"] + 1}

    def _repeat(self, value: Any) -> Any:
        return tf.nest.map_structure(
            lambda part: tf.repeat(part, self.decoding.num_beams, axis=0), value
        )

    def _advance_beams(self, state: State, seed: tf.Tensor) -> State:
        """Every row's beams by one token; those that end leave their place to the next best.

        Source: the algorithm of Hugging Face's generate, of which the best 2 K candidates are K
        that do not end at least.
        """
        d, beams = self.decoding, self.decoding.num_beams
        batch = tf.shape(state["score"])[0]
        log_probabilities = self._weighed(tf.nn.log_softmax(self._logits(state)), state)
        words = log_probabilities.shape[-1]
        candidates = (
            tf.reshape(log_probabilities, [batch, beams, words]) + state["score"][:, :, None]
        )
        score, place = tf.math.top_k(tf.reshape(candidates, [batch, beams * words]), 2 * beams)
        beam, token = place // words, place % words  # (B, 2K)
        flat = tf.reshape(beam + tf.range(batch)[:, None] * beams, [-1])
        kept = {
            name: tf.gather(state[name], flat)
            for name in ("used", "history", "tail")
            if name in state
        }
        moved, ended = self._noted(
            kept, tf.reshape(token, [-1]), tf.gather(state["lengths"], flat), state["step"]
        )
        column = tf.range(d.max_new_tokens)[None, None, :] == state["step"]
        tokens = tf.where(
            column,
            token[:, :, None],
            tf.gather(
                tf.reshape(state["tokens"], [batch, beams, d.max_new_tokens]), beam, batch_dims=1
            ),
        )
        ended = tf.reshape(ended, [batch, -1]) | (state["step"] + 1 == d.max_new_tokens)
        state = self._take_finished(state, tokens, score, ended)
        running, chosen = tf.math.top_k(score + tf.where(ended, NEVER, 0.0), beams)
        of = tf.reshape(
            tf.gather(beam, chosen, batch_dims=1) + tf.range(batch)[:, None] * beams, [-1]
        )
        taken = tf.reshape(chosen + tf.range(batch)[:, None] * 2 * beams, [-1])
        state |= {name: tf.gather(values, taken) for name, values in moved.items()}
        state |= {
            "score": running,
            "tokens": tf.reshape(
                tf.gather(tokens, chosen, batch_dims=1), [batch * beams, d.max_new_tokens]
            ),
            "cache": tuple(tf.gather(values, of) for values in state["cache"]),
            "hidden": tf.gather(state["hidden"], of),
        }
        state = self._read(state, tf.reshape(tf.gather(token, chosen, batch_dims=1), [-1]))
        return {**state, "open": state["open"] & self._may_improve(state)}

    def _take_finished(
        self, state: State, tokens: tf.Tensor, score: tf.Tensor, ended: tf.Tensor
    ) -> State:
        """The best ended beams so far, with those of the first K candidates that have
        just ended.
        """
        d, beams = self.decoding, self.decoding.num_beams
        just = ended & (tf.range(2 * beams) < beams)[None, :]
        length = tf.cast(state["step"] + 1, tf.float32) ** d.length_penalty
        allowed = just & state["open"][:, None]
        if d.early_stopping is True:
            allowed &= ~tf.reduce_all(state["best_finished"], axis=1, keepdims=True)
        scores = tf.concat([state["best_score"], tf.where(allowed, score / length, NEVER)], axis=1)
        best_score, chosen = tf.math.top_k(scores, beams)
        return {
            **state,
            "best_score": best_score,
            "best": tf.gather(tf.concat([state["best"], tokens], axis=1), chosen, batch_dims=1),
            "best_finished": tf.gather(
                tf.concat([state["best_finished"], allowed], axis=1), chosen, batch_dims=1
            ),
        }

    def _may_improve(self, state: State) -> tf.Tensor:
        """(B,) bool: whether a running beam may still be better than the worst ended one."""
        d = self.decoding
        longest = (
            d.max_new_tokens
            if d.early_stopping == "never" and d.length_penalty > 0
            else state["step"]
        )
        best = state["score"][:, :1] / tf.cast(longest, tf.float32) ** d.length_penalty
        worst = tf.where(
            state["best_finished"], tf.reduce_min(state["best_score"], axis=1, keepdims=True), NEVER
        )
        return tf.reduce_any(best > worst, axis=1)

    def _beams_left(self, state: State) -> tf.Tensor:
        left = tf.reduce_any(state["open"])
        if self.decoding.early_stopping is True:
            left &= ~tf.reduce_all(state["best_finished"])
        return left
