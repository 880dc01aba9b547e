from __future__ import annotations

import random

import pytest
import tensorflow as tf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from trainer.errors import ConfigError
from trainer.text.assemble import assemble, join, keep, keep_ranges
from trainer.text.tokenizer import Template

CLS, SEP = 1, 2
BERT = Template((CLS,), (SEP,), (SEP,))


def _ids(lengths: list[int], start: int = 1000) -> tf.RaggedTensor:
    return tf.ragged.constant(
        [[start + i for i in range(length)] for length in lengths], tf.int32, ragged_rank=1
    )


def _hugging_face() -> Tokenizer:
    words = {str(number): number for number in range(3000)}
    tokenizer = Tokenizer(
        models.WordLevel(
            {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, **{k: v for k, v in words.items() if v > 2}},
            "[UNK]",
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    return tokenizer


@pytest.mark.parametrize("seq_len", [3, 4, 5, 6, 7, 8, 11, 16, 17, 64])
def test_pairs_are_cut_longest_first_as_by_hugging_face(seq_len: int) -> None:
    draw = random.Random(seq_len)
    lengths = [(draw.randrange(40), draw.randrange(40)) for _ in range(500)]
    lengths += [(a, b) for a in range(8) for b in range(8)]
    first = _ids([a for a, _ in lengths])
    second = _ids([b for _, b in lengths], 2000)
    token_ids, segment_ids, truncated = assemble(
        first, second, seq_len=seq_len, overflow="truncate", template=BERT
    )
    reference = _hugging_face()
    reference.enable_truncation(seq_len, strategy="longest_first")
    texts = [
        tuple(" ".join(map(str, row)) for row in pair)
        for pair in zip(first.to_list(), second.to_list(), strict=True)
    ]
    encodings = reference.encode_batch(texts)
    assert token_ids.to_list() == [encoding.ids for encoding in encodings]
    assert segment_ids.to_list() == [encoding.type_ids for encoding in encodings]
    assert truncated.numpy().tolist() == [max(0, sum(pair) + 3 - seq_len) for pair in lengths]


def test_single_texts_keep_the_start() -> None:
    token_ids, segment_ids, truncated = assemble(
        _ids([5, 0, 3]), None, seq_len=5, overflow="truncate", template=BERT
    )
    assert token_ids.to_list() == [[1, 1000, 1001, 1002, 2], [1, 2], [1, 1000, 1001, 1002, 2]]
    assert segment_ids.to_list() == [[0] * 5, [0] * 2, [0] * 5]
    assert truncated.numpy().tolist() == [2, 0, 0]


def test_head_tail_keeps_a_quarter_and_three_quarters_of_the_room() -> None:
    kept, none = keep_ranges(_ids([700, 510, 511]), None, room=510, overflow="head_tail")
    assert none is None
    assert kept.head.numpy().tolist() == [127, 510, 127]
    assert kept.tail.numpy().tolist() == [383, 0, 383]
    token_ids, _, truncated = assemble(
        _ids([9, 2]), None, seq_len=6, overflow="head_tail", template=BERT
    )
    assert token_ids.to_list() == [[1, 1000, 1006, 1007, 1008, 2], [1, 1000, 1001, 2]]
    assert truncated.numpy().tolist() == [5, 0]


def test_head_tail_of_a_pair_cuts_each_side_to_its_longest_first_length() -> None:
    token_ids, segment_ids, truncated = assemble(
        _ids([9]), _ids([2], 2000), seq_len=9, overflow="head_tail", template=BERT
    )
    assert token_ids.to_list() == [[1, 1000, 1006, 1007, 1008, 2, 2000, 2001, 2]]
    assert segment_ids.to_list() == [[0] * 6 + [1] * 3]
    assert truncated.numpy().tolist() == [5]


def test_error_counts_what_was_cut_and_leaves_refusing_to_the_caller() -> None:
    cut = assemble(_ids([9]), None, seq_len=4, overflow="error", template=BERT)
    assert cut[0].to_list() == [[1, 1000, 1001, 2]]
    assert cut[2].numpy().tolist() == [7]


@pytest.mark.parametrize("overflow", ["truncate", "head_tail"])
def test_other_values_are_cut_and_laid_out_like_the_ids(overflow: str) -> None:
    first, second = _ids([30, 2, 0]), _ids([8, 40, 1], 2000)
    first_kept, second_kept = keep_ranges(first, second, room=13, overflow=overflow)
    values = join(
        keep(first + 1, first_kept),
        keep(second + 1, second_kept),
        template=Template((CLS + 1,), (SEP + 1,), (SEP + 1,)),
    )
    token_ids, _, _ = assemble(first, second, seq_len=16, overflow=overflow, template=BERT)
    assert values.to_list() == (token_ids + 1).to_list()


def test_runs_inside_a_graph_on_batches_of_any_size() -> None:
    spec = tf.RaggedTensorSpec([None, None], tf.int32)
    graph = tf.function(
        lambda a, b: assemble(a, b, seq_len=8, overflow="truncate", template=BERT),
        input_signature=[spec, spec],
    )
    for lengths in ([], [0], [3, 20]):
        token_ids, _, _ = graph(_ids(lengths), _ids(lengths, 2000))
        assert [len(row) for row in token_ids.to_list()] == [
            min(2 * length + 3, 8) for length in lengths
        ]


def test_no_room_for_special_tokens_is_a_config_error() -> None:
    with pytest.raises(ConfigError) as raised:
        assemble(_ids([1]), _ids([1]), seq_len=2, overflow="truncate", template=BERT)
    assert (
        str(raised.value)
        == "data.seq_len: 2 has no room for the 3 special tokens of a pair of texts. Allowed: 3 or"
        " more, up to the backbone's longest."
    )


def test_unknown_overflow_lists_the_choices() -> None:
    with pytest.raises(
        ValueError, match=r"expected one of truncate, head_tail, error\. Received: 'window'"
    ):
        keep_ranges(_ids([1]), None, room=6, overflow="window")


@pytest.mark.parametrize("seq_len", [1, 4, 5, 16])
def test_roberta_puts_two_separators_between_and_gpt2_none(seq_len: int) -> None:
    first, second = _ids([9, 0, 3]), _ids([2, 0, 30], 2000)
    roberta = Template((CLS,), (SEP, SEP), (SEP,))
    if seq_len >= 4:
        token_ids, segment_ids, truncated = assemble(
            first, second, seq_len=seq_len, overflow="truncate", template=roberta
        )
        assert token_ids.to_list()[1] == [CLS, SEP, SEP, SEP]
        assert [len(row) for row in token_ids.to_list()] == [min(15, seq_len), 4, min(37, seq_len)]
        assert truncated.numpy().tolist() == [max(0, 15 - seq_len), 0, max(0, 37 - seq_len)]
    token_ids, segment_ids, _ = assemble(
        first, second, seq_len=seq_len, overflow="truncate", template=Template(empty=7)
    )
    assert token_ids.to_list()[1] == [7]  # there must be something to look at
    assert (
        [len(row) for row in segment_ids.to_list()]
        == [len(row) for row in token_ids.to_list()]
        == [min(11, seq_len), 1, min(33, seq_len)]
    )
