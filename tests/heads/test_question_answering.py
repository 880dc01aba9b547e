"""Answers are slices of their context, found wherever a window has them, and judged as the official
scripts do.
"""

import functools
import json
import pathlib
import random
import types

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import toy
from trainer.backbones import huggingface
from trainer.data.batch import Batch
from trainer.data.prepare import prepare
from trainer.errors import ConfigError, DataError
from trainer.heads.question_answering import Settings, evaluated, make_head, official
from trainer.heads.question_answering.alignment import EDGE, MIDDLE
from trainer.heads.question_answering.spans import NEVER
from trainer.heads.question_answering.threshold import best_threshold
from trainer.run.model import Model
from trainer.serve.server import make_server
from trainer.settings.schema import DataSettings
from trainer.sources import Example, Origin, jsonl
from trainer.text import load_tokenizer

SMALL = {"max_question_tokens": 4, "max_answer_tokens": 5, "n_best": 3}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return toy.write_checkpoint(tmp_path_factory.mktemp("weights"), layers=1, hidden=16)


# which are no words to the metric
WORDS = [word for word in toy.FILLER if word not in ("a", "the")]


def questions(count, *, seed=0, unanswerable=0.0, after=1):
    """Where is "great"? The answer is the word so many after it."""
    rng, rows = random.Random(seed), []
    for _ in range(count):
        words = [rng.choice(WORDS) for _ in range(rng.randrange(3, 40))]
        place = rng.randrange(len(words) - 1)
        words[place] = "great"
        text = " ".join(words)
        start = len(" ".join([*words[: place + after], ""]))
        answers = (
            []
            if rng.random() < unanswerable
            else [
                {"text": words[place + after], "answer_start": start},
                {"text": words[0], "answer_start": 0},
            ]
        )
        rows.append({"question": "great?", "context": text, "answers": answers})
    return rows


def prepared_of(folder, weights, rows, *, head=None, **keys):
    data = jsonl.Settings(
        train=str(toy.write_jsonl(folder / "train.jsonl", rows)),
        cache_dir=str(folder / "cache"),
        **{"seq_len": 20, "text": ["question", "context"], "label": "answers", **keys},
    )
    tokenizer = load_tokenizer(weights)
    made = make_head(Settings(**{**SMALL, **(head or {})}), data, tokenizer)
    return made, prepare(data, made.reader, tokenizer.fingerprint)


def head_of(**settings):
    data = DataSettings(source="jsonl", train="", text=["q", "c"], label="answers", seq_len=20)
    return make_head(Settings(**{**SMALL, **settings}), data, toy.TEMPLATE)


def model_of(weights, head, vocabulary):
    encoder, _ = huggingface.load_backbone(weights)
    return Model(encoder, head.build(encoder, vocabulary, 1))


@pytest.fixture(scope="module")
def graph_of(weights):
    encoder, _ = huggingface.load_backbone(weights)

    def build(head, *, unanswerable=False, threshold=0.0):
        graph = head.build(encoder, {"labels": [], "unanswerable": unanswerable}, 1)
        return graph.calibrated({"threshold": threshold})

    return build


def test_each_answer_is_labelled_in_the_windows_that_have_it_whole(tmp_path, weights):
    rows = questions(80)
    _, prepared = prepared_of(tmp_path, weights, rows)
    store = prepared.splits["train"]
    found = np.zeros(len(rows), int)
    for index in range(len(store)):
        row = rows[store.columns["example"][index]]
        tokens, (first, last) = store.example(index), store.columns["label"][index]
        text = row["answers"][0]["text"]
        if first:
            found[store.columns["example"][index]] += 1
            assert (
                row["context"][tokens["start"][first] : tokens["end"][last]] == text
                and tokens["start"][first] == row["answers"][0]["answer_start"]
            )
        else:
            assert row["answers"][0]["answer_start"] not in tokens["start"].tolist()
    assert (
        (found > 0).all()
        and (found > 1).any()
        and (store.lengths <= 20).all()
        and len(store) > len(rows)
    )
    assert set(prepared.ledger.entries["train"]) <= {
        "extra_windows",
        "duplicates",
        "unknown_tokens",
    }


@pytest.mark.parametrize(
    ("answer", "start", "entry"),
    [
        ("film", 4, None),
        ("film", 6, "answers_moved"),
        ("film", -3, "answers_moved"),
        ("red", 4, "answers_not_found"),
        ("", 4, "answers_not_found"),
        ("house", 0, "answers_not_found"),
        ("the film was great story", 0, "long_answers"),
    ],
)
def test_an_answer_is_checked_against_its_text(tmp_path, weights, answer, start, entry):
    context = "the film was great story" + " the" * 40 + " house tree house"
    rows = [
        {
            "question": "great?",
            "context": context,
            "answers": [{"text": answer, "answer_start": start}],
        },
        questions(1)[0],
    ]
    _, prepared = prepared_of(tmp_path, weights, rows, head={"max_answer_tokens": 4})
    counted = {kind for kind in prepared.ledger.entries["train"] if "answers" in kind}
    assert counted == ({entry} if entry else set())
    if entry:
        assert prepared.ledger.entries["train"][entry]["first"].endswith("train.jsonl:1")
    label = prepared.splits["train"].columns["label"][
        prepared.splits["train"].columns["example"] == 0
    ]
    assert (label == -1).all() if entry == "answers_not_found" else label.max() > 0


