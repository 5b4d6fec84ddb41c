"""Rows that share a beginning, laid end to end: every token once, and only what it may see."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxedit.models.packed import LONGEST, WIDTHS, apart, filled, laid_out, trees
from jaxedit.models.protocol import Row

_ids = st.integers(0, 3)


@st.composite
def asked(draw: st.DrawFn) -> list[Row]:
    """Rows of few tokens and lengths, so that many begin alike and some are the same."""
    rows = []
    for _ in range(draw(st.integers(0, 30))):
        trunk = draw(st.lists(_ids, min_size=1, max_size=draw(st.sampled_from((2, 3, 90)))))
        rows.append((trunk + draw(st.lists(_ids, max_size=6)), len(trunk)))
    return rows


def ancestry(batch, i: int, column: int) -> list[int]:
    """Ids that the token at a column sees, its own last, in the order of their positions."""
    seen = ~apart(batch)[i, column] & (batch.positions[i] <= batch.positions[i, column])
    columns = np.flatnonzero(seen & (batch.positions[i] >= 0))
    columns = columns[np.argsort(batch.positions[i, columns])]
    assert batch.positions[i, columns].tolist() == list(range(len(columns)))
    return batch.ids[i, columns].tolist()


@given(asked())
def test_every_token_is_asked_for_behind_all_before_it(rows: list[Row]) -> None:
    answered: list[int] = []
    for width, row in filled(trees(rows)):
        batch, places = laid_out([row], width)
        assert all(leaf.shape == (1, width) for leaf in batch)
        for place in places:
            for owner in place.owners:
                ids, n = rows[owner]
                assert list(place.branch) == list(ids[n:])
                for k in range(len(ids) - n):
                    at = batch.at[0, place.start + k]
                    assert ancestry(batch, 0, at) == list(ids[: n + k])
                    assert batch.label[0, place.start + k] == ids[n + k]
                answered.append(owner)
    assert sorted(answered) == [i for i, (ids, n) in enumerate(rows) if len(ids) > n]


def test_a_prompt_runs_once() -> None:
    prompt = list(range(20))
    (tree,) = trees([([*prompt, 1, 2], 20), ([*prompt, 3], 20), ([*prompt, 1, 2], 20)])
    assert tree.owners == ([0, 2], [1])
    assert tree.size == 21  # no token follows the last of a target
    assert len(list(trees([(prompt, 5), (prompt, 6)]))) == 2


def test_a_tree_does_not_grow_without_end() -> None:
    rows = [([7] * 30 + [i, i, i, i], 30) for i in range(200)]
    made = list(trees(rows))
    assert sum(len(tree.branches) for tree in made) == 200
    assert max(tree.size for tree in made) <= 4 * 30
    many = list(trees([([7, i], 1) for i in range(1000)]))  # one token each: asked for, not run
    assert max(tree.size for tree in many) <= WIDTHS[0]
    long = list(trees([([7] * 300 + [i] * 100, 300) for i in range(4)]))
    assert max(tree.size for tree in long) <= LONGEST


@given(st.lists(st.integers(2, 60), min_size=100, max_size=200))
def test_little_is_padding(lengths: list[int]) -> None:
    rows = [([i % 7] * k + [i], k) for i, k in enumerate(lengths)]
    made = list(trees(rows))
    row = list(filled(made))
    assert {width for width, _ in row} == {WIDTHS[0]}
    assert sum(tree.size for _, some in row for tree in some) == sum(tree.size for tree in made)
    half_empty = [some for _, some in row if 2 * sum(tree.size for tree in some) < WIDTHS[0]]
    assert len(half_empty) <= 1
