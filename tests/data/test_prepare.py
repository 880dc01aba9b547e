"""Preparation: splits by content, stores that are reused,
and a ledger of everything that was lost.
"""

import dataclasses
import os
import random
import shutil
import subprocess
import sys
import tracemalloc
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from tests import toy
from trainer.data import duplicates, preparation
from trainer.data import prepare as prepare_module
from trainer.data import split as split_module
from trainer.data.encoding import encoder
from trainer.data.preparation import ENCODE_BATCH
from trainer.data.prepare import load, prepare
from trainer.data.store_writer import StoreWriter
from trainer.errors import DataError
from trainer.files import spool
from trainer.files.checksums import DamagedError
from trainer.heads import causal_lm, masked_lm, text_generation
from trainer.heads.classification import Settings as HeadSettings
from trainer.heads.classification import TextEncoding, make_head
from trainer.sources import _files, jsonl
from trainer.sources import text as text_source
from trainer.text import load_tokenizer

UNKNOWN = 1


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(toy.write_checkpoint(tmp_path_factory.mktemp("weights"), weights=False))


class LetterEncoding(TextEncoding):
    """Its tokens are bytes, so that its graph is traced in no time."""

    def encode(self, *texts):
        rows = tf.strings.bytes_split(texts[0])[:, : self.seq_len]
        ids = tf.RaggedTensor.from_row_splits(
            tf.cast(tf.io.decode_raw(rows.values, tf.uint8)[:, 0], tf.int32), rows.row_splits
        )
        none = tf.zeros(tf.shape(texts[0]), tf.int32)
        return {"token_ids": ids}, {"truncated_tokens": none, "unknown_tokens": none}


BYTES = types.SimpleNamespace(long_words=lambda text: 0)  # the tokenizer of these


def reader_of(settings, tokenizer, **head):
    """Of classification."""
    reader = make_head(HeadSettings(**head), settings, tokenizer).reader
    if tokenizer is not BYTES:
        return reader
    letters = LetterEncoding(**vars(reader.encoding))
    return dataclasses.replace(reader, encoding=letters)


def settings_of(folder, train, **keys):
    return jsonl.Settings(
        train=str(train), cache_dir=str(folder / "cache"), **{"seq_len": 16, **keys}
    )


def run(folder, train, *, head=None, tokenizer=BYTES, fingerprint="t", **keys):
    settings = settings_of(folder, train, **keys)
    return prepare(settings, reader_of(settings, tokenizer, **(head or {})), fingerprint)


def texts_of(prepared, split):
    store = prepared.splits[split]
    return [
        bytes(store.example(i)["token_ids"].astype(np.uint8)).decode() for i in range(len(store))
    ]


def rows(count, **extra):
    return [
        {"text": f"text {number}", "label": "ab"[number % 2], **extra} for number in range(count)
    ]


def test_the_splits_together_hold_every_example_once(tmp_path):
    # more than two encoding batches
    prepared = run(
        tmp_path, toy.write_jsonl(tmp_path / "d.jsonl", rows(1500)), validation=0.2, test=0.1
    )
    found = [text for split in prepared.splits for text in texts_of(prepared, split)]
    assert sorted(found) == sorted(f"text {number}" for number in range(1500))
    assert (
        0.15 < len(prepared.splits["validation"]) / 1500 < 0.25
        and 0.06 < len(prepared.splits["test"]) / 1500 < 0.14
    )


def test_the_order_of_a_split_is_that_of_the_file_and_each_example_knows_its_line(tmp_path):
    prepared = run(tmp_path, toy.write_jsonl(tmp_path / "d.jsonl", rows(1500)), validation=0.2)
    for split in ("train", "validation"):
        numbers = [int(text.split()[1]) for text in texts_of(prepared, split)]
        store = prepared.splits[split]
        assert numbers == sorted(numbers)
        assert [store.origin(i) for i in range(len(store))] == [
            f"{tmp_path / 'd.jsonl'}:{number + 1}" for number in numbers
        ]
        assert [prepared.vocabulary["labels"][label] for label in store.columns["label"]] == [
            "ab"[number % 2] for number in numbers
        ]


def test_duplicates_never_straddle_and_reordering_moves_nothing(tmp_path):
    examples = rows(60) * 3
    splits = []
    for seed in range(2):
        random.Random(seed).shuffle(examples)
        prepared = run(
            tmp_path,
            toy.write_jsonl(tmp_path / f"{seed}.jsonl", examples),
            validation=0.3,
            test=0.2,
        )
        splits.append({split: sorted(texts_of(prepared, split)) for split in prepared.splits})
        parts = [set(texts) for texts in splits[-1].values()]
        assert sum(map(len, parts)) == 60 == len(set.union(*parts))
        assert all(len(texts) == 3 * len(set(texts)) for texts in splits[-1].values())
    assert splits[0] == splits[1]


