import pytest

from tests import toy
from trainer.text import load_tokenizer


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        "bert": toy.write_checkpoint(tmp_path_factory.mktemp("bert"), weights=False),
        "gpt2": toy.write_gpt2(tmp_path_factory.mktemp("gpt2")),
    }


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("the film", 0),
        ("ก" * 100, 0),
        ("ก" * 101, 1),
        (f"the {'ก' * 101} film {'a' * 300}", 2),
        ("ก" * 60 + "," + "ก" * 60, 0),
        ("中" * 300, 0),
        ("ก" * 60 + "中" + "ก" * 60, 0),
        ("한" * 33, 0),
        ("한" * 40, 1),
        ("ก" * 60 + "\u2026" + "ก" * 60, 0),
        ("é" * 99, 0),
        ("", 0),
        ("-" * 300, 0),
    ],
)
def test_words_over_the_limit_are_those_that_become_unknown(folders, text, count):
    """A syllable of Hangul is three letters once accents are stripped."""
    tokenizer = load_tokenizer(folders["bert"])
    assert tokenizer.long_words(text) == count
    assert load_tokenizer(folders["gpt2"]).long_words(text) == 0
