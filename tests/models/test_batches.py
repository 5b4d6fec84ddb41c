"""How texts are cut into batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxedit.errors import UserError
from jaxedit.models.batches import MOST_ROWS, TOKENS, batches, check_lengths, rows_per_device
from jaxedit.models.text import bucket


@given(st.lists(st.integers(1, 700), max_size=60), st.integers(1, 8))
def test_every_row_is_in_one_batch(lengths: list[int], devices: int) -> None:
    made = list(batches(lengths, devices))
    assert sorted(int(i) for rows, _, _ in made for i in rows) == list(range(len(lengths)))
    for rows, length, each in made:
        assert length == bucket(max(lengths[i] for i in rows))
        assert len(rows) <= each * devices
    padded = [length for _, length, _ in made]
    assert padded == sorted(padded, reverse=True)


def test_a_call_takes_no_more_tokens_than_it_should() -> None:
    for length in (8, 24, 96, 1024, 4096):
        rows = rows_per_device(length)
        assert rows & (rows - 1) == 0
        assert rows * length <= TOKENS
        assert rows == MOST_ROWS or 2 * rows * length > TOKENS
    assert rows_per_device(8192) == 1


def test_a_text_that_is_too_long() -> None:
    check_lengths([[1, 2]], 2)
    with pytest.raises(UserError, match="text 2 has 3 tokens, but the model takes 2; shorten it"):
        check_lengths([[1], [1, 2, 3]], 2)
