"""What plan and training show of the data before anything is learnt from it."""

import re

import pytest
from rich.cells import cell_len

from tests import toy
from trainer.data.shown_examples import Shown

pytestmark = pytest.mark.heavy


def test_the_first_example_that_tells_something_is_shown():
    shown = Shown()
    assert shown.meta() == {}
    for number, label in enumerate(["", "", "x", "y"]):
        shown.offer(
            f"a:{number}",
            lambda label=label, number=number: [("text", f"t{number}"), ("tags", label)],
        )
    assert shown.meta() == {
        "number": 2,
        "origin": "a:2",
        "parts": [("text", "t2", 2), ("tags", "x", 1)],
    }
    empty = Shown()
    for number in range(100):
        tags = "" if number < 99 else "x"
        empty.offer(f"a:{number}", lambda tags=tags: [("text", "t" * 500), ("tags", tags)])
    assert empty.meta()["number"] == 0 and empty.meta()["parts"][0] == ("text", "t" * 400, 500)


SHOWN = {
    "classification": (
        {"name": "classification"},
        {"text": "text"},
        [{"text": "the\tfilm", "label": "pos"}, {"text": "old", "label": "neg"}],
        [
            "example of train (*:1)",
            r"  text    the\tfilm",
            "  label   pos",
            "  tokens  [CLS] the film [SEP]",
        ],
    ),
    "words": (
        {"name": "token_classification", "word_separator": ""},
        {"text": "words", "label": "tags"},
        [
            {"words": list("今天"), "tags": ["O", "O"]},
            {"words": ["今0", "天1", "很0"], "tags": ["B-X", "I-X", "O"]},
        ],
        [
            "example of train (*:2)",
            "  words   今0天1很0",
            "  tags    今0/B-X  天1/I-X",
            "  tokens  [CLS] 今 [UNK] 天 [UNK] 很 [UNK] [SEP]",
        ],
    ),
    "a word of a space": (
        {"name": "token_classification"},
        {"text": "words", "label": "tags"},
        [
            {"words": ["the", " ", "film"], "tags": ["B-X", "I-X", "O"]},
            {"words": ["it"], "tags": ["O"]},
        ],
        [
            "example of train (*:1)",
            "  words   the   film",
            "  tags    the/B-X  ' '/I-X",
            "  tokens  [CLS] the film [SEP]",
        ],
    ),
    "spans": (
        {"name": "token_classification"},
        {"text": "text", "label": "spans"},
        [
            {"text": "the red film", "spans": [{"start": 4, "end": 12, "label": "ART"}]},
            {"text": "it", "spans": []},
        ],
        [
            "example of train (*:1)",
            "  text    the red film",
            "  spans   red film/ART",
            "  tokens  [CLS] the red film [SEP]",
        ],
    ),
    "language model": (
        {"name": "masked_lm"},
        {"text": "text"},
        [{"text": "the film"}, {"text": "very old"}],
        ["example of train (*:1)", "  text    the film", "  tokens  [CLS] the film [SEP] *"],
    ),
}


@pytest.mark.parametrize("kind", SHOWN)
def test_plan_shows_an_example_of_each_split_as_the_model_sees_it(
    tmp_path, capsys, toy_weights, kind
):
    head, data, rows, expected = SHOWN[kind]
    rows = rows * 8
    config = toy.write_config(
        tmp_path, toy_weights, toy.write_jsonl(tmp_path / "train.jsonl", rows), head=head, data=data
    )
    assert toy.run_main(config, tmp_path / "job", "--mode=plan") == 0
    lines = capsys.readouterr().err.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("example of train"))
    for line, pattern in zip(lines[first:], expected, strict=False):
        assert re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), line), line
        assert cell_len(line) <= 160
