"""The idioms of flat arrays, beside the same said in Python."""

from __future__ import annotations

import itertools

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from trainer.text.flat_arrays import (
    begins_row,
    count_before,
    end_to_end,
    every_other,
    fill_at,
    following,
    in_columns,
    indices_of,
    keep_ids_below,
    make_ragged,
    of_row,
    previous,
    rows_of,
    splits_of,
)

masks = st.lists(st.booleans(), max_size=12)
row_lengths = st.lists(st.integers(0, 3), max_size=6)


def _mask(values: list[bool]) -> tf.Tensor:
    return tf.constant(values, tf.bool)


def _splits(lengths: list[int]) -> tf.Tensor:
    return splits_of(tf.constant(lengths, tf.int64))


@given(masks)
def test_places_and_counts(mask: list[bool]) -> None:
    assert indices_of(_mask(mask)).numpy().tolist() == [
        i for i, is_one in enumerate(mask) if is_one
    ]
    expected = [sum(mask[:place]) for place in range(len(mask) + 1)]
    assert count_before(_mask(mask)).numpy().tolist() == expected


@given(masks, st.booleans())
def test_neighbours(mask: list[bool], edge: bool) -> None:
    assert previous(_mask(mask), edge).numpy().tolist() == [edge, *mask][: len(mask)]
    assert following(_mask(mask), edge).numpy().tolist() == [*mask, edge][1:]


@pytest.mark.parametrize("dtype", [tf.int8, tf.int32, tf.int64])
def test_neighbours_have_the_type_of_the_values(dtype: tf.DType) -> None:
    values = tf.constant([1, 2], dtype)
    assert previous(values, 7).dtype == following(values, 7).dtype == dtype


@given(row_lengths)
def test_rows_that_may_be_empty(lengths: list[int]) -> None:
    splits = _splits(lengths)
    assert splits.numpy().tolist() == [0, *itertools.accumulate(lengths)]
    firsts = [place == 0 for length in lengths for place in range(length)]
    assert begins_row(splits).numpy().tolist() == firsts
    rows = [row for row, length in enumerate(lengths) for _ in range(length)]
    starts = of_row(splits[:-1], tf.constant(rows, tf.int64))
    assert starts.numpy().tolist() == [sum(lengths[:row]) for row in rows]


@given(masks)
def test_every_other_takes_overlapping_pairs_from_the_left(mask: list[bool]) -> None:
    expected: list[bool] = []
    for is_chosen in mask:
        expected.append(is_chosen and expected[-1:] != [True])
    assert every_other(_mask(mask)).numpy().tolist() == expected


@given(masks, st.data())
def test_one_value_in_some_places(mask: list[bool], data: st.DataObject) -> None:
    places = [place for place in range(len(mask)) if data.draw(st.booleans())]
    filled = fill_at(_mask(mask), tf.constant(places, tf.int64), True).numpy().tolist()
    assert filled == [place in places or old for place, old in enumerate(mask)]


def test_ids_that_no_token_has() -> None:
    rows = tf.ragged.constant([[0, 9, 2], [-1], []], tf.int32)
    assert keep_ids_below(rows, tf.constant(3)).to_list() == [[0, 2], [], []]


@given(row_lengths)
def test_the_row_of_each_value(lengths: list[int]) -> None:
    expected = [row for row, length in enumerate(lengths) for _ in range(length)]
    assert rows_of(_splits(lengths)).numpy().tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=6))
def test_rows_end_to_end(lengths: list[tuple[int, int]]) -> None:
    first, second = _rows([one for one, _ in lengths], 0), _rows([two for _, two in lengths], 100)
    expected = [
        [7, 8, *one, *two, 9] for one, two in zip(first.to_list(), second.to_list(), strict=True)
    ]
    assert end_to_end([(7, 8), first, (), second, (9,)], first).to_list() == expected
    assert end_to_end([(), second, ()], second).to_list() == second.to_list()


def _rows(lengths: list[int], start: int) -> tf.RaggedTensor:
    values = tf.range(start, start + sum(lengths))
    return make_ragged(values, _splits(lengths))


@given(st.lists(st.integers(0, 3), min_size=3, max_size=3), st.integers(1, 3))
def test_columns_one_behind_another(lengths: list[int], count: int) -> None:
    """Also of no rows, and of rows without a value."""
    columns = [
        [[100 * number + place] * length for place, length in enumerate(lengths[: 3 - count])]
        for number in range(count)
    ]
    rows = [row for column in columns for row in column]
    ragged = tf.ragged.constant(rows, tf.int32, ragged_rank=1, row_splits_dtype=tf.int64)
    assert [column.to_list() for column in in_columns(ragged, count)] == columns