def test_a_smaller_fraction_takes_from_the_same_examples(tmp_path):
    file = toy.write_jsonl(tmp_path / "d.jsonl", rows(300))
    large, small = (
        set(texts_of(run(tmp_path, file, validation=share), "validation")) for share in (0.3, 0.1)
    )
    assert small < large


def test_a_part_of_train_is_part_of_a_larger_one_and_held_out_stays(tmp_path):
    """Whatever the order; and a part of train is none of what is held out."""
    file = toy.write_jsonl(tmp_path / "d.jsonl", rows(1000))
    whole = run(tmp_path, file, validation=0.2)
    parts = [run(tmp_path, file, validation=0.2, part=share) for share in (0.5, 0.25)]
    texts = [set(texts_of(prepared, "train")) for prepared in (whole, *parts)]
    assert texts[2] < texts[1] < texts[0]
    assert 0.4 < len(texts[1]) / len(texts[0]) < 0.6 and 0.2 < len(texts[2]) / len(texts[0]) < 0.3
    for prepared in parts:
        assert texts_of(prepared, "validation") == texts_of(whole, "validation")
    assert texts[2] & set(texts_of(whole, "train")[:100])  # not the last ones, nor the first
    backwards = toy.write_jsonl(tmp_path / "b.jsonl", rows(1000)[::-1])
    again = run(tmp_path, backwards, validation=0.2, part=0.25)
    assert set(texts_of(again, "train")) == texts[2]


