"""Language models: PyTorch's logits, every token's loss once, rows and masks."""

import math
import pathlib
import re
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tests import toy
from tests.golden.cases import of_task
from trainer.backbones import huggingface
from trainer.data.batch import Batch
from trainer.data.batching import lay_out
from trainer.data.example_rows import rows_of
from trainer.data.pipeline import fill
from trainer.data.prepare import prepare
from trainer.data.reader import Draw
from trainer.data.store import TokenStore
from trainer.data.store_writer import StoreWriter
from trainer.errors import ConfigError, DataError, WeightsError
from trainer.files import spool
from trainer.heads import causal_lm, masked_lm, text_generation
from trainer.heads._generation.ended import ended_texts
from trainer.heads._language_model.projection import losses_and_hits, weighted_loss
from trainer.heads._language_model.words import count_words
from trainer.heads.text_generation.graph import prompt_of
from trainer.run.model import Model
from trainer.settings.schema import DataSettings
from trainer.text import load_tokenizer

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "backbones"
MASKED_CASES = of_task("ForMaskedLM")
WORDS = [str(number) for number in range(61)]
TOKENIZER = SimpleNamespace(
    template=toy.TEMPLATE.template,
    mask_id=4,
    pad_id=0,
    unk_id=1,
    eos_id=5,
    vocabulary=WORDS,
    token_bytes=[b"" if number == 5 else b" " + word.encode() for number, word in enumerate(WORDS)],
)


def head_of(module, *, seq_len=16, **settings):
    return module.make_head(
        module.Settings(**settings),
        DataSettings(source="text", train="", seq_len=seq_len),
        TOKENIZER,
    )


def model_of(case):
    module = causal_lm if case.startswith("gpt2") else masked_lm
    head = head_of(module)
    backbone, report = huggingface.load_backbone(GOLDEN / case, pooler=False)
    model = Model(backbone, head.build(backbone, {"labels": []}, 1))
    taken = model.graph.load_tensors(huggingface.read_task_head(GOLDEN / case)).tensors
    assert report.new == [] and set(taken) == {
        name for name in report.unused if not name.startswith("pooler.")
    }
    return head, model


@pytest.mark.parametrize("case", [*MASKED_CASES, "gpt2_words"])
def test_logits_are_pytorchs(case):
    _, model = model_of(case)
    inputs = dict(np.load(GOLDEN / "inputs.npz"))
    hidden, embeddings, bias = model.logits(Batch.one_a_row({**inputs, "scored": tf.range(27)}))
    logits = tf.matmul(hidden, embeddings, transpose_b=True).numpy() + (
        0 if bias is None else bias.numpy()
    )
    expected = np.load(GOLDEN / case / "outputs.npz")["logits"]
    real = inputs["padding_mask"].astype(bool)
    np.testing.assert_allclose(
        logits.reshape(expected.shape)[real], expected[real], atol=2e-5, rtol=0
    )


def _copies(model):
    masked_lm = model.backbone.config.family.masked_lm
    return set(masked_lm.copies) if masked_lm else set()


@pytest.mark.parametrize("case", [*MASKED_CASES, "gpt2_words"])
def test_what_is_written_is_what_was_read(case, tmp_path):
    _, model = model_of(case)
    tensors, updates = model.graph.save_tensors()
    huggingface.save_huggingface(
        tmp_path / "saved",
        model.backbone,
        GOLDEN / case,
        head_tensors=tensors,
        config_updates=updates,
    )
    written, original = (
        huggingface.read_task_head(folder) for folder in (tmp_path / "saved", GOLDEN / case)
    )
    assert set(written.tensors) == set(original.tensors) - _copies(model)
    assert all((written.tensors[name] == original.tensors[name]).all() for name in written.tensors)


