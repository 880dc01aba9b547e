"""How near generated texts are to what should have been written: BLEU and chrF by sacreBLEU, ROUGE
by rouge-score.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

ROUGE = {"rouge1": "rouge1", "rouge2": "rouge2", "rouge_l": "rougeL"}  # ours: rouge-score's
JUDGED = ("bleu", "chrf", *ROUGE)


class _Characters:
    """Rouge-score's own tokenizer leaves nothing of Chinese."""

    def tokenize(self, text: str) -> list[str]:
        """Each character but white space."""
        return [character for character in text.lower() if not character.isspace()]


class _Words:
    """Rouge-score's own tokenizer takes letters that are not ASCII for spaces; of ASCII this one
    makes the same.
    """

    def tokenize(self, text: str) -> list[str]:
        """Letters, digits and their marks side by side, in lower case."""
        return "".join(
            char if char.isalnum() or unicodedata.category(char)[0] == "M" else " "
            for char in text.lower()
        ).split()


def bleu_and_rouge(
    written: Sequence[str], targets: Sequence[str], tokenizer: str
) -> dict[str, float]:
    """`bleu` and `chrf` of the whole corpus, in percent; `rouge1`, `rouge2` and `rouge_l`, mean
    f-measures in percent.

    Args:
        written, targets: one text each.
        tokenizer: sacreBLEU's, such as 13a or zh; for zh and char ROUGE compares characters, else
            words of any script.
    """
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU, CHRF

    scorer = RougeScorer(
        list(ROUGE.values()),
        use_stemmer=False,
        tokenizer=_Characters() if tokenizer in ("zh", "char") else _Words(),
    )
    rouge = [scorer.score(target, text) for text, target in zip(written, targets, strict=True)]
    means = {
        ours: 100 * sum(scores[name].fmeasure for scores in rouge) / max(len(rouge), 1)
        for ours, name in ROUGE.items()
    }
    return {
        "bleu": BLEU(tokenize=tokenizer).corpus_score(list(written), [list(targets)]).score,
        "chrf": CHRF().corpus_score(list(written), [list(targets)]).score,
        **means,
    }
