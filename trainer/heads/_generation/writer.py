"""Raw texts in, texts that go on from them out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.heads._generation.decoding import Decoding
from trainer.heads._generation.ended import ended_texts
from trainer.heads._generation.loop import Generator
from trainer.heads._generation.many import ManyPrompts
from trainer.heads._generation.prompt import Prompt
from trainer.heads._generation.settings import GenerationSettings, Room, room_of
from trainer.lazy import tf
from trainer.machine.xla import obstacle_here

if TYPE_CHECKING:
    from trainer.backbones.decoder import Decoder
    from trainer.heads.contract import Results

REPLACEMENT = "\ufffd"  # of a character of which bytes are missing
TOKENS_AT_ONCE = 4  # that are written before a person sees them


@dataclasses.dataclass(frozen=True, eq=False)
class Writer:
    """Writes what follows texts.

    Attributes:
        prompt: around a text.
        room: for tokens.
        settings: of the head.
        generator: as they say.
        compiled: the same for XLA, where it compiles for this machine.
    """

    prompt: Prompt
    room: Room
    settings: GenerationSettings
    generator: Generator
    compiled: Generator

    @classmethod
    def of(cls, settings: GenerationSettings, prompt: Prompt, backbone: Decoder) -> Writer:
        """A writer of a backbone.

        Args:
            settings: of the head.
            prompt: around a text.
            backbone: that writes.
        Raises:
            ConfigError: see `room_of`.
        """
        room = room_of(settings, backbone.config)
        decoding = Decoding.of(settings, prompt.tokenizer, room, prompt.opening)
        generator = Generator(backbone, decoding)
        compiled = Generator(backbone, decoding, compiled=not obstacle_here())
        return cls(prompt, room, settings, generator, compiled)

    def generate(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """What follows each text; a prompt that leaves no room is cut, see `Prompt.fitted`.

        Args:
            text: (B,) string.
        Returns:
            `generated_text` (B,) string; `score` (B,) float32, the log-probability of its tokens;
            of beams over the length to the power of head.length_penalty.
        """
        prompts, lengths, _ = self.prompt_tokens(text)
        written = self.generator.generate(prompts, lengths, self._seed(0))
        return {"generated_text": self.texts(written["token_ids"]), "score": written["score"]}

    def many(self, batch_size: int) -> ManyPrompts:
        """What goes on from any number of prompts.

        Args:
            batch_size: texts at once.
        """
        return ManyPrompts(self.generator, self.compiled, self.room.prompt, batch_size)

    def generate_many(self, batch_size: int) -> Callable[[Sequence[str]], dict[str, np.ndarray]]:
        """A function that gives what `generate` does and `truncated_tokens`, (B,) int32.

        These are the tokens that each prompt lost. It is compiled where there are many texts, and
        draws other tokens at each call.

        Args:
            batch_size: texts at once.
        """
        many = self.many(batch_size)
        drawn = 0

        def generate(texts: Sequence[str]) -> dict[str, np.ndarray]:
            nonlocal drawn
            token_ids, lengths, lost = (
                part.numpy() for part in self.prompt_tokens(_strings(texts))
            )
            prompts = [row[:length] for row, length in zip(token_ids, lengths, strict=True)]
            written = many.generate(prompts, self.settings.sampling_seed, drawn=drawn)
            drawn += many.batches(len(texts))
            return {
                "generated_text": self.texts(tf.constant(written["token_ids"])).numpy(),
                "score": written["score"],
                "truncated_tokens": lost,
            }

        return generate

    def stream(self, text: str, *, drawn: int = 0) -> Iterator[str]:
        """The prompt of a text, then what follows it, piece by piece as it is written.

        By beams it comes at once, as which is best is known at the end.

        Args:
            text: that goes on.
            drawn: how many texts went on before, so that the same draws never come twice.
        """
        prompt = self.prompt.around(text)
        yield prompt
        prompts, lengths, _ = self.prompt_tokens(_strings([text]))
        shown = ""
        for token_ids, is_last in self._growing(prompts, lengths, self._seed(drawn)):
            # behind them nothing is written yet
            whole = self.texts(token_ids)[0].numpy().decode()
            known = whole if is_last else self._certain(whole)
            goes_on = is_last or known.startswith(shown)
            if goes_on and len(known) > len(shown):
                space = "" if shown else self._space(prompt, token_ids)
                yield space + known[len(shown) :]
                shown = known

    def prompt_tokens(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The prompts' tokens.

        Args:
            text: (B,) string.
        Returns:
            (B, P) int32; (B,) int32 each, how many there are, and how many there was no room for.
        """
        room = tf.constant(self.room.prompt, tf.int64)
        rooms = tf.fill(tf.shape(text, tf.int64), room)
        token_ids, lost = self.prompt.fitted(text, rooms)
        lengths = tf.cast(token_ids.row_lengths(), tf.int32)
        return token_ids.to_tensor(), lengths, lost

    def texts(self, token_ids: tf.Tensor) -> tf.Tensor:
        """(B, M) int32, written tokens -> (B,) string, up to their end or a stop text."""
        return ended_texts(
            token_ids,
            self.prompt.tokenizer,
            opening=self.prompt.opening,
            stop=self.settings.stop,
        )

    def remark(self, answer: Mapping[str, object]) -> str:
        """Whether the prompt was cut."""
        if not answer.get("truncated_tokens"):
            return ""
        return (
            f"more than {self.room.prompt:,} tokens, the backbone's {self.room.positions:,}"
            f" positions less head.max_new_tokens = {self.room.new_tokens:,}: what is over that was"
            " cut, truncated_tokens says how much"
        )

    def _seed(self, drawn: int) -> tf.Tensor:
        return tf.constant([self.settings.sampling_seed, drawn])

    def _growing(
        self, prompts: tf.Tensor, lengths: tf.Tensor, seed: tf.Tensor
    ) -> Iterator[tuple[tf.Tensor, bool]]:
        """(1, M) int32, the tokens so far, and whether these are all."""
        if self.settings.num_beams > 1:
            yield self.generator.generate(prompts, lengths, seed)["token_ids"], True
            return
        start = tf.function(self.generator.start, autograph=False)
        run = tf.function(self.generator.run, autograph=False)
        state = start(prompts, lengths)
        is_last = False
        while not is_last:
            state = run(state, seed, tf.constant(TOKENS_AT_ONCE))
            count = int(state.step)
            is_last = count >= self.room.new_tokens or bool(state.finished[0])
            yield state.tokens[:, :count], is_last

    def _certain(self, text: str) -> str:
        """What of a text no later token changes.

        A character may have half of its bytes, and a stop text half of its letters.
        """
        longest = max(map(len, self.settings.stop), default=1)
        uncertain = longest - 1
        return text.rstrip(REPLACEMENT)[: max(0, len(text) - uncertain)]

    def _space(self, prompt: str, token_ids: tf.Tensor) -> str:
        """Between a prompt and what follows: " " where a first token lost its own.

        A token that begins a word loses it where it begins a text.

        Args:
            prompt: the whole of it.
            token_ids: (1, M) int32, what follows.
        """
        token_bytes = self.prompt.tokenizer.token_bytes
        first = int(token_ids[0, 0])
        if not prompt or prompt[-1].isspace() or first >= len(token_bytes):
            return ""
        begins_word = token_bytes[first].startswith(b" ")
        alone = self.texts(token_ids[:, :1])
        shows_it = alone[0].numpy().startswith(b" ")
        return " " if begins_word and not shows_it else ""


def decode_written(answers: Results, row: int) -> dict[str, object]:
    """A written text as JSON.

    Args:
        answers: of `generate`, or of a function of `generate_many`.
        row: which of them.
    """
    answer: dict[str, object] = {
        "generated_text": answers["generated_text"][row].decode(),
        "score": float(answers["score"][row]),
    }
    if "truncated_tokens" in answers and answers["truncated_tokens"][row]:
        answer["truncated_tokens"] = int(answers["truncated_tokens"][row])
    return answer


def decode_likelihood(answers: Results, row: int) -> dict[str, object]:
    """How likely a given text is, as JSON.

    Args:
        answers: of `likelihoods`.
        row: which of them.
    """
    return {
        "log_probability": float(answers["log_probability"][row]),
        "tokens": int(answers["tokens"][row]),
        "perplexity": float(answers["perplexity"][row]),
    }


def _strings(texts: Sequence[str]) -> tf.Tensor:
    return tf.constant([text.encode("utf-8", "replace") for text in texts])
