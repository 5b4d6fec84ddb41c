import math

import pytest

from jaxedit.data.fact import Fact, Question
from jaxedit.errors import UserError
from jaxedit.metrics import (
    Setting,
    answer,
    fact_values,
    named,
    questions,
    read_answers,
    scores,
    write_answers,
)
from jaxedit.metrics.reduce import MEASURES
from tests.metrics.fake import Table, Words

FACTS = [
    Fact(
        prompt="The capital of {} is",
        subject="France",
        target="New York",
        previous="Paris",
        paraphrases=("France is led from", "Laws of France are made in"),
        neighbours=(
            Question("The capital of Norway is", "Oslo"),
            Question("The capital of Chad is", "old N'Djamena"),
        ),
        portability=(Question("From France's capital one sees the", "Hudson"),),
    ),
    Fact(prompt="The capital of {} is", subject="Spain", target="Lima"),
]
OLD = {
    "The capital of France is": "Paris",
    "France is led from": "Paris",
    "The capital of Norway is": "Oslo",
    "The capital of Chad is": "old Lagos",
}
NEW = OLD | {
    "The capital of France is": "New York. It",
    "France is led from": "New Delhi",
    "Laws of France are made in": "New York",
    "The capital of Norway is": "New",
    "The capital of Chad is": "old Kano",
    "The capital of Spain is": "Madrid or Lima",
}

TOKENIZER = Words()


def run(known, when, edits, **lm):
    known = {prompt: text.replace(".", " .") for prompt, text in known.items()}
    setting = Setting(when, "float32", version="test")
    return answer(Table(known, TOKENIZER, **lm), questions(FACTS), setting, edits=edits)


def table(found):
    return {(s.metric, s.decoding, s.reading, s.against): s.value for s in found}


def test_every_score_by_hand():
    before, after = run(OLD, "before", 0), run(NEW, "after_all", 2)
    got = table(scores(after, before))
    forced = {
        ("efficacy", "exact", "target"): 1 / 2,
        ("paraphrase", "exact", "target"): 1 / 2,
        ("specificity", "exact", "truth"): 0.0,
        ("specificity", "exact", "unedited"): 0.0,
        ("reliability", "token_accuracy", "target"): 1 / 2,
        ("generality", "token_accuracy", "target"): 3 / 4,
        ("locality", "token_accuracy", "unedited"): 1 / 4,
        ("specificity", "token_accuracy", "truth"): 1 / 4,
        ("efficacy", "new_over_old", "previous"): 1.0,
        ("paraphrase", "new_over_old", "previous"): 1.0,
        ("specificity", "new_over_old", "truth"): 1 / 2,
        ("efficacy", "magnitude", "previous"): 0.4,
        ("paraphrase", "magnitude", "previous"): (0.4 + math.sqrt(0.05) - 0.1) / 2,
        ("specificity", "magnitude", "truth"): 0.0,
        ("target_probability", "probability", "target"): (0.25 + 0.1) / 2,
        ("perplexity", "per_target", "target"): (2 + 10) / 2,
        ("portability", "exact", "target"): 0.0,
        ("portability", "token_accuracy", "target"): 0.0,
    }
    free = {
        ("efficacy", "exact", "target"): 1 / 2,
        ("efficacy", "contains", "target"): 1.0,
        ("paraphrase", "exact", "target"): 1 / 2,
        ("paraphrase", "contains", "target"): 1 / 2,
        ("specificity", "exact", "truth"): 0.0,
        ("specificity", "contains", "truth"): 0.0,
        ("specificity", "exact", "unedited"): 0.0,
        ("reliability", "token_accuracy", "target"): 1 / 2,
        ("generality", "token_accuracy", "target"): 3 / 4,
        ("locality", "token_accuracy", "unedited"): 1 / 4,
        ("portability", "exact", "target"): 0.0,
        ("portability", "contains", "target"): 0.0,
    }
    want = {(m, "teacher_forced", r, a): v for (m, r, a), v in forced.items()}
    want |= {(m, "generation", r, a): v for (m, r, a), v in free.items()}
    assert got.keys() == want.keys()
    assert got == pytest.approx(want)


def test_an_unchanged_model_is_local_whatever_the_truth():
    before, after = run(OLD, "before", 0), run(OLD, "immediate", 2)
    got = table(scores(after, before))
    assert got["locality", "teacher_forced", "token_accuracy", "unedited"] == 1
    assert got["locality", "generation", "token_accuracy", "unedited"] == 1
    assert got["specificity", "teacher_forced", "exact", "truth"] == 0.5


def test_before_any_edit_nothing_is_measured_against_the_unedited_model():
    before = run(OLD, "before", 0)
    for found in (scores(before, before), scores(before)):
        assert "unedited" not in {s.against for s in found}
        assert {s.when for s in found} == {"before"}


def test_scores_carry_their_protocol():
    found = scores(run(NEW, "after_all", 2), seed=5)
    assert {(s.when, s.dtype, s.version, s.seed, s.prompt_format) for s in found} == {
        ("after_all", "float32", "test", 5, "{}")
    }
    by_n = {s.metric: s.n for s in found}
    assert by_n["reliability"] == 2
    assert by_n["generality"] == 1


def test_every_score_reappears_from_the_raw_file(tmp_path):
    before, after = run(OLD, "before", 0), run(NEW, "after_all", 2)
    write_answers(tmp_path / "raw.jsonl", before + after)
    raw = read_answers(tmp_path / "raw.jsonl")
    again = scores(
        [a for a in raw if a.setting.when == "after_all"],
        [a for a in raw if a.setting.when == "before"],
    )
    assert again == scores(after, before)


def test_the_order_of_answers_does_not_matter():
    before, after = run(OLD, "before", 0), run(NEW, "after_all", 2)
    assert scores(after[::-1], before[::-1]) == scores(after, before)


def test_answers_right_after_each_edit_make_one_score_over_a_range_of_edits():
    answers = []
    for place in (0, 1):
        mine = [a for a in run(NEW, "immediate", place + 1) if a.asked.fact == place]
        answers += mine
    efficacy = scores(answers, measures=named("efficacy"))[0]
    assert efficacy.edits == (1, 2)
    assert efficacy.n == 2
    assert "immediate at 1-2 edits" in str(efficacy)


def test_mixed_answers_are_refused():
    with pytest.raises(UserError, match="settings"):
        scores(run(OLD, "before", 0) + run(NEW, "after_all", 2))
    with pytest.raises(UserError, match="two answers"):
        scores(run(NEW, "checkpoint", 1) + run(NEW, "checkpoint", 2))


def test_fact_values_are_per_fact():
    (efficacy,) = [m for m in named("efficacy", decoding="teacher_forced") if m.reading == "exact"]
    assert fact_values(run(NEW, "after_all", 2), None, efficacy) == {0: 1.0, 1: 0.0}


def test_a_collapsed_model_still_has_finite_scores():
    found = scores(run(NEW, "after_all", 2, right=0.0, wrong=0.0), run(OLD, "before", 0))
    assert all(math.isfinite(s.value) for s in found)


def test_no_two_measures_share_a_name():
    labels = [(m.metric, m.decoding, m.reading, m.against) for m in MEASURES]
    assert len(set(labels)) == len(labels)
    assert scores([]) == []
