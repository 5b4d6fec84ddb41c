"""Reductions of raw items, by hand."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxedit.downstream import (
    ability_table,
    compare,
    mcnemar,
    paired_table,
    read_items,
    reduce_items,
    write_items,
)
from jaxedit.errors import UserError
from tests.downstream.made import item, taken


def test_mean_standard_error_and_chance():
    (one,) = reduce_items([item(i, acc) for i, acc in enumerate([1, 0, 1, 1])])
    assert (one.task, one.metric, one.value, one.n, one.chance) == ("made", "acc", 0.75, 4, 0.25)
    assert one.stderr == pytest.approx(math.sqrt(0.75 / 3 / 4))  # sum of squares 0.75, n - 1 = 3
    low, high = one.interval
    assert 0 <= low < 0.75 < high <= 1


def test_a_subset_counts_by_its_size_and_then_alike():
    large = [item(i, 1.0, "large", 90) for i in range(2)]
    small = [item(0, 0.0, "small", 10)]
    by_size, alike = reduce_items([*large, *small])
    assert (by_size.metric, alike.metric) == ("acc", "acc (mean of 2 subsets)")
    assert by_size.value == pytest.approx(0.9)
    assert alike.value == pytest.approx(0.5)


def test_perplexities_pool_over_texts():
    texts = [
        item(0, 0, values={"loglikelihood": -6.0, "words": 2.0, "bytes": 10.0}, chance=None),
        item(1, 0, values={"loglikelihood": -6.0, "words": 4.0, "bytes": 20.0}, chance=None),
    ]
    found = {one.metric: one.value for one in reduce_items(texts)}
    assert found["word_perplexity"] == pytest.approx(math.exp(12 / 6))
    assert found["byte_perplexity"] == pytest.approx(math.exp(12 / 30))
    assert found["bits_per_byte"] == pytest.approx(12 / 30 / math.log(2))


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=12), st.randoms())
def test_order_never_changes_a_score(values, rng):
    items = [item(i, acc, "ab"[i % 2], 3 + i % 2) for i, acc in enumerate(values)]
    shuffled = rng.sample(items, len(items))
    first, second = reduce_items(items), reduce_items(shuffled)
    assert [a.value for a in first] == pytest.approx([a.value for a in second])
    assert [a.stderr for a in first] == pytest.approx([a.stderr for a in second])


def test_scores_reappear_from_the_raw_file(tmp_path):
    odd = taken("é", limit=3, notes=("a note",))
    items = [item(0, 1), item(1, 0), item(0, 0.5, taken=odd, responses=("said\n", -3.0))]
    write_items(tmp_path / "raw.jsonl", items[:1])
    write_items(tmp_path / "raw.jsonl", items[1:])
    assert read_items(tmp_path / "raw.jsonl") == items
    assert len((tmp_path / "raw.jsonl").read_text().splitlines()) == 3
    with (tmp_path / "raw.jsonl").open("a") as file:
        file.write('{"subset": ""}\n')
    with pytest.raises(UserError, match=r"raw\.jsonl:4: is not an item"):
        read_items(tmp_path / "raw.jsonl")


def test_an_item_is_not_counted_twice():
    with pytest.raises(UserError, match=r"item 3 of made .* is there twice"):
        reduce_items([item(3, 1), item(3, 0)])
    with pytest.raises(UserError, match="taken in different ways"):
        reduce_items([item(0, 1), item(1, 1, taken=taken(shots=5))])


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (1, 9, 2 * (1 + 10) / 1024), (4, 4, 1.0)],
)
def test_mcnemar_is_the_exact_sign_test(lost, gained, p):
    assert mcnemar(lost, gained) == pytest.approx(p)
    assert mcnemar(gained, lost) == pytest.approx(p)


def test_mcnemar_of_many_pairs_has_a_value():
    assert 0 < mcnemar(4000, 4500) < 1e-7
    assert mcnemar(7000, 7001) == pytest.approx(1.0)


def test_pairs_are_compared_item_by_item():
    before = [item(i, 1.0) for i in range(6)]
    after = [item(i, float(i not in (2, 5))) for i in reversed(range(6))]
    (one,) = compare(before, after)
    assert (one.before, one.after, one.lost, one.gained) == (1.0, pytest.approx(4 / 6), 2, 0)
    assert one.difference == pytest.approx(-2 / 6)
    assert one.p == pytest.approx(0.5)
    assert one.interval[0] < one.difference < one.interval[1] <= 0
    (same,) = compare(before, before)
    assert (same.difference, same.interval, same.p) == (0, (0, 0), 1)


def test_shares_that_are_not_right_or_wrong_have_no_sign_test():
    (one,) = compare([item(0, 0.2), item(1, 0.9)], [item(0, 0.4), item(1, 0.9)])
    assert (one.lost, one.gained, one.p) == (None, None, None)
    assert one.difference == pytest.approx(0.1)


def test_other_questions_are_not_compared():
    before = [item(0, 1), item(1, 1)]
    with pytest.raises(UserError, match="asked different questions"):
        compare(before, before[:1])
    other = [dataclasses.replace(before[0], digest="other"), before[1]]
    with pytest.raises(UserError, match="asked different questions"):
        compare(before, other)
    with pytest.raises(UserError, match="no downstream task in common"):
        compare(before, [item(0, 1, taken=taken("another"))])


def test_tables_say_how_the_items_were_taken():
    before = [item(i, 1.0, dropped=i) for i in range(4)]
    text = ability_table(reduce_items(before))
    assert "| made | acc" in text
    assert "100.0" in text
    assert "- made: made.jsonl, 4 items; seed 0; by none 1; 3 of 4 items lost the front" in text
    text = paired_table(compare(before, [item(0, 0), *before[1:]]))
    assert "-25.0" in text
    assert len({len(line) for line in text.splitlines()}) == 1
