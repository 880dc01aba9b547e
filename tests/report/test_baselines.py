"""Simple methods, beside scikit-learn's own and a second way to count."""

import itertools
import math

import numpy as np
import pytest

from trainer.data.reader import TARGET
from trainer.data.store import TokenStore
from trainer.data.store_writer import StoreWriter
from trainer.report.baselines import bag_of_words, constant, frequent_tag, n_gram

LABELS = {"labels": ["a", "b", "c"]}


def store(folder, rows, columns=None, tokens=None):
    """A split of rows of token ids."""
    writer = StoreWriter(folder)
    lengths = np.array(list(map(len, rows)), np.int32)
    flat = {"token_ids": np.concatenate(rows), **(tokens or {})}
    writer.append(
        {name: (np.asarray(values, np.int32), lengths) for name, values in flat.items()},
        {name: np.asarray(values) for name, values in (columns or {}).items()},
    )
    writer.close({}, {}, {"examples": len(rows), "samples": []})
    return TokenStore(folder)


@pytest.fixture
def texts(tmp_path):
    """Two splits of texts whose label is one of their tokens."""
    generator = np.random.default_rng(0)

    def split(name, count):
        label = generator.integers(3, size=count)
        rows = [[1, *generator.integers(10, 60, size=8), 5 + each, 2] for each in label]
        return store(tmp_path / name, rows, {"label": label.astype(np.int32)})

    return split("train", 200), split("test", 100)


def test_the_most_frequent_label_and_the_mean(texts):
    train, test = texts
    label = np.asarray(train.columns["label"])
    logits = constant.majority(train, LABELS)(test)["logits"]
    assert logits.shape == (100, 3)
    assert set(logits.argmax(1).tolist()) == {int(np.bincount(label).argmax())}
    assert np.exp(logits[0]) == pytest.approx(np.bincount(label) / 200, rel=1e-5)
    assert constant.mean(train, LABELS)(test)["logits"][0, 0] == pytest.approx(label.mean())


def test_tf_idf_is_scikit_learns(texts):
    from sklearn.feature_extraction.text import TfidfVectorizer

    train, test = texts

    def words(split):
        return [
            " ".join(f"t{token}" for token in split.example(row)["token_ids"])
            for row in range(len(split))
        ]

    theirs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    expected = theirs.fit_transform(words(train))
    counted = bag_of_words.Counted(train)
    # the same products of all texts with each other, whatever the order of the columns
    found = (counted.train @ counted.train.T).toarray()
    assert found == pytest.approx((expected @ expected.T).toarray(), abs=1e-5)
    assert counted.of(test).shape[0] == 100


def test_what_stands_in_the_words_is_learnt(texts):
    train, test = texts
    label = np.asarray(test.columns["label"])
    found = bag_of_words.one_label(train, LABELS)(test)["logits"]
    assert (found.argmax(1) == label).mean() > 0.95
    number = bag_of_words.number(train, LABELS)(test)["logits"]
    assert np.corrcoef(number[:, 0], label)[0, 1] > 0.9


def test_several_labels(texts, tmp_path):
    generator = np.random.default_rng(1)
    label = (generator.random((120, 3)) < 0.4).astype(np.int32)
    label[:, 2] = 1  # which all have
    rows = [
        [1, *(10 + np.flatnonzero(each)), *generator.integers(20, 40, size=4)] for each in label
    ]
    split = store(tmp_path / "several", rows, {"label": label})
    logits = bag_of_words.several_labels(split, LABELS)(split)["logits"]
    assert ((logits > 0) == label).mean() > 0.95
    given = constant.none(split, LABELS)(split)["logits"] > 0
    assert given[0].tolist() == (label.mean(0) > 0.5).tolist()


def test_a_single_class_and_tokens_that_train_does_not_have(tmp_path):
    train = store(tmp_path / "one", [[1, 4], [1, 5]], {"label": np.zeros(2, np.int32)})
    test = store(tmp_path / "other", [[900, 4]], {"label": np.zeros(1, np.int32)})
    assert bag_of_words.one_label(train, LABELS)(test)["logits"].shape == (1, 3)
    assert bag_of_words.Counted(train).of(test).shape[0] == 1


def test_each_token_has_its_most_frequent_tag(tmp_path):
    train = store(tmp_path / "train", [[7, 8, 7, 9, 7]], tokens={"label": [2, 1, 2, 0, 1]})
    test = store(tmp_path / "test", [[7, 8, 9, 500]], tokens={"label": [2, 1, 1, 3]})
    found = frequent_tag.frequent_tag(train, LABELS)(test)
    assert found["tag"].tolist() == [1, 0, 0, 0]  # of all, 0 and 1 are as frequent: the first
    # of token 7: two of tag 1 and one of tag 0, and one more of each of three
    assert found["score"][0] == pytest.approx(3 / 6)
    assert found["loss"][0] == pytest.approx(-math.log(3 / 6))


def test_pairs_of_tokens_are_a_language_model(tmp_path):
    generator = np.random.default_rng(0)
    ids = [3]
    for _ in range(3000):
        ids.append((ids[-1] + 1) % 20 if generator.random() < 0.8 else generator.integers(20))
    target = [*(np.array(ids[1:]) + 1), 0]
    train = store(tmp_path / "train", [ids], tokens={TARGET: target})
    test = store(tmp_path / "test", [ids[:50], ids[50:90]], tokens={TARGET: target[:90]})
    found = n_gram.bigram(train, {})(test)
    assert found["predicted"].tolist() == [50, 40]
    right = [(a + 1) % 20 == b for a, b in itertools.pairwise(ids[:91])]
    assert found["correct"].tolist() == [sum(right[:50]), sum(right[50:])]
    assert found["loss"].sum() / 90 < 1.6  # chance is log 20, 3.0
    model = n_gram._Bigram(np.array(ids[:-1]), np.array(ids[1:]))
    before = np.full(20, 4)
    assert model.probability(before, np.arange(20), 0.7).sum() == pytest.approx(1)
    assert np.isfinite(np.log(model.probability(np.array([99]), np.array([99]), 0.9))).all()
