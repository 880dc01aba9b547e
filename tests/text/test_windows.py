"""Windows cover a text, and answer for each of its tokens once."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.errors import ConfigError
from trainer.text.windows import cut_rows, make_windows, window_overlap


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(1, 20), st.data())
def test_each_token_is_answered_for_once_where_it_has_most_around_it(lengths, room, data):
    overlap = data.draw(st.integers(0, room - 1))
    rows = make_windows(
        *(
            tf.constant(values, tf.int64)
            for values in (lengths, [room] * len(lengths), [overlap] * len(lengths))
        )
    )
    text, start, limit, own_start, own_limit = (values.numpy() for values in rows)
    for number, length in enumerate(lengths):
        mine = np.flatnonzero(text == number)
        assert np.concatenate(
            [np.arange(own_start[row], own_limit[row]) for row in mine]
        ).tolist() == list(range(length))
        for row in mine:
            assert (
                0 <= start[row] <= own_start[row] <= own_limit[row] <= limit[row] <= length
                and limit[row] - start[row] <= room
            )
            assert own_start[row] - start[row] >= overlap // 2 or start[row] == 0
            assert limit[row] - own_limit[row] >= overlap // 2 or limit[row] == length
        assert len(mine) == max(1, -(-(length - overlap) // (room - overlap)))


def test_values_are_taken_row_by_row():
    values = tf.ragged.constant([[1, 2, 3, 4, 5], [], [6]], tf.int32)
    rows = make_windows(
        values.row_lengths(), tf.constant([3] * 3, tf.int64), tf.constant([1] * 3, tf.int64)
    )
    assert rows.take(values).to_list() == [[1, 2, 3], [3, 4, 5], [], [6]]
    assert rows.owned().to_list() == [[1, 1, 0], [1, 1, 1], [], [1]]
    assert rows.text.numpy().tolist() == [0, 0, 1, 2]


def test_an_overlap_that_leaves_no_room_is_refused():
    assert window_overlap(128, 2, None) == 31
    with pytest.raises(
        ConfigError,
        match=(
            r"data.window_overlap: expected less than 14, the tokens of a window of data.seq_len ="
            r" 16.*Received 14."
        ),
    ):
        window_overlap(16, 2, 14)


def test_rows_that_are_cut_share_nothing_and_leave_nothing_out() -> None:
    lengths = [0, 1, 7, 8, 9, 30]
    values = tf.ragged.constant(
        [list(range(100 * row, 100 * row + length)) for row, length in enumerate(lengths)],
        tf.int32,
        ragged_rank=1,
    )
    windows = cut_rows(values.row_lengths(), 8)
    assert windows.take(values).values.numpy().tolist() == values.values.numpy().tolist()
    assert windows.text.numpy().tolist() == [0, 1, 2, 3, 4, 4, 5, 5, 5, 5]
    assert (
        windows.take(values).row_lengths().numpy().tolist() == [0, 1, 7, 8, 8, 1, 8, 8, 8, 6]
        and windows.owned().values.numpy().all()
    )
