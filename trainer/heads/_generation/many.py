"""Any number of prompts, long ones with long ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from trainer.heads._generation.loop import Generator
from trainer.lazy import tf

SHORTEST = 8  # tokens to which compiled prompts are padded at least


@dataclasses.dataclass(frozen=True)
class ManyPrompts:
    """Goes on from many prompts, a batch at a time.

    More than a batch are padded to few lengths, for each of which the loop is compiled once.

    Attributes:
        generator: for a single batch.
        compiled: the same for XLA, where it compiles for this machine.
        longest: tokens of a prompt at most.
        rows: texts that are followed at once; of beams there are as many fewer prompts.
    """

    generator: Generator
    compiled: Generator
    longest: int
    rows: int

    @property
    def batch_size(self) -> int:
        """Prompts at once."""
        return max(1, self.rows // self.generator.decoding.num_beams)

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
            on_batch: called with how many are done, and how many there are.
            drawn: batches that were drawn with this seed before, so that the same draws never come
                twice.
        """
        generator = self.generator if len(prompts) <= self.batch_size else self.compiled
        outcome: dict[str, np.ndarray] = {}
        done = 0
        for batch, members in enumerate(self._members(prompts)):
            rows = [prompts[index] for index in members]
            token_ids, lengths = self._padded(rows, generator)
            draws = tf.constant([seed, drawn + batch])
            written = generator.generate_at_once(token_ids, lengths, draws)
            for name, tensor in written.items():
                part = tensor.numpy()
                if name not in outcome:
                    outcome[name] = np.zeros((len(prompts), *part.shape[1:]), part.dtype)
                outcome[name][members] = part[: len(members)]
            done += len(members)
            on_batch(done, len(prompts))
        return outcome

    def _members(self, prompts: Sequence[np.ndarray]) -> Iterator[list[int]]:
        """The numbers of each batch's prompts, longest first."""
        numbers = range(len(prompts))
        longest_first = sorted(numbers, key=lambda index: -len(prompts[index]))
        for start in range(0, len(longest_first), self.batch_size):
            stop = start + self.batch_size
            yield longest_first[start:stop]

    def _padded(
        self, prompts: Sequence[np.ndarray], generator: Generator
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The prompts of a batch, the longest first: (B, P) int32; their lengths, (B,) int32."""
        rows = len(prompts)
        width = min(self.longest, len(prompts[0]))
        if generator.compiled:
            rows = self.batch_size
            power_of_two = 1 << (width - 1).bit_length()
            width = min(self.longest, max(SHORTEST, power_of_two))
        token_ids = np.zeros((rows, width), np.int32)
        lengths = np.zeros(rows, np.int32)
        for row, prompt in enumerate(prompts):
            kept = prompt[-width:]
            token_ids[row, : len(kept)] = kept
            lengths[row] = len(kept)
        return tf.constant(token_ids), tf.constant(lengths)