@pytest.mark.parametrize(
    ("places", "words", "bias"), [(7, 11, True), (40, 300, False), (1, 5, True)]
)
@pytest.mark.parametrize("xla", [False, True])
def test_projected_loss_and_its_gradients_are_the_plain_ones(places, words, bias, xla, monkeypatch):
    # blocks of 8 places
    monkeypatch.setattr("trainer.heads._language_model.projection.BLOCK_BYTES", 4 * words * 8)
    draw = np.random.default_rng(places)
    x, table = (
        tf.constant(draw.normal(size=size), tf.float32) for size in ((places, 6), (words, 6))
    )
    offset = tf.constant(draw.normal(size=words), tf.float32) if bias else None
    target = tf.constant(draw.integers(0, words, places), tf.int32)
    weight = tf.constant(draw.integers(0, 2, places), tf.float32)
    sources = [x, table, *([offset] if bias else [])]

    def ours(x, table, *offset):
        return weighted_loss(x, table, offset[0] if offset else None, target, weight)

    def plain(x, table, *offset):
        logits = tf.matmul(x, table, transpose_b=True) + (offset[0] if offset else 0)
        return tf.reduce_sum(
            tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits) * weight
        )

    outcomes = []
    for function in (tf.function(ours, jit_compile=xla), plain):
        with tf.GradientTape() as tape:
            tape.watch(sources)
            loss = 0.5 * function(*sources)
        outcomes.append([loss, *tape.gradient(loss, sources)])
    for one, other in zip(*outcomes, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    losses, hits = losses_and_hits(x, table, offset, target)
    logits = x.numpy() @ table.numpy().T + (offset.numpy() if bias else 0)
    np.testing.assert_allclose(
        losses, tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits), rtol=1e-5
    )
    assert hits.numpy().tolist() == (logits.argmax(1) == target.numpy()).tolist()


def split_of(head, folder, documents, ends=None):
    """A split as preparation makes it, of documents of token ids; ends: whether a document ends
    with each.
    """
    reader = head.reader
    labels = [(True if ends is None else ends[number], 3, 10) for number in range(len(documents))]
    split = SimpleNamespace(
        name="train", labels=labels, writer=StoreWriter(folder), origin=lambda index: f"x:{index}"
    )
    lengths = np.array([len(document) for document in documents])
    tokens = {"token_ids": (np.concatenate([np.array(d, np.int32) for d in documents]), lengths)}
    tokens = reader.finish_rows(tokens, np.arange(len(documents)), labels)
    split.writer.append(tokens, {"example": np.arange(len(documents), dtype=np.int32)})
    reader.recut(split)
    columns, token_columns, extras = reader.align(split, {}, None)
    split.writer.close(
        columns, token_columns, {"samples": [], "scored_share": reader.scored_share}, extras=extras
    )
    return TokenStore(folder)


DOCUMENTS = [[10, 11, 12], [], [20, 21, 22, 23, 24, 25, 26], [30]]


@pytest.fixture(params=[None, 1, 2, 3], ids=lambda rows: f"blocks of {rows}")
def block_rows(request, monkeypatch):
    """Splits are aligned a block of rows, or of tokens, at a time: however many, the outcome is the
    same.
    """
    if request.param:
        monkeypatch.setattr(spool, "BLOCK_ROWS", request.param)


@pytest.mark.usefixtures("block_rows")
def test_joined_documents_fill_rows_and_every_token_but_the_first_is_predicted(tmp_path):
    store = split_of(head_of(causal_lm, seq_len=4), tmp_path / "s", DOCUMENTS)
    flat = [10, 11, 12, 5, 5, 20, 21, 22, 23, 24, 25, 26, 5, 30, 5]  # 5 ends a document
    assert store.tokens["token_ids"].tolist() == flat
    assert store.lengths.tolist() == [4, 4, 4, 3]
    assert store.tokens["target"].tolist() == [token + 1 for token in flat[1:]] + [0]
    assert store.columns["example"].tolist() == [0, 1, 2, 2]  # the document of a row's first token
    # without the first token, which nothing predicts
    assert store.extras["text_size"].tolist() == [12 - 1, 40 - 2]


@pytest.mark.usefixtures("block_rows")
def test_separate_documents_predict_nothing_of_each_other(tmp_path):
    store = split_of(head_of(causal_lm, seq_len=4, documents="separate"), tmp_path / "s", DOCUMENTS)
    assert [store.example(row)["token_ids"].tolist() for row in range(len(store))] == [
        [10, 11, 12, 5],
        [5],
        [20, 21, 22, 23],
        [24, 25, 26, 5],
        [30, 5],
    ]
    assert [store.example(row)["target"].tolist() for row in range(len(store))] == [
        [12, 13, 6, 0],
        [0],
        [22, 23, 24, 25],
        [26, 27, 6, 0],
        [6, 0],
    ]
    # without the first of each, where there is one
    assert store.extras["text_size"].tolist() == [12 - 3, 40 - 6]


