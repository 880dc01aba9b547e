"""A decoder that is asked for the target of a prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.reader import TARGET
from trainer.heads._judged import bleu_and_rouge
from trainer.heads._language_model.writing_graph import WritingGraph
from trainer.heads.contract import Judged, Tensors
from trainer.lazy import tf

if TYPE_CHECKING:
    from trainer.data.store import TokenStore


@dataclasses.dataclass(frozen=True, eq=False)
class TargetGraph(WritingGraph):
    """Of prompts and their targets, which have a row each.

    Attributes:
        judged_by: sacreBLEU's tokenizer.
        judged: how many examples of a split are generated.
    """

    judged_by: str
    judged: Callable[[TokenStore], int]

    def answers(
        self, results: Tensors, columns: Tensors, inputs: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """How likely each target is; it has a row of its own.

        Args:
            results: of the rows.
            columns: of the same.
            inputs: (B,) string each.
        """
        return self.token_answers(results)

    def judge(
        self, store: TokenStore, batch_size: int, on_batch: Callable[[int, int], None]
    ) -> Judged:
        """What the texts that are generated for a split's prompts are worth.

        Args:
            store: the split.
            batch_size: texts at once.
            on_batch: called with how many are done, and how many there are.
        Returns:
            bleu, chrf, rouge1, rouge2 and rouge_l, and the texts.
        """
        count = self.judged(store)
        prompts = [prompt_of(store.example(index)) for index in range(count)]
        many = self.writer.many(batch_size)
        seed = self.writer.settings.sampling_seed
        generated = many.generate(prompts, seed, on_batch)
        token_ids = tf.constant(generated["token_ids"])
        texts = self.writer.texts(token_ids).numpy()
        written = [text.decode() for text in texts]
        targets = [str(target) for _, target in store.inputs(range(count))]
        return Judged(bleu_and_rouge(written, targets, self.judged_by), written)


def prompt_of(tokens: Mapping[str, np.ndarray]) -> np.ndarray:
    """The prompt of a row: up to the first token that predicts.

    It is all of the row where none does, as a target may be empty.

    Args:
        tokens: its columns.
    """
    predicting = np.flatnonzero(tokens[TARGET] > 0)
    return tokens["token_ids"][: predicting[0] + 1] if len(predicting) else tokens["token_ids"]