@pytest.mark.parametrize(
    ("context", "answers", "place", "state"),
    [
        ("the film", [("Film!", 4), ("film", 4)], 4, "found"),  # the second stands where it says
        ("the film", [("Film!", 4), ("film", 6)], 4, "moved"),
        ("the film", [("film", 6), ("the", 0)], 0, "found"),
        ("this tree", [("is", 9)], -1, "lost"),
        ("it is a tree", [("is", 9)], 3, "moved"),
        ("is it is", [("is", 4)], -1, "lost"),
        ("他今天很好", [("今天", 3)], 1, "moved"),
        ("(film)", [("film", 3)], 1, "moved"),
        ("aaa", [("aa", 5)], -1, "lost"),
        ("สวัสดีครับ", [("ครับ", 2)], 6, "moved"),
    ],
)
def test_the_first_answer_that_stands_in_the_context_is_learnt(
    weights, context, answers, place, state
):
    head = head_of()
    row = {
        "q": "?",
        "c": context,
        "answers": [{"text": text, "answer_start": start} for text, start in answers],
    }
    gold = head.reader.label(Example(row, Origin("x", 1)))
    assert (gold.start, gold.state) == (place, state) and gold.texts == tuple(
        text for text, _ in answers
    )


def test_plausible_answers_to_a_question_that_has_none_are_not_learnt(weights):
    head = head_of()
    row = {"q": "?", "c": "the film", "answers": [{"text": "film", "answer_start": 4}]}
    assert [
        head.reader.label(Example({**row, "is_impossible": value}, Origin("x", 1))).state
        for value in (True, False, None)
    ] == ["none", "found", "found"]


def test_an_answer_that_every_window_cuts_is_counted(tmp_path, weights):
    words = [WORDS[place % len(WORDS)] for place in range(40)]
    answer = " ".join(words[8:20])  # of 12 tokens, in windows of 13 that share 6
    rows = [
        {
            "question": "great?",
            "context": " ".join(words),
            "answers": [{"text": answer, "answer_start": len(" ".join([*words[:8], ""]))}],
        },
        questions(1)[0],
    ]
    _, prepared = prepared_of(tmp_path, weights, rows, head={"max_answer_tokens": 30})
    counted = {
        kind: entry["count"]
        for kind, entry in prepared.ledger.entries["train"].items()
        if "answers" in kind
    }
    assert counted == {"unreachable_answers": 1}


@pytest.mark.parametrize("overlap", [None, 8])
def test_every_answer_of_the_length_that_windows_share_can_be_chosen_in_one(
    tmp_path, weights, overlap
):
    """Wherever it stands, and in one window only, so that none is given twice."""
    words = [WORDS[place % len(WORDS)] for place in range(60)]
    answers = [
        (place, " ".join(words[place : place + size]))
        for size in (1, 2, 3, 5)
        for place in range(60 - size + 1)
    ]
    rows = [
        {
            "question": f"{number}?",
            "context": " ".join(words),
            "answers": [{"text": text, "answer_start": len(" ".join([*words[:place], ""]))}],
        }
        for number, (place, text) in enumerate(answers)
    ]
    head, prepared = prepared_of(tmp_path, weights, rows, window_overlap=overlap)
    assert head.reader.overlap >= 5 and prepared.ledger.count("train", "unreachable_answers") == 0
    store = prepared.splits["train"]
    chosen = np.zeros(len(rows), int)
    for index in range(len(store)):
        first, last = store.columns["label"][index]
        chosen[store.columns["example"][index]] += bool(
            first and store.example(index)["candidate"][(first + last) // 2] & MIDDLE
        )
    assert (chosen == 1).all()


def test_questions_that_are_cut_are_counted(tmp_path, weights):
    row = questions(1)[0]
    _, prepared = prepared_of(
        tmp_path, weights, [row, {**row, "question": "the red film was great?"}]
    )
    assert prepared.ledger.entries["train"]["cut_questions"] == {
        "count": 1,
        "first": f"{tmp_path / 'train.jsonl'}:2",
    }


def test_questions_that_cannot_be_refused_are_counted(tmp_path, weights):
    dev = toy.write_jsonl(tmp_path / "dev.jsonl", questions(20, seed=1, unanswerable=0.5))
    _, prepared = prepared_of(tmp_path, weights, questions(10), validation=str(dev))
    assert (
        not prepared.vocabulary["unanswerable"]
        and 3 < prepared.ledger.count("validation", "answers_unforeseen") < 17
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"question": "a", "context": "b", "answers": None},
            (
                "train.jsonl:2: field 'answers' is null. Expected a list of answers, or [] for a"
                " question that has none."
            ),
        ),
        (
            {"question": "a", "context": "b", "answers": [{"text": "b", "answer_start": True}]},
            (
                "train.jsonl:2: field 'answers': expected answer_start to be a whole number, of the"
                " context's characters before the answer, or null where it is not known. Received"
                " True."
            ),
        ),
        (
            {"question": "a", "context": "b", "answers": [{"text": "b", "answer_start": "0"}]},
            "or null where it is not known. Received '0'.",
        ),
        (
            {"question": "a", "context": "b", "answers": [], "is_impossible": 1},
            (
                "train.jsonl:2: field 'is_impossible': expected true or false. Received 1. Correct"
                " it, or leave it out."
            ),
        ),
        (
            {"question": "a", "context": 3, "answers": []},
            "train.jsonl:2: field 'context' should be text. Received 3 (int).",
        ),
        (
            {"question": "a", "context": "b", "answers": "b"},
            "field 'answers': expected a list of {\"text\", \"answer_start\"}. Received 'b'.",
        ),
        (
            {"question": "a", "context": "b", "answers": [{"answer": "b"}]},
            'train.jsonl:2: field \'answers\': expected answers {"text", "answer_start"}.',
        ),
        (
            {"question": "a", "context": "b", "answers": {"text": ["b"], "answer_start": []}},
            "expected as many texts as answer_starts.",
        ),
    ],
)
def test_what_is_no_question_is_refused_with_its_place(tmp_path, weights, row, message):
    with pytest.raises(DataError) as caught:
        prepared_of(tmp_path, weights, [*questions(1), row])
    assert message in str(caught.value)