@pytest.mark.usefixtures("block_rows")
def test_a_document_in_parts_is_one(tmp_path):
    for documents in ("joined", "separate"):
        head = head_of(causal_lm, seq_len=4, documents=documents)
        parts = split_of(
            head,
            tmp_path / f"{documents} parts",
            [[10, 11, 12, 13], [14, 15], [20]],
            ends=[False, True, True],
        )
        whole = split_of(head, tmp_path / f"{documents} whole", [[10, 11, 12, 13, 14, 15], [20]])
        for name in whole.tokens:
            assert parts.tokens[name].tolist() == whole.tokens[name].tolist()
        assert parts.lengths.tolist() == whole.lengths.tolist()


def test_a_space_at_the_end_of_a_prompt_goes_with_the_target(tmp_path):
    """As a byte-level vocabulary has words: " rot", not " " and "rot"."""
    tokenizer = load_tokenizer(toy.write_gpt2(tmp_path / "weights"))
    data = DataSettings(source="jsonl", train="", seq_len=16)
    spaced, plain = (
        text_generation.make_head(
            text_generation.Settings(target="target", prompt=prompt), data, tokenizer
        )
        for prompt in ("{text} is ", "{text} is")
    )
    one = spaced.reader.encode(tf.constant(["red"]), tf.constant(["rot"]))[0]
    two = plain.reader.encode(tf.constant(["red"]), tf.constant([" rot"]))[0]
    assert (
        one["token_ids"].to_list() == two["token_ids"].to_list()
        and one["target"].to_list() == two["target"].to_list()
    )
    generated = tokenizer.tokenize(tf.constant([" rot", "rot", "  rot"])).to_tensor(
        tokenizer.eos_id
    )
    assert spaced.reader.prompt.opening == " "
    written = ended_texts(generated, tokenizer, opening=" ", stop=[])
    assert written.numpy().tolist() == [b"rot", b"rot", b" rot"]
    generated = tokenizer.tokenize(tf.constant([" rot und", " rot"])).to_tensor(tokenizer.eos_id)
    one_word = ended_texts(generated, tokenizer, opening=" ", stop=[" "])
    assert one_word.numpy().tolist() == [b"rot", b"rot"]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["extraordinary", "magnificent film"], 1 + 2),  # a word whose rest is predicted counts
        (["the film", "a film", "the"], 1 + 1 + 0),
        (["今天", "龍龍"], 0 + 2),
        (["film今天", "\n\nfilm"], 3 + 1),
        (["the"], 0),
    ],
)
def test_a_word_counts_where_its_last_token_is_predicted(tmp_path, texts, words):
    """The toy vocabulary has one token for "the", "a" and "今天", several for "film" and for 龍."""
    tokenizer = load_tokenizer(toy.write_gpt2(tmp_path / "weights"))
    data = DataSettings(
        source="jsonl",
        train=str(toy.write_jsonl(tmp_path / "d.jsonl", [{"text": text} for text in texts])),
        seq_len=64,
        cache_dir=str(tmp_path / "cache"),
    )
    head = causal_lm.make_head(causal_lm.Settings(documents="separate"), data, tokenizer)
    store = prepare(data, head.reader, "t").splits["train"]
    firsts = [
        tokenizer.token_bytes[row[0]] for row in tokenizer.tokenize(tf.constant(texts)).to_list()
    ]
    assert store.extras["text_size"].tolist() == [
        words,
        sum(len(text.encode()) - len(first) for text, first in zip(texts, firsts, strict=True)),
    ], firsts
    results = {name: np.ones(len(store)) for name in ("loss", "predicted", "correct")}
    assert ("word_perplexity" in head.scorer(None).metrics(results, store)) == (words > 0)


