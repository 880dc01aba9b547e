"""What the columns of examples are: texts, labels, numbers, names of examples, lists."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from trainer.data.scripts import CJK

TEXT_NAMES = (
    "text sentence review content body message comment document article tweet title query"
    " utterance question passage description abstract post text_a"
    " 文本 内容 评论 句子 正文 标题 问题"
).split()
LABEL_NAMES = (
    "label labels class category categories sentiment target intent stars rating score topic tag"
    " quality gold y polarity emotion is_duplicate similarity 标签 类别 情感 分类 意图 得分"
).split()
ID_NAMES = "id idx index guid uid uuid no number row key url link date time timestamp".split()
PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("query", "passage"),
    ("query", "document"),
    ("text_a", "text_b"),
    ("text1", "text2"),
)
MOST_CLASSES = 200
REPEATED = 3  # how often a class occurs, at least, on average
LONGEST_LABEL = 40  # characters on average
WORDS_OF_TEXT = 3
WORD = re.compile(r"[^\W\d_]+")


class Column(NamedTuple):
    """What is seen of a column.

    Attributes:
        name: of the field.
        kind: "text", "label", "number", "id", "list" or "other".
        counts: how often each value occurs, as text.
        number: of values that are not empty.
    """

    name: str
    kind: str
    counts: Counter[str]
    number: int


def look_at(rows: Sequence[Mapping[str, object]]) -> list[Column]:
    """What each column is.

    Args:
        rows: of the first examples.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return [_column(name, [row.get(name) for row in rows]) for name in names]


def _column(name: str, values: Sequence[object]) -> Column:
    given = [value for value in values if value not in (None, "")]
    if any(isinstance(value, list | dict) for value in given):
        return Column(name, "list", Counter(), len(given))
    texts = [str(value) for value in given]
    counts = Counter(texts)
    return Column(name, _kind(name, texts, counts) if texts else "other", counts, len(texts))


def _kind(name: str, texts: Sequence[str], counts: Counter[str]) -> str:
    words = statistics.mean(map(words_of, texts))
    length = statistics.mean(map(len, texts))
    is_repeated = (
        len(counts) <= MOST_CLASSES
        and len(texts) >= REPEATED * len(counts)
        and length <= LONGEST_LABEL
    )
    all_numbers = all(map(is_number, texts))
    has_fractions = all_numbers and not all(map(_is_whole, counts))
    if has_fractions and not _is_called(name, ID_NAMES):
        return "number"
    if _is_called(name, ID_NAMES) or _is_id(texts, counts):
        return "id"
    if is_repeated:
        return "label"
    if all_numbers:
        return "number"
    if words >= WORDS_OF_TEXT or _is_called(name, TEXT_NAMES):
        return "text"
    return "other"


def _is_id(texts: Sequence[str], counts: Counter[str]) -> bool:
    """Whether each value names its example: all different, short, without blanks."""
    if len(counts) < len(texts) or len(texts) < 10:
        return False
    is_whole_number = all(map(_is_whole, texts))
    return is_whole_number or all(
        not re.search(r"\s", text)
        and len(text) < 60
        and not CJK.search(text)
        and re.search(r"\d", text)
        for text in texts
    )


def _is_called(name: str, known: Sequence[str]) -> bool:
    folded = name.strip().casefold()
    last = re.split(r"[\s#._-]+", folded)[-1]
    return folded in known or (last in known and known is ID_NAMES)


def words_of(text: str) -> int:
    """Words of a text; a Chinese character counts as one."""
    han = len(CJK.findall(text))
    return han + len(WORD.findall(CJK.sub(" ", text)))


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    return bool(re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", text))


def _is_whole(text: str) -> bool:
    return bool(re.fullmatch(r"\s*[-+]?\d+(\.0+)?\s*", text))


def pair_of(columns: Sequence[Column]) -> tuple[str, str] | None:
    """The two columns that are called as the texts of a pair are."""
    texts = {column.name.strip().casefold(): column.name for column in columns}
    for first, second in PAIRS:
        if first in texts and second in texts:
            return texts[first], texts[second]
    if len(texts) == 2:
        one, two = texts
        if re.sub(r"\d", "", one) == re.sub(r"\d", "", two) and one != two:
            return texts[one], texts[two]
    return None


def named(columns: Sequence[Column], known: Sequence[str]) -> list[str]:
    """Of the columns, those that are called as such are."""
    return [column.name for column in columns if column.name.strip().casefold() in known]


def has_header(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool | None:
    """Whether the first row names the columns; None where nothing shows it.

    Args:
        first: the first row.
        rows: the others.
    """
    names = [cell.strip() for cell in first]
    if any(is_number(name) or not name for name in names) or len(set(names)) < len(names):
        return False
    if any(len(name) > LONGEST_LABEL or words_of(name) > 2 * WORDS_OF_TEXT for name in names):
        return False
    known = {*TEXT_NAMES, *LABEL_NAMES, *ID_NAMES, *(name for pair in PAIRS for name in pair)}
    if any(name.casefold() in known for name in names):
        return True
    for place, name in enumerate(names):
        below = [row[place] for row in rows if len(row) > place and row[place].strip()]
        if name in below:
            return False
        if below and all(map(is_number, below)):
            return True
    return None
