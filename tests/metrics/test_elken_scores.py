import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.metrics import Setting
from jaxedit.metrics.elken import fact_right, letter, scores
from jaxedit.metrics.records import Answer, Asked

SETTING = Setting("after_all", "float32", version="test")
OLD = Setting("before", "float32", version="test")
LETTERS = ("A", "B", "C")


def fact(event, index, target, said, group="type 0", aliases=(), role="event_fact", when=SETTING):
    asked = Asked(event, role, index, "Who?", target, aliases=aliases, group=group)
    return Answer(when, 3 if when is SETTING else 0, asked, generated=said)


def tendency(event, index, target, said, role="tendency", when=SETTING, logs=(-1.0, -2.0, -3.0)):
    asked = Asked(event, role, index, "How?", target, choices=LETTERS)
    return Answer(when, 3, asked, choice_logprobs=tuple((x,) for x in logs), generated=said)


def table(found):
    return {(s.metric, s.decoding, s.reading, s.group): s.value for s in found}


FACTS = [
    fact(2, 0, "Paris", " paris.\nIt is large"),
    fact(2, 1, "unknown", "This is Unknown to me.", group="unknown"),
    fact(5, 0, "New York City", "nyc", group="type 1", aliases=("NYC",)),
    fact(5, 1, "Rome", "It is Rome", group="type 1"),
    fact(5, 2, "unknown", "2023", group="type 0"),
    fact(9, 0, "United States of America", "United States", aliases=("United States",)),
]


def test_facts_by_question_kind_and_event():
    got = table(scores(FACTS))
    key = ("generation", "exact")
    assert got["fact_reliability", *key, ""] == pytest.approx(4 / 6)
    assert got["fact_reliability", *key, "known"] == pytest.approx(3 / 4)
    assert got["fact_reliability", *key, "unknown"] == pytest.approx(1 / 2)
    assert got["fact_reliability", *key, "type 0"] == 1
    assert got["fact_reliability", *key, "type 1"] == pytest.approx(1 / 2)
    assert got["event_fact_reliability", *key, ""] == pytest.approx(2 / 3)
    assert got["fact_reliability", "generation", "contains", "type 1"] == 1


def test_a_score_over_questions_names_its_events():
    first, *_ = scores(FACTS)
    assert (first.n, first.edits, first.against) == (3, (3, 3), "target")
    assert first.interval[0] <= first.value <= first.interval[1]


def test_facts_that_should_not_change():
    local = {"role": "event_local", "aliases": ("Great Britain", "UK")}
    now = [
        fact(1, 0, "Britain", "uk.", **local),
        fact(1, 1, "Britain", "France", **local),
        fact(4, 0, "x", "It is unknown.", role="event_local"),
    ]
    old = [
        fact(1, 0, "Britain", "Great Britain", when=OLD, **local),
        fact(1, 1, "Britain", "Spain", when=OLD, **local),
        fact(4, 0, "x", "unknown", role="event_local", when=OLD),
    ]
    got = table(scores(now, old))
    assert got["fact_locality", "generation", "exact", ""] == pytest.approx(2 / 3)
    assert got["event_fact_locality", "generation", "exact", ""] == pytest.approx(1 / 2)
    assert scores(old, old) == [], "an unedited model agrees with itself by definition"
    assert scores(now) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" A", "A"),
        ("(B) Decrease.\n(A)", "B"),
        ("B. Decrease", "B"),
        ("\n\nC\nbecause", "C"),
        ("(A) or (B)", "(A) or (B)"),
        ("Increase", "Increase"),
        ("", ""),
    ],
)
def test_letters_are_read(text, expected):
    assert letter(text) == expected


def test_tendencies_by_letter_and_by_likelihood():
    now = [
        tendency(1, 0, "A", "(A) Increase"),
        tendency(1, 1, "B", "Increase"),
        tendency(2, 0, "A", "A."),
        tendency(2, 0, "C", "A", "tendency_local"),
        tendency(2, 1, "C", "C", "tendency_local", logs=(-3.0, -2.0, -1.0)),
    ]
    old = [
        tendency(2, 0, "C", "(A) so", "tendency_local", OLD, (-5.0, -1.0, -2.0)),
        tendency(2, 1, "C", "B", "tendency_local", OLD, (-3.0, -2.0, -1.0)),
    ]
    got = table(scores(now, old))
    assert got["tendency_reliability", "generation", "exact", ""] == pytest.approx(2 / 3)
    assert got["event_tendency_reliability", "generation", "exact", ""] == 0.5
    assert got["tendency_reliability", "teacher_forced", "choice", ""] == pytest.approx(2 / 3)
    assert got["tendency_locality", "generation", "exact", ""] == 0.5
    assert got["tendency_locality", "teacher_forced", "choice", ""] == 0.5


def test_open_tendencies_need_a_judge():
    def free(event, index):
        return Answer(SETTING, 3, Asked(event, "tendency", index, "How?", "-"), generated="so")

    answers = [*FACTS, free(2, 0), free(2, 1), free(5, 0), free(9, 0)]
    assert not any(s.reading == "judge" for s in scores(answers))
    verdicts = {free(2, 0).key: 1.0, free(2, 1).key: 1.0, free(5, 0).key: 1.0, free(9, 0).key: None}
    got = table(scores(answers, verdicts=verdicts))
    assert got["open_tendency_reliability", "generation", "judge", ""] == 1  # one left out
    assert got["event_open_tendency_reliability", "generation", "judge", ""] == pytest.approx(2 / 3)
    assert got["event_overall", "generation", "judge", ""] == pytest.approx(1 / 3)  # event 2
    low = scores(answers, verdicts=verdicts | {free(2, 0).key: 0.8})
    assert table(low)["event_overall", "generation", "judge", ""] == 0


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_order_never_counts_and_events_bound_questions(data):
    said = data.draw(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=12))
    answers = [
        fact(event, i, "yes", "yes" if right else "no") for i, (event, right) in enumerate(said)
    ]
    found = scores(answers)
    got = table(found)
    whole = got["event_fact_reliability", "generation", "exact", ""]
    mean = sum(right for _, right in said) / len(said)
    assert got["fact_reliability", "generation", "exact", ""] == pytest.approx(mean)
    assert whole == 1 if mean == 1 else whole < 1
    assert scores(data.draw(st.permutations(answers))) == found


def test_nothing_generated_is_nothing_scored():
    assert fact_right(fact(0, 0, "x", None)) is None
    assert scores([]) == []
