"""The plan of a run: blocks stop at checkpoints, and its rest is the end of the whole."""

from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.schedule import schedule


def turns(blocks):
    return [turn for block in blocks for turn in block.turns]


def test_one_by_one_with_checkpoints_and_evaluations():
    blocks = schedule(7, block=2, checkpoint_every=3, evaluate_every=2)
    assert [(block.start, block.stop) for block in blocks] == [
        (0, 2),
        (2, 3),
        (3, 5),
        (5, 6),
        (6, 7),
    ]
    assert [turn.stop for turn in turns(blocks) if turn.checkpoint] == [3, 6, 7]
    assert [turn.stop for turn in turns(blocks) if turn.evaluate] == [2, 4, 6]


def test_batches():
    blocks = schedule(10, batch=4, checkpoint_every=5, evaluate_every=5)
    assert [(turn.start, turn.stop) for turn in turns(blocks)] == [(0, 4), (4, 8), (8, 10)]
    assert [turn.checkpoint for turn in turns(blocks)] == [False, True, True]
    assert [turn.evaluate for turn in turns(blocks)] == [False, True, False]
    assert len(schedule(10, batch=10, block=1, checkpoint_every=100)) == 1


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 40),
    batch=st.integers(1, 6),
    block=st.none() | st.integers(1, 9),
    every=st.integers(1, 15),
)
def test_every_fact_once_and_any_checkpoint_goes_on_alike(count, batch, block, every):
    whole = schedule(count, batch=batch, block=block, checkpoint_every=every)
    facts = [fact for turn in turns(whole) for fact in range(turn.start, turn.stop)]
    assert facts == list(range(count))
    assert turns(whole)[-1].checkpoint
    for start in [turn.stop for turn in turns(whole) if turn.checkpoint]:
        rest = schedule(count, batch=batch, block=block, checkpoint_every=every, start=start)
        assert rest == whole[len(whole) - len(rest) :]
        assert [turn.start for turn in turns(rest)][:1] == ([start] if start < count else [])
    if block is not None:
        assert all(item.stop - item.start <= max(block, batch) for item in whole)


def test_evaluation_follows_the_counts_that_are_named():
    due = [
        turn.stop
        for block in schedule(12, batch=2, checkpoint_every=4, evaluate_at=(1, 5, 12))
        for turn in block.turns
        if turn.evaluate
    ]
    assert due == [2, 6]  # the first update at or past each; the end is scored in any case
