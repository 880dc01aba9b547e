import json

import pytest

from trainer.errors import DataError
from trainer.sources import TO_PREDICT, Origin, squad


def source(tmp_path, content, split="train", **keys):
    file = tmp_path / "x.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return squad.open(squad.Settings(train=str(file), **keys), split, str(file)), str(file)


ANSWER = {"text": "1973", "answer_start": 3}


def test_questions_are_read_in_their_order(tmp_path):
    content = {
        "version": "v2.0",
        "data": [
            {
                "title": "Oil",
                "paragraphs": [
                    {
                        "context": "in 1973",
                        "qas": [
                            {"id": "a", "question": "When?", "answers": [ANSWER]},
                            {
                                "id": "b",
                                "question": "Why?",
                                "answers": [ANSWER],
                                "is_impossible": True,
                            },
                        ],
                    }
                ],
            },
            {"paragraphs": [{"context": "最早", "qas": [{"question": "何时？"}]}]},
        ],
    }
    found, file = source(tmp_path, content, TO_PREDICT)
    assert [
        (example.features["question"], example.features["context"], example.features.get("answers"))
        for example in found.examples()
    ] == [("When?", "in 1973", [ANSWER]), ("Why?", "in 1973", []), ("何时？", "最早", None)]
    assert [example.origin for example in found.examples()] == [
        Origin(file, 1),
        Origin(file, 2),
        Origin(file, 3),
    ]
    assert (
        next(iter(found.examples())).features["id"] == "a"
        and found.size() > 0
        and found.label_names() is None
    )


def test_a_question_without_answers_is_not_one_that_has_none(tmp_path):
    content = {"data": [{"paragraphs": [{"context": "in 1973", "qas": [{"question": "When?"}]}]}]}
    assert "answers" not in next(iter(source(tmp_path, content, TO_PREDICT)[0].examples())).features
    found, file = source(tmp_path, content)
    with pytest.raises(DataError) as caught:
        list(found.examples())
    assert (
        str(caught.value)
        == f"{file}: data[0].paragraphs[0].qas[0]: has no 'answers'. Give it \"answers\": [] or"
        ' "is_impossible": true where there is none; if they have another key, set data.label.'
    )


def test_keys_may_have_other_names(tmp_path):
    content = {
        "data": [
            {"paragraphs": [{"passage": "in 1973", "qas": [{"query": "When?", "gold": [ANSWER]}]}]}
        ]
    }
    found, _ = source(tmp_path, content, text=["query", "passage"], label="gold")
    example = next(iter(found.examples()))
    assert {name: example.features[name] for name in ("query", "passage", "gold")} == {
        "query": "When?",
        "passage": "in 1973",
        "gold": [ANSWER],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", 'expected {"data": [{"paragraphs"'),
        ({"data": [3]}, "data[0]: expected an object. Received 3."),
        (
            {"data": [{"paragraphs": [{"qas": []}]}]},
            (
                "data[0].paragraphs[0]: expected text in 'context'. Received None. If it has"
                " another key, set data.text."
            ),
        ),
        (
            {"data": [{"paragraphs": [{"context": "a", "qas": [{"question": 1}]}]}]},
            "data[0].paragraphs[0].qas[0]: expected text in 'question'. Received 1.",
        ),
        (
            {
                "data": [
                    {
                        "paragraphs": [
                            {"context": "a", "qas": [{"question": "b", "is_impossible": "false"}]}
                        ]
                    }
                ]
            },
            (
                "data[0].paragraphs[0].qas[0]: expected true or false in 'is_impossible'. Received"
                " 'false'."
            ),
        ),
        (
            {
                "data": [
                    {"paragraphs": [{"context": "a", "qas": [{"question": "b", "answers": "c"}]}]}
                ]
            },
            "expected a list in 'answers'. Received 'c'.",
        ),
        (
            {
                "data": [
                    {
                        "paragraphs": [
                            {"context": "cut \ud83d", "qas": [{"question": "b", "answers": []}]}
                        ]
                    }
                ]
            },
            "data[0].paragraphs[0].qas[0]: field 'context' holds half of a surrogate pair",
        ),
        (
            {
                "data": [
                    {
                        "paragraphs": [
                            {
                                "context": "😀",
                                "qas": [
                                    {
                                        "question": "b",
                                        "answers": [{"text": "\ude00", "answer_start": 0}],
                                    }
                                ],
                            }
                        ]
                    }
                ]
            },
            "field 'answers' holds half of a surrogate pair",
        ),
    ],
)
def test_what_is_not_of_its_shape_is_refused_with_its_place(tmp_path, content, message):
    found, file = source(tmp_path, content)
    with pytest.raises(DataError) as caught:
        list(found.examples())
    assert message in str(caught.value) and file in str(caught.value)