def test_an_empty_target_is_judged_by_its_whole_prompt(tmp_path):
    tokenizer = load_tokenizer(toy.write_gpt2(tmp_path / "weights"))
    head = text_generation.make_head(
        text_generation.Settings(target="target"),
        DataSettings(source="jsonl", train="", seq_len=16),
        tokenizer,
    )
    tokens = head.reader.encode(tf.constant(["the blue house"]), tf.constant([""]))[0]
    prompt = prompt_of({name: tokens[name][0].numpy() for name in ("token_ids", "target")})
    assert prompt.tolist() == tokenizer.tokenize(tf.constant(["the blue house"])).to_list()[0]


@pytest.mark.parametrize(
    ("overflow", "kept"),
    [
        ("truncate", "we read: one two three red blue house and think:"),
        ("head_tail", "we read: one the book was old tree and think:"),
    ],
)
def test_a_long_text_is_cut_and_the_words_around_it_never(tmp_path, overflow, kept):
    tokenizer = load_tokenizer(toy.write_gpt2(tmp_path / "weights"))
    text, target = "one two three red blue house tree the film the book was old tree", "we saw it"
    size = len(tokenizer.tokenize(tf.constant([kept + " " + target])).values) + 1

    def head_of_length(seq_len):
        return text_generation.make_head(
            text_generation.Settings(target="target", prompt="we read: {text} and think: "),
            DataSettings(source="jsonl", train="", seq_len=seq_len, overflow=overflow),
            tokenizer,
        )

    (whole, _), (cut, counts) = (
        head_of_length(length).reader.encode(tf.constant([text]), tf.constant([target]))
        for length in (512, size)
    )
    ids = cut["token_ids"].to_list()[0]
    full = whole["token_ids"].to_list()[0]
    assert (
        tokenizer.decode(cut["token_ids"]).numpy()[0].decode() == f"{kept} {target}"
        and len(ids) == size
    )
    assert counts["truncated_tokens"].numpy().tolist() == [len(full) - size] and counts[
        "cut_targets"
    ].numpy().tolist() == [0]
    lone, counts = head_of_length(8).reader.encode(tf.constant([text]), tf.constant([target * 9]))
    assert len(lone["token_ids"].to_list()[0]) == 8 and counts["cut_targets"].numpy().tolist() == [
        1
    ]


def test_what_is_continued_keeps_its_end_and_the_prompts_own_words(tmp_path):
    weights = toy.write_gpt2(tmp_path / "weights", layers=1)
    tokenizer, (backbone, _) = load_tokenizer(weights), huggingface.load_backbone(weights)
    for prompt, expected in (
        ("{text}", "the book was old tree"),
        ("we read: {text} and think:", "we read: book was old tree and think:"),
    ):
        room = len(tokenizer.tokenize(tf.constant([expected])).values)
        head = causal_lm.make_head(
            causal_lm.Settings(prompt=prompt, max_new_tokens=64 - room),
            DataSettings(source="text", train="", seq_len=16),
            tokenizer,
        )
        graph = head.build(backbone, {"labels": []}, 0)
        text = (
            "we saw the film and one two three red blue house tree and the old tree and all the"
            " book was old tree"
        )
        ids, lengths, lost = graph.prompt_tokens(
            tf.constant([text.encode(), b"the film", b"\xff\xe4 " * 40, b""])
        )
        assert (
            tokenizer.decode(tf.RaggedTensor.from_tensor(ids[:1])).numpy()[0].decode().strip()
            == expected
        )
        whole = len(tokenizer.tokenize(tf.constant([prompt.replace("{text}", text)])).values)
        assert lengths.numpy()[0] == room and lost.numpy()[:2].tolist() == [whole - room, 0]
        assert lengths.numpy().max() <= room and lengths.numpy().min() >= 1


def test_a_target_needs_an_end_and_documents_too(tmp_path):
    tokenizer = load_tokenizer(toy.write_gpt2(tmp_path / "weights"))
    tokenizer.eos_id = None
    with pytest.raises(
        ConfigError,
        match=(
            r'head\.target: the tokenizer names no end-of-text token, .* Name it as "eos_token" in'
            r" tokenizer_config\.json, or"
        ),
    ):
        text_generation.make_head(
            text_generation.Settings(target="target"),
            DataSettings(source="jsonl", train="", seq_len=16),
            tokenizer,
        )
    data = DataSettings(source="jsonl", train="", seq_len=16)
    several, one = ({"train": SimpleNamespace(meta={"examples": count})} for count in (2, 1))
    joined = causal_lm.make_head(causal_lm.Settings(), data, tokenizer)
    assert joined.reader.warnings({}, several) == [
        "head.documents: joined, and the tokenizer names no end-of-text token: nothing stands"
        " between two documents"
    ]
    separate = causal_lm.make_head(causal_lm.Settings(documents="separate"), data, tokenizer)
    assert joined.reader.warnings({}, one) == separate.reader.warnings({}, several) == []


