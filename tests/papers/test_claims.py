"""Verdicts are computed: what holds, fails, holds in part or is not decided yet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxedit.papers.claims import (
    FAILS,
    HOLDS,
    OPEN,
    PARTLY,
    Named,
    Verdict,
    above,
    as_printed,
    at,
    every,
    joined,
    least,
    most,
    overall,
    written,
)
from jaxedit.papers.printed import table
from jaxedit.papers.readers import Found, Value, Where, score
from tests.papers import made

NONE = Named("gone", lambda found: None)


def number(name: str, value: float, **more) -> Named:
    return Named(name, lambda found: Value(value, **more))


def test_one_number_above_another():
    high, low = number("high", 0.5), number("low", 0.4)
    assert above(high, low)(Found()) == Verdict(HOLDS, "high 50.0 % against low 40.0 %")
    assert above(low, high)(Found()).word == FAILS
    assert above(high, high)(Found()).word == FAILS
    assert above(low, high, by=-0.2)(Found()).word == HOLDS
    assert above(high, low, by=0.2)(Found()).word == FAILS
    assert above(high, NONE)(Found()) == Verdict(OPEN, "high 50.0 % against gone –")


def test_bounds_are_held_by_what_equals_them():
    half = number("half", 0.5)
    words = [test(half, 0.5)(Found()).word for test in (least, most)]
    assert words == [HOLDS, HOLDS]
    assert least(half, 0.6)(Found()).word == most(half, 0.4)(Found()).word == FAILS
    assert most(NONE, 1)(Found()) == Verdict(OPEN, "gone –")


def test_a_number_of_a_place():
    one = at("efficacy", score("efficacy"), Where("run", "d4s"))
    assert least(one, 0.8)(Found({"run": [made.result()]})).word == HOLDS
    assert least(one, 0.8)(Found()).word == OPEN


@pytest.mark.parametrize(
    ("words", "word"),
    [
        ([], OPEN),
        ([HOLDS, HOLDS], HOLDS),
        ([FAILS], FAILS),
        ([HOLDS, FAILS], PARTLY),
        ([PARTLY, HOLDS], PARTLY),
        ([HOLDS, OPEN], OPEN),
        ([PARTLY, OPEN, FAILS], OPEN),
    ],
)
def test_one_word_for_several(words: list[str], word: str):
    assert overall(words) == word


@given(st.lists(st.sampled_from((HOLDS, FAILS, OPEN)), min_size=1))
def test_all_hold_only_where_each_does(words: list[str]):
    tests = [lambda found, w=w: Verdict(w, w) for w in words]
    whole = every(*tests)(Found()).word
    assert (whole == HOLDS) == (set(words) == {HOLDS})
    assert (whole == OPEN) == (OPEN in words)
    assert every(every(*tests), *tests)(Found()).word == whole


def test_what_was_compared_is_told_once():
    ours = number("ours", 0.5)
    tests = [above(ours, number(name, 0.4)) for name in ("a", "b")]
    said = every(*tests, every(above(number("other", 2, share=False), ours), *tests))(Found())
    assert said.numbers == ("ours 50.0 % against a 40.0 %, b 40.0 %; other 2 against ours 50.0 %")
    assert joined([]) == "" and joined(["x 1 %", "x 1 %"]) == "x 1 %"


def test_shares_are_told_in_percent_and_nothing_else_is():
    assert written(Value(0.123)) == "12.3 %"
    assert written(Value(1.0, share=False)) == "1"
    assert written(Value(0.5, share=False)) == "0.5" and written(None) == "–"


def test_counted_numbers_are_those_that_are_printed():
    printed = table("onceedit", "5")
    right = {"GPT-J-6B": (0.011, 9.739, 886), "Llama2-7B": (0.013, 12.638, 973)}
    assert as_printed(printed, right.__getitem__, list(right))(Found()).word == HOLDS
    wrong = as_printed(printed, lambda _: (0.011, 9.74, 886), ["GPT-J-6B"])(Found())
    assert (wrong.word, wrong.numbers) == (FAILS, "GPT-J-6B, TFLOPS: 9.74 for 9.739")
