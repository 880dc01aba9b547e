import pytest

from trainer.data.doubts import doubts, numbered_words
from trainer.data.ledger import Ledger


class Store:
    def __init__(self, *texts):
        self.meta = {"samples": [{"text": text} for text in texts]}


@pytest.mark.parametrize(
    ("texts", "numbered"),
    [
        (["科0技1全0方1位2资0讯1智0能1，0"], True),
        (["科0 技1 全0 方1 位2 资0 讯1 智0 能1 ，0"], True),
        (["The-1 film-2 was-3", "it-1 was-2 old-3", "a-1 b-2 c-3 d-4"], True),
        (["科技全方位资讯智能"], False),
        (["科0技1"], False),
        (["iPhone6 B52 A380 G7 G20 M1 H2O C3PO R2D2 U2 F16 K9"], False),
        (["今天1点到10点下雨", "1998年3月2日"] * 9, False),
        ([], False),
        (["", " "], False),
    ],
)
def test_words_that_carry_a_running_number_are_seen(texts, numbered):
    assert numbered_words(texts) == (texts[0] if numbered else "")


def test_doubts_are_told_with_their_place_and_what_to_do():
    ledger = Ledger()
    ledger.add("train", "long_words", "a.txt:3", 2)
    ledger.add("train", "split_words", "a.conllu:9", 4)
    ledger.add("train", "duplicates", "a.txt:1")
    lines = doubts({"train": Store("科0技1全0方1位2资0讯1智0能1，0")}, ledger)
    assert [line.split(":")[0] for line in lines] == ["data.train"] * 3 and len(lines) == 3
    assert "2 words have more characters than the tokenizer takes" in lines[0] and lines[
        0
    ].endswith("(first: a.txt:3)")
    assert "4 words that the text writes as one" in lines[1] and "Give predict words" in lines[1]
    assert "as in '科0技1全0方1位2资0讯1智0能1，0': the model learns it" in lines[2]
    assert doubts({"train": Store("科技")}, Ledger()) == []