def test_answers_may_not_say_where_they_stand_or_be_none(tmp_path, weights):
    """As in sets without places; some write an answer without text for none."""
    context = "the film was old and the book was new"
    answers = [
        ({"text": "old", "answer_start": None}, "moved"),
        ({"text": "old"}, "moved"),
        ({"text": "old", "answer_start": 13.0}, "found"),
        ({"text": "the", "answer_start": None}, "lost"),
        ({"text": "", "answer_start": -1}, "none"),
        ({"text": ""}, "none"),
    ]
    head, _ = prepared_of(tmp_path, weights, questions(2))
    golds = [
        head.reader.label(
            Example({"question": "what?", "context": context, "answers": [answer]}, Origin("x", 1))
        )
        for answer, _ in answers
    ]
    assert [gold.state for gold in golds] == [state for _, state in answers]
    assert [(gold.start, gold.end) for gold in golds[:3]] == [(13, 16)] * 3


def test_answers_as_lists_side_by_side_are_read_too(tmp_path, weights):
    rows = questions(5)
    other = [
        {
            **row,
            "answers": {
                name: [answer[name] for answer in row["answers"]]
                for name in ("text", "answer_start")
            },
        }
        for row in rows
    ]
    stores = []
    for name, content in (("a", rows), ("b", other)):
        (tmp_path / name).mkdir()
        stores.append(prepared_of(tmp_path / name, weights, content)[1].splits["train"])
    np.testing.assert_array_equal(stores[0].columns["label"], stores[1].columns["label"])


