"""Tagging schemes against seqeval's reading of them, and the CRF against all paths counted one by
one.
"""

import itertools
import random

import numpy as np
import pytest
import tensorflow as tf
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities

from tests import bio
from trainer.heads.token_classification.crf import (
    FORBIDDEN,
    Chain,
    Moves,
    Words,
    forbidden_moves,
    no_forbidden_moves,
)
from trainer.heads.token_classification.rule import TaggedWords, rule_of
from trainer.heads.token_classification.schemes import find_scheme, to_bio

SCHEMES = {"bio": IOB2, "iob1": IOB1, "bioes": IOBES, "bilou": BILOU, "bmes": IOBES}


def write(spans, length, scheme):
    """Tags of some spans (start, end, type) as a scheme marks them."""
    tags = ["O"] * length
    for start, end, name in spans:
        for place in range(start, end):
            first, last = place == start, place == end - 1
            mark = {
                "bio": "B" if first else "I",
                "bioes": "S" if first and last else "B" if first else "E" if last else "I",
                "bmes": "S" if first and last else "B" if first else "E" if last else "M",
                "bilou": "U" if first and last else "B" if first else "L" if last else "I",
                "iob1": "B" if first and start and tags[start - 1][2:] == name else "I",
            }[scheme]
            tags[place] = f"{mark}-{name}"
    return tags


