"""Streamed train: every example once a pass, the same steps from wherever a run goes on, the same numbers as from a store."""

import gzip
import json

import numpy as np
import pytest
import tensorflow as tf

from tests import toy
from trainer.config import plugins
from trainer.data.batching import TrainingPlan
from trainer.data.prepare import prepare
from trainer.data.stream import Stream
from trainer.errors import DataError, JobDirError
from trainer.heads import causal_lm, masked_lm
from trainer.mirror import use_cache
from trainer.text import load_tokenizer


def lines_of(number, seed):
    return [row["text"] for row in toy.sentences(number, seed=seed)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three files of 40, 3 and 25 lines, in each format."""
    folder = tmp_path_factory.mktemp("stream")
    toy.write_gpt2(folder / "gpt2", layers=1)
    toy.write_checkpoint(folder / "bert", layers=1)
    for number, count in enumerate((40, 3, 25)):
        lines = lines_of(count, number)
        (folder / f"a{number}.txt").write_text("\n".join(lines), encoding="utf-8")
        toy.write_jsonl(folder / f"b{number}.jsonl", [{"text": line} for line in lines])
        with tf.io.TFRecordWriter(str(folder / f"c{number}.tfrecord.gz"), "GZIP") as writer:
            for line in lines:
                text = tf.train.Feature(bytes_list=tf.train.BytesList(value=[line.encode()]))
                writer.write(tf.train.Example(features=tf.train.Features(feature={"text": text})).SerializeToString())
    return folder


def stream_of(corpus, *, source="text", pattern="a*.txt", characters=1000, seq_len=16, module=causal_lm, seed=5, batch_size=8, **settings):
    use_cache(str(corpus / "cache"))
    data = plugins("trainer.sources")[source](source=source, train=str(corpus / pattern), seq_len=seq_len, stream_characters=characters,
                                              **({"document": "line"} if source == "text" else {}))
    tokenizer = load_tokenizer(corpus / ("gpt2" if module is causal_lm else "bert"))
    return Stream(data, module.Head(module.Settings(**settings), data, tokenizer), batch_size=batch_size, seed=seed), tokenizer


def taken(stream, first, count):
    """The token ids of each step's examples."""
    steps = stream.steps(first)
    return [[store.example(int(index))["token_ids"].tolist() for index in indices] for _, (store, indices) in zip(range(count), steps, strict=False)]


def documents_of(tokenizer, store):
    ids = store.tokens["token_ids"]
    ends = np.flatnonzero(ids == tokenizer.eos_id)
    return [text.decode() for text in tokenizer.decode(tf.RaggedTensor.from_row_limits(ids, ends + 1)).numpy()]


@pytest.mark.parametrize(("source", "pattern"), [("text", "a*.txt"), ("jsonl", "b*.jsonl"), ("tfrecord", "c*.tfrecord.gz")])
def test_a_pass_has_every_document_once_and_the_next_another_order(corpus, source, pattern):
    stream, tokenizer = stream_of(corpus, source=source, pattern=pattern)
    steps = stream.steps(0)
    passes, rows = [], []
    while len(passes) < 4:
        store, _ = next(steps)
        place = stream._places[-1]
        if not rows or rows[-1][0] != place.block:
            rows.append((place.block, place.passes, store))
        passes = sorted({number for _, number, _ in rows})
    wanted = sorted(line for number, count in enumerate((40, 3, 25)) for line in lines_of(count, number))
    orders = []
    for number in passes[:3]:
        blocks = [store for _, of, store in rows if of == number]
        assert len(blocks) > 2
        documents = [line for store in blocks for line in documents_of(tokenizer, store)]
        assert sorted(documents) == wanted
        orders.append(documents)
    assert orders[0] == [line for number, count in enumerate((40, 3, 25)) for line in lines_of(count, number)]
    assert len(set(map(tuple, orders))) > 1


@pytest.mark.parametrize(("module", "settings"), [(causal_lm, {}), (causal_lm, {"documents": "separate"}), (masked_lm, {"whole_words": True})])
def test_steps_are_the_same_from_wherever_a_run_goes_on(corpus, module, settings):
    whole = taken(stream_of(corpus, module=module, **settings)[0], 0, 60)
    for stop in (1, 7, 20, 33):
        first, _ = stream_of(corpus, module=module, **settings)
        assert taken(first, 0, stop + 3) == whole[:stop + 3]  # read ahead of the steps that were made
        second, _ = stream_of(corpus, module=module, **settings)
        second.go_on(json.loads(json.dumps(first.state(stop))))
        assert taken(second, stop, 60 - stop) == whole[stop:]
        assert second.ledger.entries == stream_ledger(corpus, module, settings)
    assert len({tuple(map(tuple, step)) for step in whole}) == len(whole)


def stream_ledger(corpus, module, settings):
    stream, _ = stream_of(corpus, module=module, **settings)
    taken(stream, 0, 60)
    return stream.ledger.entries


def test_one_block_has_the_steps_of_the_stored_split(corpus):
    stream, _ = stream_of(corpus, characters=1_000_000)
    data = stream.settings.model_copy(update={"stream_characters": None})
    head = causal_lm.Head(causal_lm.Settings(), data, stream.head.tokenizer)
    store = prepare(data, head, "x").splits["train"]
    plan = TrainingPlan(len(store), 8, 5)
    stored = [[store.example(int(index))["token_ids"].tolist() for index in plan.indices(step)] for step in range(plan.steps_per_epoch)]
    assert taken(stream, 0, plan.steps_per_epoch) == stored


def test_what_is_lost_is_counted_over_all_blocks(tmp_path, corpus):
    for number in range(3):
        toy.write_jsonl(tmp_path / f"{number}.jsonl", [{"text": text} for text in ("", "the film ☃ was", *["we saw it"] * 200)])
    (tmp_path / "bert").symlink_to(corpus / "bert")
    stream, _ = stream_of(tmp_path, source="jsonl", pattern="*.jsonl", module=masked_lm, batch_size=32)
    steps = stream.steps(0)
    while not stream._places[-1].passes:
        next(steps)
    lost = stream._places[-1].lost["train"]
    assert {kind: lost[kind]["count"] for kind in ("empty_texts", "unknown_tokens")} == {"empty_texts": 3, "unknown_tokens": 3}
    assert lost["empty_texts"]["first"] == f"{tmp_path}/0.jsonl:1"


def test_a_bad_line_of_a_later_block_is_named(tmp_path, corpus):
    toy.write_jsonl(tmp_path / "0.jsonl", [{"text": "we saw the film"}] * 100)
    with gzip.open(tmp_path / "1.jsonl.gz", "wt") as file:
        file.write('{"text": "we saw it"}\n{"txet": "it"}\n')
    (tmp_path / "gpt2").symlink_to(corpus / "gpt2")
    stream, _ = stream_of(tmp_path, source="jsonl", pattern="*.jsonl*")
    with pytest.raises(DataError, match=rf"unknown field 'text' at {tmp_path}/1\.jsonl\.gz:2"):
        taken(stream, 0, 100)
    assert isinstance(stream.failure, DataError)


def test_other_files_than_before_are_refused(tmp_path, corpus):
    (tmp_path / "gpt2").symlink_to(corpus / "gpt2")
    (tmp_path / "a.txt").write_text("we saw the film\n" * 100, encoding="utf-8")
    state = stream_of(tmp_path)[0].state(0)
    stream_of(tmp_path)[0].go_on(state)
    (tmp_path / "a.txt").write_text("we saw the film\n" * 101, encoding="utf-8")
    with pytest.raises(JobDirError, match=r"data\.train = .*a\*\.txt: the names or sizes of the files have changed since the run began"):
        stream_of(tmp_path)[0].go_on(state)