@pytest.mark.parametrize(
    ("head", "data", "message"),
    [
        (
            {},
            {"text": "text"},
            (
                "data.text: head question_answering takes two fields, [question, context]. Received"
                " 'text'."
            ),
        ),
        (
            {},
            {"overflow": "truncate"},
            (
                "data.overflow: head question_answering takes window or error, so that no answer"
                " goes unseen."
            ),
        ),
        (
            {"max_question_tokens": 64},
            {"seq_len": 60},
            "data.seq_len: 60 leaves -7 tokens beside a question of head.max_question_tokens = 64",
        ),
        (
            {"top_k": 4},
            {},
            (
                "head.top_k: 4 answers are chosen from the head.n_best = 3 best of each text. Raise"
                " head.n_best."
            ),
        ),
        (
            {},
            {"window_overlap": 13, "seq_len": 20},
            (
                "data.seq_len: 20 leaves 13 tokens beside a question of head.max_question_tokens ="
                " 4, and"
            ),
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(head, data, message):
    with pytest.raises(ConfigError) as caught:
        make_head(
            Settings(**{**SMALL, **head}),
            DataSettings(
                **{"source": "jsonl", "train": "", "text": ["question", "context"], **data}
            ),
            toy.TEMPLATE,
        )
    assert message in str(caught.value)


def test_the_questions_of_a_context_stay_together(tmp_path, weights):
    rows = [
        {**row, "question": f"{word}?"}
        for row in questions(60)
        for word in ("great", "film", "red")
    ]
    _, prepared = prepared_of(tmp_path, weights, rows, validation=0.3)
    contexts = {
        split: {
            bytes(store.tokens["token_ids"][a + 4 : b])
            for a, b in zip(store.row_splits[:-1], store.row_splits[1:], strict=True)
        }
        for split, store in prepared.splits.items()
    }
    assert (
        not contexts["train"] & contexts["validation"]
        and 10 < len(prepared.splits["validation"].meta["samples"]) < 90
    )


def test_a_metric_that_validation_does_not_give_is_refused(tmp_path, weights, capsys):
    config = toy.write_config(
        tmp_path,
        weights,
        toy.write_jsonl(tmp_path / "train.jsonl", questions(40, after=0)),
        head={"name": "question_answering", **SMALL},
        data={"text": ["question", "context"], "label": "answers", "validation": 0.3},
        train={"steps": 4, "evaluate_every_steps": 2, "best_metric": "HasAns_f1"},
    )
    assert toy.run_main(config, tmp_path / "job") == 2
    assert (
        "train.best_metric: validation gives no HasAns_f1. Expected one of loss, exact_match, f1."
        in capsys.readouterr().err
    )


def test_the_threshold_is_the_jobs_until_it_trains_again(tmp_path, weights):
    """Evaluation on other data neither tunes it nor takes the place of the job's results."""
    rows = questions(120, unanswerable=0.4)
    config = toy.write_config(
        tmp_path,
        weights,
        toy.write_jsonl(tmp_path / "train.jsonl", rows),
        head={"name": "question_answering", **SMALL},
        data={
            "text": ["question", "context"],
            "label": "answers",
            "validation": 0.3,
            "seq_len": 32,
        },
        train={"steps": 6},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    kept = {
        name: (tmp_path / "job" / name).read_bytes()
        for name in ("calibration.json", "results.json")
    }
    other = toy.write_jsonl(tmp_path / "other.jsonl", questions(60, seed=9, unanswerable=0.9))
    assert (
        toy.run_main(None, tmp_path / "job", "--mode=evaluate", f"--data.validation={other}") == 0
    )
    assert {name: (tmp_path / "job" / name).read_bytes() for name in kept} == kept
    assert (
        json.loads((tmp_path / "job" / "results_other_data.json").read_text())["validation"]["f1"]
        >= 0
    )
    assert toy.run_main(None, tmp_path / "job", "--mode=evaluate") == 0
    first, again = (
        json.loads(content)["validation"]["f1"]
        for content in (kept["results.json"], (tmp_path / "job" / "results.json").read_bytes())
    )
    assert again == pytest.approx(first)


def test_a_train_without_answers_is_refused(tmp_path, weights):
    with pytest.raises(
        DataError, match=r"none of the 3 questions has an answer that stands in its context"
    ):
        prepared_of(tmp_path, weights, questions(3, unanswerable=1.0))


@pytest.mark.parametrize("packed", [False, True])
def test_the_best_spans_are_those_of_all_pairs_tried(graph_of, packed):
    """Against every beginning and every end, in rows of one example and of two."""
    head = head_of()
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 24, 2)).astype(np.float32)
    ids = np.array([[1] * 10 + [2] * 12 + [0] * 2] if packed else [[1] * 22 + [0] * 2], np.int32)
    candidate = np.where(ids > 0, rng.choice([0, 1, 2, 3, 3, 3], ids.shape), 0).astype(np.int32)
    starts = [0, 10] if packed else [0]
    batch = {
        "token_ids": ids,
        "sequence_ids": ids,
        "candidate": candidate,
        "example_row": np.zeros(len(starts), np.int32),
        "example_start": np.array(starts, np.int32),
        "example_length": np.array([10, 12] if packed else [22], np.int32),
        "label": np.array([[2, 4], [0, 0]][: len(starts)], np.int32),
        "sample_weight": np.ones(len(starts), np.float32),
    }
    batch = Batch.of({name: tf.constant(value) for name, value in batch.items()})
    own = np.stack(
        [
            np.where((ids[0] == number + 1)[:, None], logits[0], NEVER)
            for number in range(len(starts))
        ]
    )
    results = graph_of(head).results(tf.constant(own), batch)
    results = {name: value.numpy() for name, value in results.items()}
    for number, start in enumerate(starts):
        mine = np.flatnonzero(ids[0] == number + 1)
        spans = sorted(
            (
                (logits[0, a, 0] + logits[0, b, 1], a - start, b - start)
                for a in mine
                for b in mine
                if 0 <= b - a < 5
                and candidate[0, a] & candidate[0, b] & EDGE
                and candidate[0, (a + b) // 2] & MIDDLE
            ),
            reverse=True,
        )[:3]
        np.testing.assert_allclose(
            results["score"][number][: len(spans)], [score for score, _, _ in spans], rtol=1e-6
        )
        assert list(zip(results["first"][number], results["last"][number], strict=True))[
            : len(spans)
        ] == [(a, b) for _, a, b in spans]
        assert results["none"][number] == pytest.approx(logits[0, start].sum(), abs=1e-5)
        gold = batch.label.numpy()[number] + start
        expected = np.mean(
            [
                np.logaddexp.reduce(logits[0, mine, side]) - logits[0, gold[side], side]
                for side in range(2)
            ]
        )
        assert results["loss"][number] == pytest.approx(expected, abs=1e-5)


@pytest.fixture(
    scope="module",
    params=[(0.0, 1, "bert"), (0.0, 3, "bert"), (0.4, 3, "bert"), (0.0, 3, "gpt2")],
    ids=str,
)
def served(tmp_path_factory, weights, request):
    share, top_k, family = request.param
    folder = tmp_path_factory.mktemp("served")
    weights = toy.write_gpt2(folder / "gpt2", layers=1, hidden=16) if family == "gpt2" else weights
    head, prepared = prepared_of(
        folder, weights, questions(30, unanswerable=share), head={"top_k": top_k}
    )
    model = model_of(weights, head, prepared.vocabulary)
    kernel = model.graph.output.kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    return types.SimpleNamespace(
        head=head, model=model, server=make_server(model, head), unanswerable=share > 0, top_k=top_k
    )


def ask(served, pairs):
    columns = [
        tf.constant([text.encode() for text in column]) for column in zip(*pairs, strict=True)
    ]
    outputs = {name: value.numpy() for name, value in served.server.texts(*columns).items()}
    return [served.model.graph.decode(outputs, row) for row in range(len(pairs))]


CHARACTERS = st.one_of(
    st.sampled_from("the red film 今天 \t\n.,\u0301\u200b\ufeffé😀ｆ"),
    st.characters(exclude_categories=["Cs"]),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(CHARACTERS, max_size=12), st.text(CHARACTERS, max_size=80)),
        min_size=1,
        max_size=3,
    )
)
def test_an_answer_is_always_a_slice_of_its_context(served, pairs):
    for (_, context), found in zip(pairs, ask(served, pairs), strict=True):
        if found["start"] < 0:
            assert (found["answer"], found["start"], found["end"]) == ("", -1, -1)
        else:
            assert (
                found["answer"] == context[found["start"] : found["end"]] != ""
                and found["start"] < found["end"]
            )
        assert 0 <= found["score"] <= 1
        best = {name: found[name] for name in ("answer", "start", "end", "score")}
        assert served.top_k == 1 or not found["score"] or found["n_best"][0] == best
        for other in found.get("n_best", []):
            assert other["answer"] == context[max(other["start"], 0) : max(other["end"], 0)]


def test_gold_answers_can_be_given_whole(tmp_path, weights, graph_of):
    """The span that is learnt is the answer to its last accent, at either end, between tabs and in
    the second of two windows, and is judged right.
    """
    answers = [
        "cafe\u0301",
        "नहीं",
        "１９７３",
        "😀",
        "e\u0301\u0323",
        "今天",
        "ﬁlm",
        "İ",
        "\u0628\u0650",
        "U.S.\u0301",
    ]
    contexts = [
        "{}",
        "{} the film",
        "the film {}",
        "in\t{}\n(old)",
        "😀 {}, it was",
        "ｆ {} ｆ" + " the film" * 20,
    ]
    texts = [(context.format(answer), answer) for context in contexts for answer in answers]
    rows = [
        {
            "question": "great?",
            "context": text,
            "answers": [{"text": answer, "answer_start": text.index(answer)}],
        }
        for text, answer in texts
    ]
    head, prepared = prepared_of(
        tmp_path, weights, rows, validation=str(toy.write_jsonl(tmp_path / "dev.jsonl", rows))
    )
    store = prepared.splits["validation"]
    assert not prepared.vocabulary["unanswerable"]
    label = np.asarray(store.columns["label"])
    results = {
        "score": np.where(label.any(1), 1.0, -1.0)[:, None],
        "first": label[:, :1],
        "last": label[:, 1:],
        "none": np.zeros(len(label)),
        "loss": np.zeros(len(label)),
    }
    assert (
        head.scorer(graph_of(head)).metrics(results, store)["exact_match"] == 100
        and prepared.ledger.count("validation", "unreachable_answers") == 0
    )
    for row in np.flatnonzero(label.any(1)):
        (text, answer), (first, last) = (
            texts[store.columns["example"][row]],
            store.row_splits[row] + label[row],
        )
        assert text[store.tokens["start"][first] : store.tokens["end"][last]] == answer


def test_windows_go_through_the_encoder_a_few_at_a_time(served, monkeypatch):
    pairs = [("great?", row["context"]) for row in questions(6, seed=3)]
    whole = ask(served, pairs)
    monkeypatch.setattr("trainer.serve.server.ROWS_AT_ONCE", 2)
    for one, other in zip(
        whole,
        ask(
            types.SimpleNamespace(
                model=served.model, server=make_server(served.model, served.head)
            ),
            pairs,
        ),
        strict=True,
    ):
        assert (
            one["score"] == pytest.approx(other["score"], abs=1e-5)
            and one["answer"] == other["answer"]
            and one["start"] == other["start"]
        )
    assert served.server.texts(tf.constant([], tf.string), tf.constant([], tf.string))[
        "start"
    ].shape == (0,)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0])