def random_spans(rng, length):
    edges = sorted(rng.sample(range(length + 1), min(length + 1, 2 * rng.randrange(1, 4))))
    return [
        (a, b, rng.choice(["PER", "LOC-x"]))
        for a, b in itertools.pairwise(edges)
        if rng.random() < 0.7
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_is_found_and_read_as_seqeval_reads_it(scheme):
    rng = random.Random(0)
    spans = [random_spans(rng, rng.randrange(1, 12)) for _ in range(200)]
    sentences = [
        write(found, max((end for _, end, _ in found), default=1), scheme) for found in spans
    ]
    assert find_scheme(sentences) == scheme
    for tags, found in zip(sentences, spans, strict=True):
        bio, broken = to_bio(tags, scheme)
        assert not broken and find_scheme([bio]) in ("bio", "none")
        for marks, read_as in (
            (bio, IOB2),
            ([tag.replace("M-", "I-") for tag in tags], SCHEMES[scheme]),
        ):
            read = [
                (entity.start, entity.end, entity.tag)
                for entity in Entities([marks], read_as).entities[0]
            ]
            assert read == found


def test_spans_without_types_are_spans():
    """As of keyphrases, and of word segmentation."""
    for tags, scheme in {"O B I O": "bio", "B M E S": "bmes", "B I E S O": "bioes"}.items():
        assert find_scheme([tags.split()]) == scheme
    assert to_bio(["B", "M", "E", "S"], "bmes") == (["B-span", "I-span", "I-span", "B-span"], [])
    assert (
        find_scheme([["I", "E"]]) == "none"
        and find_scheme([["B", "X"]]) == "none"
        and find_scheme([["B", "B-PER"]]) == "none"
    )


def test_a_slip_does_not_make_iob1_another_scheme():
    assert (
        find_scheme([["I-A", "I-A", "O", "I-B"]] * 3 + [["B-A"]]) == "iob1"
        and find_scheme([["B-A", "I-A", "B-A"]] * 3 + [["I-A"]]) == "bio"
    )


def test_parts_of_speech_are_no_spans():
    assert (
        find_scheme([["NNP", "O", "-LRB-"], ["B-X"]]) == "none"
        and find_scheme([["O", "O"]]) == "none"
    )
    assert to_bio(["NNP", "I-x"], "none") == (["NNP", "I-x"], [])


@pytest.mark.parametrize(
    ("scheme", "tags", "bio", "broken"),
    [
        ("bio", "O I-A I-A I-B B-B", "O B-A I-A B-B B-B", [1, 3]),
        ("iob1", "B-A I-A O B-B", "B-A I-A O B-B", [0, 3]),
        ("bioes", "I-A E-A B-A O S-B E-B", "B-A I-A B-A O B-B B-B", [0, 3, 5]),
        ("bmes", "B-A S-A B-A", "B-A B-A B-A", [1, 2]),
    ],
)
def test_what_breaks_a_scheme_is_found_and_read_as_a_beginning(scheme, tags, bio, broken):
    assert to_bio(tags.split(), scheme) == (bio.split(), broken)


LABELS = ["O", "B-A", "I-A", "B-B", "I-B"]
KIND = np.array(
    [[0, 2, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0], [0, 2, 1, 1, 1, 0, 1, 0, 0, 2, 0, 0]], np.int32
)
RULE = rule_of({"labels": LABELS, "scheme": "bio"})
# row, places, whether a text begins
SEQUENCES = [(0, [1, 3, 4], True), (0, [8, 9], False), (1, [1, 2, 3, 4, 6], True), (1, [9], True)]


def read(tags, text, shares=None):
    """The tags as the rule reads them."""
    words = TaggedWords(
        tf.constant(text),
        tf.constant([LABELS.index(tag) for tag in tags.split()]),
        shares if shares is None else tf.constant(shares),
    )
    return " ".join(LABELS[tag] for tag in RULE.tags(RULE.mark(words)).numpy())


@pytest.mark.parametrize(
    ("tags", "text", "shares", "expected"),
    [
        ("I-A I-A I-B O I-B B-B I-B", [0] * 7, None, "B-A I-A B-B O B-B B-B I-B"),
        ("B-A I-A I-A", [0, 0, 1], None, "B-A I-A B-A"),
        ("B-A B-A B-A O O", [0] * 5, [False, True, False, False, True], "B-A I-A B-A O O"),
        ("", [], None, ""),
    ],
)
def test_a_span_begins_where_its_type_does_whatever_its_tag(tags, text, shares, expected):
    assert read(tags, np.array(text, np.int32), shares) == expected


def test_the_rule_reads_any_tags_as_they_are_read_one_by_one():
    rng = random.Random(0)
    for _ in range(50):
        tags = rng.choices(LABELS, k=rng.randrange(1, 20))
        assert read(" ".join(tags), np.zeros(len(tags), np.int32)).split() == bio.repaired(tags)


@pytest.mark.parametrize("jit", [False, True])
def test_the_chain_agrees_with_all_paths_counted_one_by_one(jit):
    rng = np.random.default_rng(0)
    classes = len(LABELS)
    fresh = np.zeros(KIND.shape, bool)
    fresh[:, 0] = fresh[0, 7] = fresh[1, 8] = True
    logits = rng.normal(size=(*KIND.shape, classes)).astype(np.float32)
    tags = rng.integers(0, classes, KIND.shape).astype(np.int32)
    moves = rng.normal(size=(classes, classes)).astype(np.float32)
    first = rng.normal(size=classes).astype(np.float32)

    @tf.function(jit_compile=jit)
    def run(logits):
        chain = Chain(Moves(tf.constant(moves), tf.constant(first)))
        words = Words(logits, tf.constant(KIND), tf.constant(fresh))
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = chain.losses(words, tf.constant(tags))
        return losses, tape.gradient(losses, logits), *chain.decode(words)

    losses, gradient, best, score, margin = (values.numpy() for values in run(tf.constant(logits)))
    assert (
        ((losses == 0) == (KIND == 0)).all()
        and (best[KIND == 0] == 0).all()
        and (gradient[KIND == 0] == 0).all()
    )
    logits, moves, first = (values.astype(np.float64) for values in (logits, moves, first))
    for row, places, opening in SEQUENCES:
        scores = {
            path: (
                sum(logits[row, place, tag] for place, tag in zip(places, path, strict=True))
                + (first[path[0]] if opening else 0)
                + sum(moves[before, after] for before, after in itertools.pairwise(path))
            )
            for path in itertools.product(range(classes), repeat=len(places))
        }
        total = np.logaddexp.reduce(list(scores.values()))
        assert losses[row, places].sum() == pytest.approx(
            total - scores[tuple(tags[row, places])], abs=1e-4
        )
        assert tuple(best[row, places]) == max(scores, key=scores.get)
        shares = sum(
            np.exp(score - total) * np.eye(classes)[list(path)] for path, score in scores.items()
        )
        np.testing.assert_allclose(
            gradient[row, places], shares - np.eye(classes)[tags[row, places]], atol=1e-4
        )
        np.testing.assert_allclose(
            score[row, places], shares[range(len(places)), list(best[row, places])], atol=1e-5
        )
        for index, place in enumerate(places):
            other = np.exp(
                max(score for path, score in scores.items() if path[index] != best[row, place])
                - max(scores.values())
            )
            assert margin[row, place] == pytest.approx((1 - other) / (1 + other), abs=1e-5)


def test_the_best_tags_never_break_the_scheme():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 5, size=(40, 9, 5)).astype(np.float32)
    moves, first = forbidden_moves(LABELS)
    assert moves[0].tolist() == [0, 0, FORBIDDEN, 0, FORBIDDEN] and first.tolist() == [
        0,
        0,
        FORBIDDEN,
        0,
        FORBIDDEN,
    ]
    kind = np.r_[2, np.ones(8)].astype(np.int32)[None].repeat(40, 0)
    words = Words(tf.constant(logits), tf.constant(kind), tf.constant(kind == 2))
    for tags in Chain(Moves(tf.constant(moves), tf.constant(first))).decode(words).tag.numpy():
        names = [LABELS[tag] for tag in tags]
        assert bio.repaired(names) == names


def test_nothing_is_forbidden_where_tags_are_no_spans():
    moves, first = no_forbidden_moves(["DT", "I-X"])
    assert not moves.any() and not first.any() and moves.shape == (2, 2)
