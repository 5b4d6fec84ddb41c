import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.data.fact import Question
from jaxedit.metrics import Setting, read_answers, write_answers
from jaxedit.metrics.plausibility import ask, predictions, probe_scores, split_scores, weighted_f1
from jaxedit.metrics.records import Answer, Asked
from tests.metrics.fake import Table

SETTING = Setting("after_all", "float32", version="test")
OLD = Setting("before", "float32", version="test")
IDS = {"True": 7, "False": 8, "None": 3}
LABELS = ("True", "False")
CLASSES = st.sampled_from(["True", "False", "None"])


def answer(place, label, said, likelier="True", role="edit", index=0, group="", when=SETTING):
    asked = Asked(place, role, index, "Cats fly:", label, choices=LABELS, group=group)
    logs = ((-1.0,), (-2.0,)) if likelier == "True" else ((-2.0,), (-1.0,))
    return Answer(when, 4, asked, (IDS[label],), (IDS[said],), (-1.0,), None, logs)


def table(found):
    return {(s.metric, s.reading, s.group): s.value for s in found}


def test_the_two_readings():
    answers = [answer(0, "True", "False"), answer(1, "False", "None"), answer(2, "True", "True")]
    assert list(predictions(answers, "exact").values()) == ["False", "None", "True"]
    assert list(predictions(answers, "choice").values()) == ["True"] * 3


def test_a_label_that_is_never_expected_is_not_guessed():
    only = [answer(0, "True", "False"), answer(1, "True", "True")]
    assert predictions(only, "exact") == {}
    assert {s.reading for s in split_scores(only)} == {"choice"}


def test_f1_by_hand():
    # True: 1 hit, 1 missed, 1 wrongly said; False: 1 hit, 1 missed; None said once
    truth, said = ["True", "True", "False", "False"], ["True", "None", "False", "True"]
    f_true, f_false = 2 * 1 / 4, 2 * 1 / 3
    assert weighted_f1(truth, said) == pytest.approx((2 * f_true + 2 * f_false) / 4)
    assert weighted_f1(["True"], ["True"]) == 1
    assert weighted_f1(["True"], ["None"]) == 0


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LABELS), CLASSES), min_size=1, max_size=20))
def test_f1_is_scikit_learns(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    truth, said = zip(*pairs, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = metrics.f1_score(
            truth, said, labels=["True", "False", "None"], average="weighted", zero_division=1
        )
    assert weighted_f1(truth, said) == pytest.approx(theirs)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LABELS), CLASSES), min_size=1, max_size=20), st.randoms())
def test_f1_is_bounded_and_blind_to_order(pairs, rng):
    value = weighted_f1(*zip(*pairs, strict=True))
    assert 0 <= value <= 1
    assert (value == 1) == all(a == b for a, b in pairs)
    rng.shuffle(pairs)
    assert weighted_f1(*zip(*pairs, strict=True)) == pytest.approx(value)


def test_a_whole_split_before_and_after():
    truth = ["True", "False", "True", "False", "True"]
    was = ["True", "True", "False", "False", "None"]
    now = ["True", "False", "True", "True", "None"]
    before = [answer(i, t, s, when=OLD) for i, (t, s) in enumerate(zip(truth, was, strict=True))]
    after = [answer(i, t, s) for i, (t, s) in enumerate(zip(truth, now, strict=True))]
    found = split_scores(after, before)
    got = table(found)
    assert got["accuracy", "exact", ""] == pytest.approx(3 / 5)
    assert got["f1", "exact", ""] == pytest.approx(weighted_f1(truth, now))
    assert got["efficacy", "exact", ""] == pytest.approx(2 / 3)
    assert got["relapse", "exact", ""] == pytest.approx(1 / 2)
    assert got["accuracy", "choice", ""] == pytest.approx(3 / 5)
    f1 = next(s for s in found if s.metric == "f1")
    assert f1.n == 5 and f1.interval[0] <= f1.value <= f1.interval[1]
    assert "efficacy" not in {s.metric for s in split_scores(before, before)}
    assert split_scores(after[::-1], before) == found


def test_the_probe_set():
    def probe(when, neighbour, paraphrase):
        return [
            answer(0, "False", "False", when=when),
            answer(0, "False", paraphrase, role="paraphrase", when=when),
            answer(0, "True", "None", role="portability", group="affected_reasoning", when=when),
            answer(0, "True", "True", role="portability", index=1, group="verb", when=when),
            answer(0, "True", neighbour, role="neighbour", group="subject", when=when),
            answer(0, "True", "True", role="neighbour", index=1, group="object", when=when),
        ]

    got = table(probe_scores(probe(SETTING, "None", "True"), probe(OLD, "None", "False")))
    assert got["efficacy", "exact", ""] == 1
    assert got["affected", "exact", "paraphrase"] == 0
    assert got["affected", "exact", "affected_reasoning"] == 0
    assert got["affected", "exact", "verb"] == 1
    assert got["unaffected", "exact", "subject"] == 1, '"None" is a label too'
    assert got["unaffected", "exact", "object"] == 1
    moved = table(probe_scores(probe(SETTING, "False", "True"), probe(OLD, "None", "True")))
    assert moved["unaffected", "exact", "subject"] == 0
    assert got["unaffected", "choice", "subject"] == 1


def test_statements_are_asked_of_a_model(tmp_path):
    statements = [Question("cats purr:", "True"), Question("stones purr:", "False", (), LABELS)]
    lm = Table({"cats purr:": "True", "stones purr:": "maybe"})
    made = ask(lm, statements, SETTING, edits=2)
    assert [a.asked.fact for a in made] == [0, 1] and made[0].setting.protocol == "statements"
    assert list(predictions(made, "exact").values()) == ["True", "None"]
    write_answers(tmp_path / "raw.jsonl", made)
    assert split_scores(read_answers(tmp_path / "raw.jsonl")) == split_scores(made)