def test_the_answers_are_the_best_of_all_windows(graph_of, threshold):
    """Against the candidates of every window, sorted by hand."""
    rng, count = np.random.default_rng(0), 3
    example = np.array([0, 0, 1, 2, 2, 2])  # windows of three texts
    head = head_of(top_k=3)
    contexts = ["0123456789" * 3] * 3
    shift = np.array([0, 10, 0, 0, 10, 20])[:, None]
    start = tf.RaggedTensor.from_tensor(
        (np.tile(np.r_[-1, np.arange(10), -1], (6, 1)) + shift).astype(np.int32)
    )
    columns = {"example": tf.constant(example, tf.int32), "start": start, "end": start + 1}
    first = rng.integers(1, 8, (6, count)).astype(np.int32)
    last = first + rng.integers(0, 3, (6, count)).astype(np.int32)
    score = rng.normal(size=(6, count)).astype(np.float32)
    none = rng.normal(size=6).astype(np.float32)
    score[2, 1:] = NEVER
    results = {
        name: tf.constant(value)
        for name, value in {"score": score, "first": first, "last": last, "none": none}.items()
    }
    for unanswerable in (False, True):
        graph = graph_of(head, unanswerable=unanswerable, threshold=threshold)
        found = {
            name: value.numpy()
            for name, value in graph.answers(
                results, columns, (tf.constant(["?"] * 3), tf.constant(contexts))
            ).items()
        }
        for text in range(3):
            windows = np.flatnonzero(example == text)
            spans = [
                (score[w, i], int(start[w, first[w, i]]), int(start[w, last[w, i]]) + 1)
                for w in windows
                for i in range(count)
                if score[w, i] > NEVER
            ]
            spans = sorted(spans, reverse=True)[:3]
            total = np.exp([value for value, _, _ in spans]).sum() + (
                np.exp(none[windows].min()) if unanswerable else 0
            )
            ranked = [(value, np.exp(value) / total, a, b) for value, a, b in spans]
            if unanswerable:
                ranked.append(
                    (none[windows].min() - threshold, np.exp(none[windows].min()) / total, -1, -1)
                )
            ranked = sorted(ranked, reverse=True)[:3]
            decoded = graph.decode(found, text)
            assert [(answer["start"], answer["end"]) for answer in decoded["n_best"]] == [
                (a, b) for *_, a, b in ranked
            ]
            assert [answer["score"] for answer in decoded["n_best"]] == pytest.approx(
                [share for _, share, _, _ in ranked], abs=1e-5
            )
            assert (
                decoded["answer"]
                == contexts[text][max(ranked[0][2], 0) : max(ranked[0][3], 0)]
                == decoded["n_best"][0]["answer"]
            )