def test_targets_longer_than_what_is_generated_are_told(tmp_path):
    weights = toy.write_gpt2(tmp_path / "weights")
    rows = [{"text": "the film", "target": "we saw it " * times} for times in (1, 2, 3)]
    data = DataSettings(
        source="jsonl",
        train=str(toy.write_jsonl(tmp_path / "a.jsonl", rows)),
        validation=str(tmp_path / "a.jsonl"),
        cache_dir=str(tmp_path / "cache"),
        seq_len=64,
    )
    head = text_generation.make_head(
        text_generation.Settings(target="target", max_new_tokens=8), data, load_tokenizer(weights)
    )
    head.check(huggingface.read_config(weights))
    lengths = [
        len(head.reader.tokenizer.tokenize(tf.constant([row["target"]])).values) + 1 for row in rows
    ]
    assert lengths[0] <= 8 < lengths[1]
    assert head.reader.warnings({}, prepare(data, head.reader, "t").splits) == [
        "data.validation: of 3 judged targets 2 have more than head.max_new_tokens = 8 tokens (the"
        f" longest {lengths[2]}), which a generated text can not have"
    ]


def test_nothing_to_predict_is_said_and_no_perplexity_of_one(tmp_path):
    with pytest.raises(
        DataError,
        match=(
            r"data\.train: none of its 2 tokens is predicted from another \(first:"
            r" .*--head\.documents=joined"
        ),
    ):
        split_of(head_of(causal_lm, documents="separate"), tmp_path / "s", [[], []])
    results = {name: np.zeros(3, np.float32) for name in ("loss", "predicted", "correct")}
    with pytest.raises(
        DataError,
        match=r"no token of the 3 rows to evaluate is predicted.* or head\.whole_words: false",
    ):
        head_of(masked_lm).scorer(None).metrics(results, [None] * 3)


@pytest.mark.parametrize("module", [causal_lm, masked_lm])
def test_dropout_that_would_do_nothing_is_refused(module):
    with pytest.raises(
        ConfigError,
        match=(
            rf"head\.dropout: head {module.Settings().name} has no dropout before its output\."
            r" Received 0\.5\. Leave it out, or"
        ),
    ):
        head_of(module, dropout=0.5)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"text": "a"},
            "unknown field 'summary' at {file}:1; fields there are: 'text'. Correct head.target.",
        ),
        (
            {"text": "a", "summary": None},
            (
                "{file}:1: field 'summary' should be text, and is null. Give it a text, leave the"
                " example out, or name another field with --head.target."
            ),
        ),
        (
            {"text": "a", "summary": 3},
            (
                "{file}:1: field 'summary' should be text. Received 3 (int). Name the text field"
                " with --head.target."
            ),
        ),
    ],
)
def test_a_target_that_is_none_is_named_with_its_setting(tmp_path, row, message):
    file = toy.write_jsonl(tmp_path / "d.jsonl", [row])
    data = DataSettings(
        source="jsonl", train=str(file), cache_dir=str(tmp_path / "cache"), seq_len=16
    )
    with pytest.raises(DataError, match=re.escape(message.format(file=file))):
        prepare(
            data,
            text_generation.make_head(
                text_generation.Settings(target="summary"),
                data,
                load_tokenizer(toy.write_gpt2(tmp_path / "weights")),
            ).reader,
            "t",
        )


def random_store(head, folder, count=40, longest=50):
    draw = np.random.default_rng(3)
    return split_of(
        head,
        folder,
        [draw.integers(6, 61, draw.integers(1, longest)).tolist() for _ in range(count)],
    )


