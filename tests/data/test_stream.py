"""Streamed train: every example once a pass, the same steps from wherever a run goes on, the same
numbers as from a store.
"""

import gzip
import itertools
import json
import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf

from tests import toy
from trainer.data.batching import TrainingPlan
from trainer.data.prepare import prepare
from trainer.data.stream import Stream
from trainer.errors import DataError, JobDirError
from trainer.files import mirror
from trainer.files.mirror import use_cache
from trainer.heads import causal_lm, masked_lm
from trainer.settings.sections import plugins
from trainer.sources import open_source
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
                writer.write(
                    tf.train.Example(
                        features=tf.train.Features(feature={"text": text})
                    ).SerializeToString()
                )
    return folder


def stream_of(
    corpus,
    *,
    source="text",
    pattern="a*.txt",
    characters=1000,
    seq_len=16,
    module=causal_lm,
    seed=5,
    batch_size=8,
    **settings,
):
    use_cache(str(corpus / "cache"))
    data = plugins("trainer.sources")[source](
        source=source,
        train=str(corpus / pattern),
        seq_len=seq_len,
        stream_characters=characters,
        **({"document": "line"} if source == "text" else {}),
    )
    tokenizer = load_tokenizer(corpus / ("gpt2" if module is causal_lm else "bert"))
    return (
        Stream(
            data,
            module.make_head(module.Settings(**settings), data, tokenizer).reader,
            batch_size=batch_size,
            seed=seed,
        ),
        tokenizer,
    )


def taken(stream, first, count):
    """The token ids of each step's examples, and where the block of each began."""
    steps = list(stream.steps(range(first, first + count)))
    return [
        [store.example(int(index))["token_ids"].tolist() for index in indices]
        for _, store, indices in steps
    ], [place for place, _, _ in steps]


def documents_of(tokenizer, store):
    ids = store.tokens["token_ids"]
    ends = np.flatnonzero(ids == tokenizer.eos_id)
    return [
        text.decode()
        for text in tokenizer.decode(tf.RaggedTensor.from_row_limits(ids, ends + 1)).numpy()
    ]


@pytest.mark.parametrize(
    ("source", "pattern"),
    [("text", "a*.txt"), ("jsonl", "b*.jsonl"), ("tfrecord", "c*.tfrecord.gz")],
)
def test_a_pass_has_every_document_once_and_the_next_another_order(corpus, source, pattern):
    stream, tokenizer = stream_of(corpus, source=source, pattern=pattern)
    blocks = {}
    for place, store, _ in stream.steps(range(10_000)):
        if place.passes == 4:
            break
        blocks[place.block] = place.passes, store
    files = [lines_of(count, number) for number, count in enumerate((40, 3, 25))]
    orders = []
    for number in range(4):
        stores = [store for passes, store in blocks.values() if passes == number]
        documents = [line for store in stores for line in documents_of(tokenizer, store)]
        assert len(stores) > 2 and documents in [
            [*one, *two, *three] for one, two, three in itertools.permutations(files)
        ]
        orders.append(tuple(documents))
    assert len(set(orders)) > 1
    other, _ = stream_of(corpus, source=source, pattern=pattern, seed=6)
    assert any(stream._order(passes) != other._order(passes) for passes in range(4))


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        (causal_lm, {}),
        pytest.param(causal_lm, {"documents": "separate"}, marks=pytest.mark.slow),
        (masked_lm, {"whole_words": True}),
    ],
)
def test_steps_are_the_same_from_wherever_a_run_goes_on(corpus, module, settings):
    whole, places = taken(stream_of(corpus, module=module, **settings)[0], 0, 60)
    assert places[-1].block > 5 and places[-1].passes > 1
    for stop in (1, 7, 20, 33):
        first, _ = stream_of(corpus, module=module, **settings)
        state = json.loads(json.dumps(first.state(places[stop - 1])))
        second, _ = stream_of(corpus, module=module, **settings)
        second.go_on(state)
        rest, rest_places = taken(second, stop, 60 - stop)
        assert rest == whole[stop:] and rest_places == places[stop:]  # with the same ledger
    assert len({tuple(map(tuple, step)) for step in whole}) > 50


def test_a_file_is_opened_once_a_pass(corpus, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "trainer.data.stream.open_source",
        lambda settings, split, spec: opened.append(spec) or open_source(settings, split, spec),
    )
    stream, _ = stream_of(corpus)
    for place, _, _ in stream.steps(range(10_000)):
        if place.passes == 2:
            break
    assert (
        place.block >= 6
        and 6 <= len(opened) <= 9
        and {pathlib.Path(name).name for name in opened[:3]} == {"a0.txt", "a1.txt", "a2.txt"}
    )