def test_the_company_of_a_question_changes_nothing(served):
    pairs = [("great?", row["context"]) for row in questions(6, seed=3)]
    together = ask(served, pairs)
    for pair, found in zip(pairs, together, strict=True):
        alone = ask(served, [pair])[0]
        assert {name: alone[name] for name in ("answer", "start", "end")} == {
            name: found[name] for name in ("answer", "start", "end")
        }
        assert alone["score"] == pytest.approx(found["score"], abs=1e-5)
    assert ask(served, [("?", "")])[0]["answer"] == ""


GOLDEN = json.loads(
    (pathlib.Path(__file__).parent.parent / "golden" / "squad.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(
    ("cases", "script", "language"), [("en", "v1", "en"), ("en", "v2", "en"), ("zh", "zh", "zh")]
)
def test_the_figures_are_those_of_other_packages(cases, script, language):
    """1,000 English answers and 500 Chinese ones, random and adversarial, with up to three gold
    answers (tests/golden/make_squad.py).
    """
    for case in GOLDEN[cases]:
        assert official.figures(
            case["answer"], case["golds"], language, v2=script == "v2"
        ) == pytest.approx(tuple(case[script]), abs=1e-6), case


def test_the_threshold_reaches_the_best_f1_of_all():
    for case in GOLDEN["thresholds"]:
        margin, f1, of_none = (
            np.array(values, np.float64)
            for values in (case["margin"], case["f1"], 1 - np.array(case["has"]))
        )
        threshold = best_threshold(margin, f1, of_none)
        assert 100 * np.where(margin > threshold, of_none, f1).mean() == pytest.approx(case["best"])


def test_equal_margins_are_not_parted():
    margin = np.array([1.0, 1.0, 2.0])
    f1 = np.array([1.0, 0.0, 0.0])
    of_none = np.array([0.0, 1.0, 1.0])
    threshold = best_threshold(margin, f1, of_none)
    scores = {value: np.where(margin > value, of_none, f1).mean() for value in (0.0, 1.5, 3.0)}
    assert (
        np.where(margin > threshold, of_none, f1).mean()
        == max(scores.values())
        == pytest.approx(2 / 3)
    )


@pytest.mark.parametrize(
    ("answer", "gold", "exact", "f1"),
    [
        ("1973年", "1973 年。", 1, 1),
        ("一九七三年", "一九七三", 0, 8 / 9),
        ("《红楼梦》", "红楼梦", 1, 1),
        ("USB 接口", "usb接口", 1, 1),
        ("北京", "上海", 0, 0),
    ],
)
def test_chinese_answers_are_judged_by_their_characters(answer, gold, exact, f1):
    assert official.figures(answer, [gold], "zh", v2=False) == pytest.approx((exact, f1))


def test_figures_over_windows_and_the_threshold_that_suits_them_best(tmp_path, weights, graph_of):
    dev = toy.write_jsonl(tmp_path / "dev.jsonl", questions(40, seed=1, unanswerable=0.4))
    head, prepared = prepared_of(tmp_path, weights, questions(60), validation=str(dev))
    graph = graph_of(head, unanswerable=True)
    metrics = head.scorer(graph).metrics
    store = prepared.splits["validation"]
    rng = np.random.default_rng(0)
    label = np.asarray(store.columns["label"])
    # What was learnt: each window that has the answer gives it with a high score, the others a
    # token of theirs with a low one.
    has = label[:, 0] > 0
    results = {
        "score": np.where(has, 5, 1)[:, None] + rng.normal(0, 0.1, (len(label), 1)),
        "first": np.where(has, label[:, 0], 4)[:, None],
        "last": np.where(has, label[:, 1], 4)[:, None],
        "none": np.full(len(label), 3.0),
        "loss": np.ones(len(label), np.float32),
    }
    # the threshold is 0: 5 is better than 3, 1 is not
    assert metrics(results, store)["exact_match"] == 100
    perfect = metrics(results, store)
    assert perfect["HasAns_f1"] == perfect["NoAns_f1"] == perfect["f1"] == 100
    # windows behind the first of a question
    further = np.r_[False, np.diff(store.columns["example"]) == 0]
    # the least of them counts
    assert (
        further.any()
        and metrics({**results, "none": results["none"] + 10 * further}, store) == perfect
    )
    worse = {**results, "none": results["none"] + 7}
    assert metrics(worse, store)["HasAns_f1"] == 0
    calibration = graph.calibration(worse, store)
    calibrated = graph.calibrated(calibration)
    assert 5 < calibration["threshold"] < 9
    assert head.scorer(calibrated).metrics(worse, store)["f1"] == 100
    # the layers are the same, and the graph that was is not changed
    assert calibrated.layers is graph.layers and graph.threshold == 0


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_answers_that_are_judged_are_those_that_are_served(
    tmp_path, weights, graph_of, monkeypatch, top_k
):
    """All texts at once, as a server has them, and a few at a time, as they are judged."""
    rows = questions(40, seed=1, unanswerable=0.4)
    for number, row in enumerate(rows):
        row["context"] += " 😀 cafe\u0301" * (number % 3)
    dev = toy.write_jsonl(tmp_path / "dev.jsonl", rows)
    head, prepared = prepared_of(
        tmp_path, weights, questions(60), validation=str(dev), head={"top_k": top_k}
    )
    graph = graph_of(head, unanswerable=True, threshold=0.5)
    store = prepared.splits["validation"]
    rng = np.random.default_rng(0)
    shape = (len(store), SMALL["n_best"])
    first = np.stack([rng.integers(0, length, shape[1]) for length in store.lengths])
    results = {
        "score": rng.normal(size=shape).astype(np.float32),
        "first": np.maximum(first - 1, 4).astype(np.int32),
        "last": np.maximum(first - 1, 4).astype(np.int32),
        "none": rng.normal(1.5, 1, shape[0]).astype(np.float32),
        "loss": np.ones(shape[0], np.float32),
    }
    inputs = [tf.constant([row[field] for row in rows]) for field in ("question", "context")]
    columns, _ = head.reader.encode(*inputs)
    tensors = {result: tf.constant(values) for result, values in results.items()}
    served = graph.answers(tensors, columns, inputs)["answer"].numpy()
    judged = [
        official.figures(answer.decode(), [gold["text"] for gold in row["answers"]], "en", v2=True)
        for answer, row in zip(served, rows, strict=True)
    ]
    monkeypatch.setattr(
        evaluated, "blocks_of_texts", functools.partial(evaluated.blocks_of_texts, texts=7)
    )
    metrics = head.scorer(graph).metrics(results, store)
    exact_match, f1 = 100 * np.mean(judged, axis=0)
    assert metrics["exact_match"] == pytest.approx(exact_match) and 0 < exact_match < 100
    assert metrics["f1"] == pytest.approx(f1)
    assert 5 < sum(not answer for answer in served) < 35


@pytest.mark.parametrize(
    ("none", "near"),
    [((5.0001, 9.0), True), ((9.0, 5.0001), True), ((4.0, 5.0001), False), ((9.0, 9.0), False)],
)
def test_an_answer_is_in_doubt_where_no_answer_is_as_good(graph_of, none, near):
    """By the window that says it least."""
    head = head_of()
    graph = graph_of(head, unanswerable=True)
    results = {"score": tf.constant([[5.0, 1.0], [2.0, 1.0]]), "none": tf.constant(none)}
    found = graph.ambiguous({"start": np.zeros(1)}, results, {"example": tf.constant([0, 0])}, 1e-4)
    assert found["start"].tolist() == [near]


def test_answers_longer_than_any_that_is_given_are_warned_of(tmp_path, weights):
    """Chinese has a token a character: the warning says how many, how long, and what to raise."""
    context = "我们他今天" * 9
    rows = [
        {
            "question": "great?",
            "context": context,
            "answers": [{"text": context[start : start + size], "answer_start": start}],
        }
        for start, size in ((0, 3), (2, 9), (4, 12), (5, 5))
    ]
    head, prepared = prepared_of(tmp_path, weights, rows, seq_len=64)
    assert prepared.ledger.entries["train"]["long_answers"] == {
        "count": 2,
        "first": f"{tmp_path / 'train.jsonl'}:2",
    }
    assert head.reader.warnings(prepared.vocabulary, prepared.splits) == [
        "data.train: 2 of 4 gold answers have more than head.max_answer_tokens = 5 tokens (the"
        " longest 12): none of them is ever given. Raise --head.max_answer_tokens, to 12 for all"
    ]
    # over several windows, none of which has all of it
    short, prepared = prepared_of(tmp_path, weights, rows, seq_len=20)
    assert prepared.ledger.count("train", "long_answers") == 2
    assert short.reader.warnings(prepared.vocabulary, prepared.splits)[0].endswith(
        "to 12 for all, and --data.seq_len to 31, so that windows share as many"
    )
    high, prepared = prepared_of(
        tmp_path, weights, rows, seq_len=64, head={"max_answer_tokens": 12}
    )
    assert (
        prepared.ledger.count("train", "long_answers") == 0
        and high.reader.warnings(prepared.vocabulary, prepared.splits) == []
    )


def test_a_question_is_shown_with_what_is_learnt_of_it(weights):
    head = head_of()
    context = "the " * 20 + "film was great"
    for answers, around, answer in (
        ([{"text": "film", "answer_start": 80}], "…" + "the " * 10 + "film was great", "film"),
        ([], context, ""),
    ):
        example = Example({"q": "what?", "c": context, "answers": answers}, Origin("x", 1))
        reader = head.reader
        shown = reader.shown(example, reader.values(example), reader.label(example))
        assert shown == [("q", "what?"), ("c", around), ("answer", answer)]


def test_a_checkpoints_layer_is_taken_over(graph_of):
    graph = graph_of(head_of())
    tensors, updates = graph.save_tensors()
    assert updates["architectures"] == ["BertForQuestionAnswering"] and tensors[
        "qa_outputs.weight"
    ].shape == (2, 16)
    other = graph_of(head_of())
    assert other.load_tensors(huggingface.TaskHead({})).tensors == []
    assert other.load_tensors(
        huggingface.TaskHead({name: tensor + 1 for name, tensor in tensors.items()})
    ).tensors == ["qa_outputs.weight", "qa_outputs.bias"]
    np.testing.assert_allclose(other.output.kernel.numpy(), graph.output.kernel.numpy() + 1)


def test_questions_are_learnt_exported_and_answered(tmp_path, weights, capsys):
    """Through the entry point: where is "great"?"""
    config = toy.write_config(
        tmp_path,
        weights,
        toy.write_jsonl(tmp_path / "train.jsonl", questions(300, after=0)),
        head={"name": "question_answering", **SMALL, "top_k": 2},
        data={
            "text": ["question", "context"],
            "label": "answers",
            "validation": 0.15,
            "seq_len": 32,
        },
        train={
            "steps": 120,
            "learning_rate": 5e-3,
            "log_every_steps": 50,
            "evaluate_every_steps": 120,
        },
        export={"format": "savedmodel", "check_examples": 8},
    )
    assert toy.run_main(config, tmp_path / "job") == 0
    results = json.loads((tmp_path / "job" / "results.json").read_text())
    assert results["validation"]["f1"] > 80
    toy.write_jsonl(
        tmp_path / "in.jsonl",
        [{"question": "great?", "context": "the film was great story, it is"}],
    )
    assert (
        toy.run_main(
            None,
            tmp_path / "job",
            "--mode=predict",
            f"--input={tmp_path / 'in.jsonl'}",
            f"--output={tmp_path / 'out.jsonl'}",
        )
        == 0
    )
    found = toy.read_jsonl(tmp_path / "out.jsonl")[0]
    assert (
        (found["answer"], found["start"], found["end"]) == ("great", 13, 18)
        and found["n_best"][0]["answer"] == "great"
        and len(found["n_best"]) == 2
    )
    squad = {
        "data": [
            {
                "paragraphs": [
                    {
                        "context": "it was the great red film",
                        "qas": [{"id": "q1", "question": "great?", "answers": []}],
                    }
                ]
            }
        ]
    }
    (tmp_path / "dev.json").write_text(json.dumps(squad))
    read_as = (
        "--data.source=squad",
        f"--input={tmp_path / 'dev.json'}",
        "--data.text=[question, context]",
        "--data.label=answers",
    )
    assert (
        toy.run_main(
            None, tmp_path / "job", "--mode=predict", *read_as, f"--output={tmp_path / 'out.jsonl'}"
        )
        == 0
    )
    assert [
        (line["id"], line["answer"], line["answers"])
        for line in toy.read_jsonl(tmp_path / "out.jsonl")
    ] == [("q1", "great", [])]
    assert (
        toy.run_main(
            None,
            tmp_path / "job",
            "--mode=predict",
            *read_as[:1],
            f"--input={tmp_path / 'none.json'}",
        )
        == 2
    )
    assert "--input: there is no file or folder" in capsys.readouterr().err
    other = toy.write_jsonl(tmp_path / "other.jsonl", questions(60, seed=9, after=0))
    calibration = (tmp_path / "job" / "calibration.json").exists()
    results = (tmp_path / "job" / "results.json").read_bytes()
    assert (
        toy.run_main(None, tmp_path / "job", "--mode=evaluate", f"--data.validation={other}") == 0
    )
    found = json.loads((tmp_path / "job" / "results_other_data.json").read_text())
    assert found["data"]["validation"] == str(other) and found["validation"]["f1"] > 80
    assert (tmp_path / "job" / "results.json").read_bytes() == results and (
        tmp_path / "job" / "calibration.json"
    ).exists() == calibration
    (tmp_path / "in.jsonl").write_text('{"question": "great?"}\n[]\n')
    assert (
        toy.run_main(None, tmp_path / "job", "--mode=predict", f"--input={tmp_path / 'in.jsonl'}")
        == 2
    )
    assert "unknown field 'context'" in capsys.readouterr().err
    (tmp_path / "in.jsonl").write_text("[5]\n")
    assert (
        toy.run_main(None, tmp_path / "job", "--mode=predict", f"--input={tmp_path / 'in.jsonl'}")
        == 2
    )
    assert "in.jsonl:1: expected a JSON object, found a number: 5." in capsys.readouterr().err