def test_a_second_run_reads_no_source(tmp_path, monkeypatch):
    file = toy.write_jsonl(tmp_path / "d.jsonl", rows(20))
    first = run(tmp_path, file, validation=0.3)

    def explode(self):
        raise AssertionError("the source was read again")

    monkeypatch.setattr(_files.FileSource, "examples", explode)
    second = run(tmp_path, file, validation=0.3, batching="fixed")
    assert (first.reused, second.reused) == (False, True)
    assert second.vocabulary == first.vocabulary and second.ledger.entries == first.ledger.entries
    assert texts_of(second, "train") == texts_of(first, "train")


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "other tokenizer"},
        {"seq_len": 17},
        {"overflow": "head_tail"},
        {"validation": 0.4},
        {"limit": 15},
        {"label": "other"},
        {"unlabelled": "error"},
        {"unseen_labels": "error"},
        {"head": {"labels": ["b", "a"]}},
        {"head": {"kind": "multi_label"}},
        {"data": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_the_examples_changes_the_store(tmp_path, change):
    file = toy.write_jsonl(tmp_path / "d.jsonl", rows(20, other="c") + rows(20, other="d"))
    run(tmp_path, file, validation=0.3)
    if change.pop("data", False):
        toy.write_jsonl(file, rows(20, other="c") + rows(20, other="e"))
    assert not run(tmp_path, file, **{"validation": 0.3, **change}).reused
    assert len(os.listdir(tmp_path / "cache")) == 2


def test_what_changes_no_example_reuses_the_store(tmp_path):
    file = toy.write_jsonl(tmp_path / "d.jsonl", rows(20))
    run(tmp_path, file)
    moved = tmp_path / "elsewhere" / "d.jsonl"
    moved.parent.mkdir()
    os.rename(file, moved)
    assert run(tmp_path, moved, batching="bucketed", head={"label_smoothing": 0.1}).reused


def test_a_run_that_dies_half_way_leaves_no_store(tmp_path, monkeypatch):
    file = toy.write_jsonl(tmp_path / "d.jsonl", rows(600))
    with monkeypatch.context() as patched:
        patched.setattr(
            StoreWriter,
            "close",
            lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, file)
    assert os.listdir(tmp_path / "cache") == []
    assert not run(tmp_path, file).reused


def test_what_a_killed_run_leaves_is_not_taken_for_a_store(tmp_path, monkeypatch):
    file = toy.write_jsonl(tmp_path / "d.jsonl", rows(30))
    with monkeypatch.context() as patched:
        patched.setattr(
            preparation, "write_sealed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        # as after kill -9
        patched.setattr("trainer.data.store_folder.shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, file)
    assert len(os.listdir(tmp_path / "cache")) == 1
    assert not run(tmp_path, file).reused


def test_labels_are_sorted_numbers_by_value(tmp_path):
    def labels(values):
        file = toy.write_jsonl(
            tmp_path / "d.jsonl",
            [{"text": f"t{i}", "label": value} for i, value in enumerate(values)],
        )
        return run(tmp_path, file).vocabulary["labels"]

    assert labels(["pos", "neg", "Neu"]) == ["Neu", "neg", "pos"]
    assert labels([10, 9, -1, -2]) == ["-2", "-1", "9", "10"]
    assert labels([10, 9, -1, 2]) == ["2", "9", "10"]  # -1: no gold label
    assert labels(["10", 9, "01", 1.0]) == ["01", "1", "9", "10"]
    assert labels(["--5", "3"]) == ["--5", "3"]
    assert labels([True, False]) == ["False", "True"]
    assert labels(["体育", "财经"]) == ["体育", "财经"]


def test_given_labels_keep_their_order_and_count_those_of_train(tmp_path):
    vocabulary = run(
        tmp_path,
        toy.write_jsonl(tmp_path / "d.jsonl", rows(10)),
        head={"labels": ["b", "rare", "a"]},
    ).vocabulary
    assert vocabulary == {"labels": ["b", "rare", "a"], "train_counts": {"b": 5, "rare": 0, "a": 5}}


def test_limit_takes_the_first_of_train_only(tmp_path):
    prepared = run(
        tmp_path,
        toy.write_jsonl(tmp_path / "d.jsonl", rows(50)),
        validation=str(toy.write_jsonl(tmp_path / "v.jsonl", rows(30))),
        limit=10,
    )
    assert (
        texts_of(prepared, "train") == [f"text {i}" for i in range(10)]
        and len(prepared.splits["validation"]) == 30
    )


def test_the_ledger_counts_exactly_with_the_first_line_of_each(tmp_path, tokenizer):
    long = " ".join(["film"] * 20)  # 22 tokens with [CLS] and [SEP], 6 over
    train = [
        {"text": "the film", "label": "a"},  # 1
        {"text": "", "label": "b"},  # 2: empty
        {"text": f"{long} !", "label": "a"},  # 3: 7 over
        {"text": "xylophone zzz the", "label": "b"},  # 4: two unknown
        {"text": "the film", "label": "a"},  # 5: again line 1
        {"text": long, "label": "b"},  # 6: 6 over
        {"text": "", "label": "b"},  # 7: empty, again line 2
        {"text": "今天 film 学", "label": "a"},  # 8: one unknown
        {"text": "the film", "label": "a"},  # 9: again line 1
    ]
    test = [
        {"text": "a good tree", "label": "a"},
        {"text": "the film", "label": "a"},
        {"text": long, "label": "b"},
    ]
    train_file = toy.write_jsonl(tmp_path / "train.jsonl", train)
    test_file = toy.write_jsonl(tmp_path / "test.jsonl", test)
    prepared = run(tmp_path, train_file, tokenizer=tokenizer, test=str(test_file))
    assert prepared.ledger.entries == {
        "train": {
            "empty_texts": {"count": 2, "first": f"{train_file}:2"},
            "truncated_tokens": {"count": 13, "first": f"{train_file}:3"},
            "truncated_examples": {"count": 2, "first": f"{train_file}:3"},
            "unknown_tokens": {"count": 3, "first": f"{train_file}:4"},
            "duplicates": {"count": 3, "first": f"{train_file}:5"},
        },
        "test": {
            "truncated_tokens": {"count": 6, "first": f"{test_file}:3"},
            "truncated_examples": {"count": 1, "first": f"{test_file}:3"},
            "unknown_tokens": {"count": 1, "first": f"{test_file}:1"},  # "good"
            "duplicates_of_train": {"count": 2, "first": f"{test_file}:2"},
        },
    }
    assert prepared.splits["train"].lengths.tolist() == [4, 2, 16, 5, 4, 16, 2, 6, 4]
    assert (prepared.splits["train"].tokens["token_ids"] == UNKNOWN).sum() == 3


def test_overflow_error_refuses_the_first_text_that_is_too_long(tmp_path, tokenizer):
    file = toy.write_jsonl(
        tmp_path / "d.jsonl", [*rows(2), {"text": " ".join(["film"] * 15), "label": "a"}]
    )
    with pytest.raises(
        DataError,
        match=(
            r"d\.jsonl:3: 17 tokens, over data\.seq_len = 16, and data\.overflow is error\. Raise"
            r" data\.seq_len"
        ),
    ):
        run(tmp_path, file, tokenizer=tokenizer, overflow="error")
    assert os.listdir(tmp_path / "cache") == []


def test_head_tail_keeps_the_start_and_the_end(tmp_path, tokenizer):
    words = toy.FILLER[:20]
    file = toy.write_jsonl(
        tmp_path / "d.jsonl",
        [{"text": " ".join(words), "label": "a"}, {"text": "the", "label": "b"}],
    )
    prepared = run(tmp_path, file, tokenizer=tokenizer, overflow="head_tail")
    kept = [toy.VOCABULARY[token] for token in prepared.splits["train"].example(0)["token_ids"]]
    assert kept == ["[CLS]", *words[:3], *words[-11:], "[SEP]"]


def test_a_pair_has_segments_and_its_samples_both_texts(tmp_path, tokenizer):
    file = toy.write_jsonl(
        tmp_path / "d.jsonl",
        [
            {"q": "the film", "a": "very long", "label": "x"},
            {"q": "we saw", "a": "it", "label": "y"},
        ],
    )
    prepared = run(tmp_path, file, tokenizer=tokenizer, text=["q", "a"])
    example = prepared.splits["train"].example(0)
    assert [toy.VOCABULARY[token] for token in example["token_ids"]] == [
        "[CLS]",
        "the",
        "film",
        "[SEP]",
        "very",
        "long",
        "[SEP]",
    ]
    assert example["segment_ids"].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert prepared.splits["train"].meta["samples"][1] == {"text": "we saw", "text_pair": "it"}


def test_another_process_reads_the_same_from_a_store(tmp_path, tokenizer):
    """What a run is told apart by: a job that goes on elsewhere, and workers that train together,
    compare it.
    """
    settings = settings_of(tmp_path, toy.write_jsonl(tmp_path / "d.jsonl", rows(30)))
    masked = masked_lm.make_head(masked_lm.Settings(), settings, tokenizer)
    prepared = [
        prepare(settings, reader, "t") for reader in (reader_of(settings, tokenizer), masked.reader)
    ]
    code = (
        "import pathlib, sys; from trainer.data.prepare import load\n"
        "for folder in sys.argv[1:]: print(load(pathlib.Path(folder), reused=True).digest())"
    )
    process = subprocess.run(  # which has other hashes
        [sys.executable, "-c", code, *(split.folder for split in prepared)],
        cwd=toy.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.split() == [split.digest() for split in prepared]


def test_a_document_stays_whole_and_the_targets_of_a_text_together(tmp_path, monkeypatch):
    monkeypatch.setattr(text_source, "PART", 40)
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text(
            "".join(f"{number} the film was great\n" for _ in range(20))
        )
    data = text_source.Settings(
        train=str(tmp_path / "*.txt"), cache_dir=str(tmp_path / "cache"), seq_len=16, validation=0.3
    )
    gpt2 = load_tokenizer(toy.write_gpt2(tmp_path / "gpt2"))
    head = causal_lm.make_head(causal_lm.Settings(), data, gpt2)
    prepared = prepare(data, head.reader, "t")
    files = [
        {store.file(index) for index in store.columns["origin_file"]}
        for store in prepared.splits.values()
    ]
    assert len(files[0]) + len(files[1]) == 30 and not files[0] & files[1] and files[1]
    ends = [
        int((store.tokens["token_ids"] == gpt2.eos_id).sum()) for store in prepared.splits.values()
    ]
    assert ends == list(map(len, files))

    pairs = [
        {"text": f"text {number}", "target": f"{number} {word}"}
        for number in range(30)
        for word in ("red", "blue", "old")
    ]
    data = settings_of(
        tmp_path, toy.write_jsonl(tmp_path / "d.jsonl", pairs), validation=0.3, seq_len=64
    )
    head = text_generation.make_head(text_generation.Settings(target="target"), data, gpt2)
    prepared = prepare(data, head.reader, "t")
    asked = [
        {sample["text"] for sample in store.meta["samples"]} for store in prepared.splits.values()
    ]
    assert not asked[0] & asked[1] and len(asked[0] | asked[1]) == 30 and asked[1]


def test_a_fraction_that_nothing_falls_into_is_refused(tmp_path):
    with pytest.raises(
        DataError,
        match=(
            r"data.validation = 0.01: no examples: of the 3 of data.train none fell into this"
            r" fraction. Hold out a larger"
        ),
    ):
        run(tmp_path, toy.write_jsonl(tmp_path / "d.jsonl", rows(3)), validation=0.01)


def test_two_processes_of_one_machine_do_the_work_once(tmp_path):
    file = toy.write_jsonl(tmp_path / "d.jsonl", rows(3000))
    with ThreadPoolExecutor(3) as pool:  # the lock is of the file, whoever opened it
        prepared = list(pool.map(lambda _: run(tmp_path, file), range(3)))
    assert sorted(each.reused for each in prepared) == [False, True, True]
    assert all(texts_of(each, "train") == texts_of(prepared[0], "train") for each in prepared)
    assert len(os.listdir(tmp_path / "cache")) == 1


def peak_bytes(folder, count):
    """The most that Python and NumPy held at a time while so many examples were prepared."""
    train = toy.write_jsonl(folder / f"{count}.jsonl", rows(count, more="x" * 20))
    settings = settings_of(folder / str(count), train, validation=0.1)
    reader = reader_of(settings, BYTES)
    graph = encoder(reader)
    graph.get_concrete_function()
    (folder / str(count)).mkdir()
    tracemalloc.start()
    try:
        prepare_module.write_splits(
            folder / str(count) / "store",
            settings,
            reader,
            {"train": jsonl.open(settings, "train", str(train))},
            graph=graph,
        )
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_examples(tmp_path, monkeypatch):
    for module, name, small in (
        (spool, "BLOCK_ROWS", 500),
        (spool, "WAITING_ROWS", 500),
        (duplicates, "PART_ROWS", 500),
        (split_module, "SAMPLES", 8),
    ):
        monkeypatch.setattr(module, name, small)
    peak_bytes(tmp_path, 100)  # what is imported and traced once
    few = peak_bytes(tmp_path, 4000)
    many = peak_bytes(tmp_path, 24_000)
    assert (many - few) / 20_000 < 12  # bytes an example: the label's column, and its copy


def test_what_was_lost_is_placed_beyond_the_first_encoded_batch_too(tmp_path, tokenizer):
    made = rows(3 * ENCODE_BATCH)
    late = ENCODE_BATCH + 100
    made[late]["text"] = "the film " * 10
    entries = run(
        tmp_path, toy.write_jsonl(tmp_path / "d.jsonl", made), tokenizer=tokenizer
    ).ledger.entries
    assert entries["train"]["truncated_examples"] == {
        "count": 1,
        "first": f"{tmp_path / 'd.jsonl'}:{late + 1}",
    }


def damage(path):
    """Removes a folder, or changes a byte in the middle of a file."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


@pytest.mark.parametrize(
    "damaged",
    [
        "ledger.json",
        "train/tokens.token_ids.int32",
        "train/label.npy",
        "validation",
        "validation/checksums.json",
    ],
)
def test_what_is_damaged_is_encoded_anew_and_said(tmp_path, damaged):
    file = toy.write_jsonl(tmp_path / "d.jsonl", rows(40))
    whole = run(tmp_path, file, validation=0.3)
    digest, texts = whole.digest(), texts_of(whole, "train")
    damage(whole.folder / damaged)
    again = run(tmp_path, file, validation=0.3)
    assert (
        not again.reused
        and f"{whole.folder / damaged}" in again.replaced
        and " is " in again.replaced
    )
    assert (
        set(again.splits) == {"train", "validation"}
        and again.digest() == digest
        and texts_of(again, "train") == texts
    )
    third = run(tmp_path, file, validation=0.3)
    assert (
        third.reused
        and not third.replaced
        and os.listdir(tmp_path / "cache") == [whole.folder.name]
    )


def test_what_killed_runs_left_half_encoded_is_removed(tmp_path):
    file = toy.write_jsonl(tmp_path / "d.jsonl", rows(30))
    name = run(tmp_path, file).folder.name
    (tmp_path / "cache" / name / "ledger.json").unlink()
    (tmp_path / "cache" / f".{name}.x1y2" / "train").mkdir(parents=True)
    (tmp_path / "cache" / ".another.x1y2").mkdir()
    assert not run(tmp_path, file).reused
    assert sorted(os.listdir(tmp_path / "cache")) == sorted([name, ".another.x1y2"])


def test_one_splits_files_are_not_taken_for_anothers(tmp_path):
    whole = run(tmp_path, toy.write_jsonl(tmp_path / "d.jsonl", rows(40)), validation=0.3)
    shutil.rmtree(whole.folder / "validation")
    shutil.copytree(whole.folder / "train", whole.folder / "validation")
    with pytest.raises(DamagedError, match=r"validation/checksums\.json is damaged"):
        load(whole.folder, reused=True)
