"""How tokens are chosen, in one value."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from trainer.heads._generation.beams import Beams
from trainer.heads._generation.rules import (
    EndToken,
    NoRepeatedTokens,
    RepetitionPenalty,
    Rule,
    StopTexts,
)
from trainer.heads._generation.samplers import Drawn, Greedy, Sampler

if TYPE_CHECKING:
    from trainer.heads._generation.settings import GenerationSettings, Room
    from trainer.text.tokenizer import Tokenizer


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

    @classmethod
    def of(
        cls, settings: GenerationSettings, tokenizer: Tokenizer, room: Room, opening: str
    ) -> Decoding:
        """As a head's settings say.

        Args:
            settings: of the head.
            tokenizer: of the texts.
            room: for tokens.
            opening: what a text may begin with, see `Prompt`.
        """
        same = {field.name for field in dataclasses.fields(cls)} - {"max_new_tokens", "stop"}
        eos_id = tokenizer.eos_id
        return cls(
            **settings.model_dump(include=same),
            max_new_tokens=room.new_tokens,
            eos_id=eos_id,
            pad_id=tokenizer.pad_id if eos_id is None else eos_id,
            stop=tuple(stop.encode() for stop in settings.stop),
            opening=opening.encode(),
            token_bytes=tokenizer.token_bytes if settings.stop else (),
        )

    def rules(self, words: int) -> tuple[Rule, ...]:
        """What weighs and ends texts, in the order in which it weighs.

        Args:
            words: V, of the backbone.
        """
        rules: list[Rule] = []
        if self.repetition_penalty != 1.0:
            rules.append(RepetitionPenalty(self.repetition_penalty, words))
        if self.no_repeat_ngram_size is not None:
            rules.append(NoRepeatedTokens(self.no_repeat_ngram_size, self.max_new_tokens))
        if self.eos_id is not None:
            rules.append(EndToken(self.eos_id, self.min_new_tokens))
        if self.stop:
            rules.append(StopTexts.of(self.stop, self.opening, self.token_bytes, words))
        return tuple(rules)

    def sampler(self, words: int) -> Sampler:
        """What chooses tokens.

        Args:
            words: V, of the backbone.
        """
        rules = self.rules(words)
        if self.num_beams > 1:
            return Beams(
                rules,
                texts=self.num_beams,
                max_new_tokens=self.max_new_tokens,
                pad_id=self.pad_id,
                length_penalty=self.length_penalty,
                early_stopping=self.early_stopping,
            )
        if self.do_sample:
            return Drawn(rules, self.pad_id, self.temperature, self.top_k, self.top_p)
        return Greedy(rules, self.pad_id)
