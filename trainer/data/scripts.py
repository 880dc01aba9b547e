"""In which script texts are written."""

from __future__ import annotations

import re
from collections.abc import Sequence

CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
CHINESE = "Chinese"
HAN_SHARE = 0.2


def script_of(texts: Sequence[str]) -> str:
    """By the letters: "English", "Chinese" or "other"."""
    letters = [ch for text in texts for ch in text if ch.isalpha()]
    if not letters:
        return "English"
    if sum(bool(CJK.match(ch)) for ch in letters) >= HAN_SHARE * len(letters):
        kana_or_hangul = sum("\u3040" <= ch <= "\u30ff" or ch >= "\uac00" for ch in letters)
        return CHINESE if kana_or_hangul < 0.05 * len(letters) else "other"
    is_ascii = sum(ch.isascii() for ch in letters)
    return "English" if is_ascii >= (1 - 0.005) * len(letters) else "other"