def test_one_block_has_the_steps_of_the_stored_split(corpus):
    stream, _ = stream_of(corpus, pattern="a0.txt", characters=1_000_000)
    data = stream.settings.model_copy(update={"stream_characters": None})
    head = causal_lm.make_head(causal_lm.Settings(), data, stream.head.tokenizer)
    store = prepare(data, head.reader, "x").splits["train"]
    plan = TrainingPlan(len(store), 8, 5)
    stored = [
        [store.example(int(index))["token_ids"].tolist() for index in plan.indices(step)]
        for step in range(plan.steps_per_epoch)
    ]
    assert taken(stream, 0, plan.steps_per_epoch)[0] == stored


def test_what_is_lost_is_counted_once(tmp_path, corpus):
    for number in range(3):
        toy.write_jsonl(
            tmp_path / f"{number}.jsonl",
            [{"text": text} for text in ("", "the film \u2603 was", *["we saw it"] * 200)],
        )
    (tmp_path / "bert").symlink_to(corpus / "bert")
    stream, _ = stream_of(
        tmp_path, source="jsonl", pattern="*.jsonl", module=masked_lm, batch_size=32
    )
    for place, _, _ in stream.steps(range(10_000)):
        if place.passes == 2:
            break
    assert {kind: entry["count"] for kind, entry in place.lost["train"].items()} == {
        "empty_texts": 3,
        "unknown_tokens": 3,
    }
    assert (
        place.lost["train"]["empty_texts"]["first"] == f"{stream._files[stream._order(0)[0]][0]}:1"
    )


def test_a_bad_line_of_a_later_block_is_named(tmp_path, corpus):
    toy.write_jsonl(tmp_path / "0.jsonl", [{"text": "we saw the film"}] * 100)
    with gzip.open(tmp_path / "1.jsonl.gz", "wt") as file:
        file.write('{"text": "we saw it"}\n' * 200 + '{"txet": "it"}\n')
    (tmp_path / "gpt2").symlink_to(corpus / "gpt2")
    stream, _ = stream_of(tmp_path, source="jsonl", pattern="*.jsonl*")
    with pytest.raises(DataError, match=rf"unknown field 'text' at {tmp_path}/1\.jsonl\.gz:201"):
        taken(stream, 0, 200)
    assert isinstance(stream.failure, DataError)


def test_files_without_an_example_are_refused(tmp_path, corpus):
    (tmp_path / "a.txt").write_text("\n\n", encoding="utf-8")
    (tmp_path / "gpt2").symlink_to(corpus / "gpt2")
    with pytest.raises(DataError, match=r"data\.train = .*a\*\.txt: no examples"):
        taken(stream_of(tmp_path)[0], 0, 1)


def test_what_was_read_must_stay_and_what_was_not_may_change(tmp_path, corpus):
    (tmp_path / "gpt2").symlink_to(corpus / "gpt2")
    for name in ("a0.txt", "a1.txt", "a2.txt"):
        (tmp_path / name).write_text("we saw the film\n" * 100, encoding="utf-8")
    stream, _ = stream_of(tmp_path)
    place = next(
        place for place, _, _ in stream.steps(range(10_000)) if place.file == 1 and place.example
    )
    state = stream.state(place)
    order = [stream._files[index][0] for index in stream._order(0)]
    for name in order[1:]:
        pathlib.Path(name).write_text("we saw the film\n" * 101, encoding="utf-8")
        stream_of(tmp_path)[0].go_on(state)
    pathlib.Path(order[0]).write_text("we saw the film\n" * 101, encoding="utf-8")
    message = (
        r"data\.train = .*a\*\.txt: there are other files than when the run began, or some that it"
        r" has read have another size"
    )
    with pytest.raises(JobDirError, match=message):
        stream_of(tmp_path)[0].go_on(state)
    pathlib.Path(order[0]).write_text("we saw the film\n" * 100, encoding="utf-8")
    (tmp_path / "a3.txt").write_text("we saw it\n", encoding="utf-8")
    with pytest.raises(JobDirError, match=message):
        stream_of(tmp_path)[0].go_on(state)


def test_a_stream_that_is_closed_reads_no_further(tmp_path, corpus):
    """Not even where the next example never comes; then it waits a moment for it."""
    (tmp_path / "gpt2").symlink_to(corpus / "gpt2")
    (tmp_path / "a.txt").write_text("we saw the film\n" * 100_000, encoding="utf-8")
    stream, _ = stream_of(tmp_path, characters=1_000_000_000)
    stream.steps(range(10))
    assert not stream.ready(1)
    start = time.monotonic()
    stream.close()
    assert time.monotonic() - start < 4 and isinstance(
        stream._ahead.exception(), InterruptedError | JobDirError
    )


def test_folders_of_killed_processes_are_removed(tmp_path):
    with mirror.scratch(tmp_path) as mine:
        left = tmp_path / ".scratch.left"
        left.mkdir()
        (left / "lock").touch()
        with mirror.scratch(tmp_path) as other:
            assert mine.is_dir() and other.is_dir() and not left.exists()
    assert list(tmp_path.iterdir()) == []