@pytest.mark.parametrize("batching", ["packed", "bucketed", "fixed"])
def test_perplexity_is_that_of_each_token_once(tmp_path, batching):
    """Beside a second way: every row alone, the whole softmax in numpy."""
    head, model = model_of("gpt2_words")
    store = random_store(head, tmp_path / "s")
    results = {
        "loss": np.zeros(len(store)),
        "predicted": np.zeros(len(store)),
        "correct": np.zeros(len(store)),
    }
    for start in range(0, len(store), 8):
        indices = np.arange(start, min(start + 8, len(store)))
        layout = lay_out(
            indices, store.lengths[indices], batching=batching, seq_len=16, shards=2, capacity=8
        )
        for shard in range(2):
            columns = fill(store, layout, [shard])
            batch = Batch.of({name: values[0] for name, values in columns.items()})
            found = model.results(batch)
            mine = layout.index[shard]
            for name in results:
                results[name][mine[mine >= 0]] = found[name].numpy()[mine >= 0]
    total = count = correct = 0
    for row in range(len(store)):
        tokens = store.example(row)
        hidden, embeddings, _ = model.logits(
            Batch.one_a_row(
                {
                    "token_ids": tokens["token_ids"][None],
                    "scored": tf.range(len(tokens["token_ids"])),
                }
            )
        )
        logits = hidden.numpy().astype(np.float64) @ embeddings.numpy().T
        logits -= np.log(
            np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True)
        ) + logits.max(1, keepdims=True)
        asked = np.flatnonzero(tokens["target"])
        gold = tokens["target"][asked] - 1
        total = total - logits[asked, gold].sum()
        count = count + len(asked)
        correct = correct + (logits[asked].argmax(1) == gold).sum()
    metrics = head.scorer(None).metrics(results, store)
    assert count == int(store.row_splits[-1]) - 1
    assert metrics["loss"] == pytest.approx(total / count, rel=1e-5) and metrics[
        "perplexity"
    ] == pytest.approx(math.exp(total / count), rel=1e-4)
    assert metrics["accuracy"] == correct / count
    size = 400 - len(str(store.tokens["token_ids"][0]))
    assert metrics["word_perplexity"] == pytest.approx(math.exp(min(total / 119, 700)))
    assert metrics["bits_per_byte"] == pytest.approx(total / math.log(2) / size)


def test_words_and_bytes_are_those_of_whole_targets():
    """Of five targets two do not fit: one ends with a row that is full, the other happens to fill
    it.
    """
    head = text_generation.make_head(
        text_generation.Settings(target="target"),
        DataSettings(source="jsonl", train="", seq_len=4),
        TOKENIZER,
    )
    rows = [[10, 11, 5], [10, 11, 12, 13], [10, 11, 12, 5], [10, 5]]
    store = SimpleNamespace(
        tokens={"token_ids": np.concatenate(rows)},
        lengths=np.array([3, 4, 4, 2]),
        row_splits=np.cumsum([0, 3, 4, 4, 2]),
        columns={"text_size": np.array([[2, 8], [90, 400], [3, 10], [1, 2]])},
    )
    results = {
        "loss": np.array([1.0, 9.0, 2.0, 0.5]),
        "predicted": np.array([2, 3, 3, 1]),
        "correct": np.zeros(4),
    }
    metrics = head.scorer(None).metrics(results, store)
    assert metrics["loss"] == pytest.approx(12.5 / 9)
    assert metrics["word_perplexity"] == pytest.approx(math.exp(3.5 / 6)) and metrics[
        "bits_per_byte"
    ] == pytest.approx(3.5 / math.log(2) / 20)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" \n", 0),
        ("a b\u3000c ", 3),
        ("今天天气很好，我们", 9),
        ("GPT模型 is 好", 5),
        ("été 𠀀a", 3),
    ],
)
def test_words_of_chinese_are_its_characters(text, words):
    assert count_words(text) == words


@pytest.mark.usefixtures("block_rows")
def test_a_text_without_an_end_token_ends_with_its_last_token(tmp_path):
    """The token of number 0 is a character like others."""
    tokenizer = load_tokenizer(toy.write_gpt2(tmp_path / "weights"))
    ids = tokenizer.tokenize(tf.constant(["a! b!"])).to_tensor()
    assert 0 in ids.numpy() and tokenizer.vocabulary[0] == "!"
    tokenizer.eos_id = None
    assert ended_texts(ids, tokenizer, opening="", stop=[]).numpy().tolist() == [b"a! b!"]


def test_a_word_of_each_text_is_hidden_to_prove_an_export():
    _, model = model_of("bert_words")
    samples = [{"text": text} for text in ("one two three", "今天天气", "  one  4 two ", "", "\n")]
    assert [sample["text"] for sample in model.graph.proof_samples(samples)] == [
        "one 4 three",
        "今天4气",
        "  one    4 ",
        "4",
        "4",
    ]


def masked_store(head, folder, lengths, words=None):
    draw = np.random.default_rng(5)
    ids = np.concatenate(
        [np.r_[2, draw.integers(6, 61, length - 2), 3] for length in lengths]
    ).astype(np.int32)
    writer = StoreWriter(folder)
    tokens = {"token_ids": (ids, np.array(lengths))}
    if words is not None:
        tokens["words"] = (words(len(ids), draw).astype(np.int32), np.array(lengths))
    writer.append(tokens, {"example": np.arange(len(lengths), dtype=np.int32)})
    writer.close(
        {},
        {"target": np.zeros(len(ids), np.int32)},
        {"samples": [], "scored_share": head.reader.scored_share},
    )
    return TokenStore(folder)


def test_masks_are_a_function_of_seed_step_and_example(tmp_path):
    head = head_of(masked_lm)
    store = masked_store(head, tmp_path / "s", [30] * 20)
    drawn = {
        key: head.reader.draw(store, key[1], Draw(key[0], key[2]))
        for key in ((0, 1, 2), (0, 1, 3), (0, 2, 2), (1, 1, 2), (0, 1, -1))
    }
    again = head.reader.draw(store, 1, Draw(0, 2))
    assert all((drawn[0, 1, 2][name] == again[name]).all() for name in again)
    assert len({values["target"].tobytes() for values in drawn.values()}) == len(drawn)


def test_as_many_tokens_are_masked_as_asked_and_eight_in_ten_are_hidden(tmp_path):
    head = head_of(masked_lm, mask_probability=0.2)
    store = masked_store(head, tmp_path / "s", [52] * 200)
    masked = same = other = 0
    for index in range(200):
        before = store.example(index)["token_ids"]
        after = head.reader.draw(store, index, Draw(0, 0))
        hidden = after["target"] > 0
        assert hidden.sum() == 10 and not hidden[[0, -1]].any()  # of 50, special tokens left out
        assert (after["target"][hidden] - 1 == before[hidden]).all() and (
            after["token_ids"][~hidden] == before[~hidden]
        ).all()
        masked += (after["token_ids"][hidden] == TOKENIZER.mask_id).sum()
        same += (after["token_ids"][hidden] == before[hidden]).sum()
        other += (
            (after["token_ids"][hidden] != before[hidden])
            & (after["token_ids"][hidden] != TOKENIZER.mask_id)
        ).sum()
    assert (
        masked / 2000 == pytest.approx(0.8, abs=0.03)
        and same / 2000 == pytest.approx(0.1, abs=0.03)
        and other / 2000 == pytest.approx(0.1, abs=0.03)
    )


def test_whole_words_are_hidden_or_none_of_their_tokens(tmp_path):
    head = head_of(masked_lm, whole_words=True, mask_probability=0.3)
    store = masked_store(
        head, tmp_path / "s", [42] * 50, words=lambda count, draw: draw.random(count) < 0.5
    )
    for index in range(50):
        tokens = store.example(index)
        after = head.reader.draw(store, index, Draw(0, 0))
        inner = np.flatnonzero(~np.isin(tokens["token_ids"], head.reader.masking.special))
        word = np.cumsum(tokens["words"][inner] != 0)
        hidden = after["target"][inner] > 0
        assert {hidden[word == number].mean() for number in np.unique(word)} == {
            0.0,
            1.0,
        } and hidden.sum() <= 12


def test_a_word_longer_than_what_may_be_hidden_never_is(tmp_path):
    head = head_of(masked_lm, whole_words=True)  # one token of five
    store = masked_store(
        head,
        tmp_path / "s",
        [7, 5],
        words=lambda count, draw: np.array([1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1]),
    )
    drawn = [
        [head.reader.draw(store, index, Draw(0, step))["target"] for step in range(40)]
        for index in (0, 1)
    ]
    assert {int(np.flatnonzero(target)[0]) for target in drawn[0]} == {5} and not np.any(drawn[1])


def test_places_that_are_predicted_fit_whatever_the_rows(tmp_path):
    head = head_of(masked_lm)
    store = masked_store(head, tmp_path / "s", [3, 4, 5, 30, 9, 30, 3, 17])
    for batching in ("packed", "bucketed", "fixed"):
        layout = lay_out(
            np.arange(8), store.lengths, batching=batching, seq_len=32, shards=2, capacity=8
        )
        batch = fill(store, layout, [0, 1], rows_of(head.reader, 0))
        assert batch["scored_weight"].sum() == sum(
            (head.reader.draw(store, index, Draw(0, -1))["target"] > 0).sum() for index in range(8)
        )
        for shard in range(2):
            used = batch["scored_weight"][shard] > 0
            row, place = np.divmod(batch["scored"][shard][used], layout.row_length)
            example = layout.index[shard][batch["scored_example"][shard][used]]
            inside = place - layout.start[shard][batch["scored_example"][shard][used]]
            assert (row == layout.row[shard][batch["scored_example"][shard][used]]).all()
            originals = [
                store.example(int(number))["token_ids"][int(offset)]
                for number, offset in zip(example, inside, strict=True)
            ]
            assert originals == batch["scored_target"][shard][used].tolist()


def test_words_that_are_not_tied_are_refused():
    _, model = model_of("bert_words")
    tensors = huggingface.read_task_head(GOLDEN / "bert_words").tensors
    copy = model.backbone.embeddings.word.numpy()
    assert (
        "cls.predictions.decoder.weight"
        in model.graph.load_tensors(
            huggingface.TaskHead({**tensors, "cls.predictions.decoder.weight": copy})
        ).tensors
    )
    with pytest.raises(
        WeightsError,
        match=(
            r"cls\.predictions\.decoder\.weight is no copy of the word embeddings:"
            r" tie_word_embeddings false is not supported"
        ),
    ):
        model.graph.load_tensors(
            huggingface.TaskHead({**tensors, "cls.predictions.decoder.weight": copy + 1})
        )
    _, decoder = model_of("gpt2_words")
    copy = decoder.backbone.embeddings.word.numpy()
    assert decoder.graph.load_tensors(huggingface.TaskHead({"lm_head.weight": copy})).tensors == [
        "lm_head.weight"
    ]
    with pytest.raises(
        WeightsError,
        match=(
            r"lm_head\.weight is no copy of the word embeddings: tie_word_embeddings false is not"
            r" supported"
        ),
    ):
        decoder.graph.load_tensors(huggingface.TaskHead({"lm_head.weight": copy + 1}))


def test_the_wrong_backbone_is_refused():
    for module, case, kind, other in (
        (causal_lm, "bert", "decoder", "masked_lm"),
        (masked_lm, "gpt2", "encoder", "causal_lm"),
    ):
        backbone, _ = huggingface.load_backbone(GOLDEN / case)
        with pytest.raises(
            ConfigError,
            match=(
                rf"head\.name: {module.Settings().name} needs an? {kind} such as .* For it take"
                rf" {other}"
            ),
        ):
            Model(backbone, head_of(module).build(backbone, {"labels": []}, 0))
    with pytest.raises(ConfigError, match="masked_lm needs a tokenizer with a mask token"):
        masked_lm.make_head(
            masked_lm.Settings(),
            DataSettings(source="text", train=""),
            SimpleNamespace(mask_id=None, template=None),
        )
    with pytest.raises(
        ConfigError, match=r"data\.overflow: head causal_lm takes window\. Received 'truncate'\."
    ):
        causal_lm.make_head(
            causal_lm.Settings(),
            DataSettings(source="text", train="", overflow="truncate"),
            TOKENIZER,
        )
    with pytest.raises(
        ConfigError,
        match=(
            r"data\.overflow: head text_generation takes truncate, head_tail or error\. Received"
            r" 'window'\."
        ),
    ):
        text_generation.make_head(
            text_generation.Settings(target="b"),
            DataSettings(source="jsonl", train="", overflow="window"),
            TOKENIZER,
        )
