"""WILD without its judge."""

import pytest

from jaxedit.metrics import Setting, ask, questions, scores
from jaxedit.metrics.wild import NEW_TOKENS, STOP, WILD, normalise
from tests.metrics.fake import Table
from tests.metrics.test_reduce import FACTS, NEW, OLD, TOKENIZER


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The U.S.", "us"),
        ("  An  apple, a day", "apple day"),
        ("theatre", "theatre"),
        ("don't", "dont"),
        ("", ""),
    ],
)
def test_squads_normalisation(text, expected):
    assert normalise(text) == expected


def run(known, when, edits):
    setting = Setting(when, "float32", version="test")
    answers = ask(
        Table(known, TOKENIZER), questions(FACTS), setting, edits=edits, protocols=(WILD,)
    )
    return [a for a in answers if a.setting.protocol == WILD]


def test_scores_by_hand():
    known = {p: text.replace(". It", "") for p, text in NEW.items()}
    before, after = run(OLD, "before", 0), run(known, "after_all", 2)
    assert {a.setting.max_new_tokens for a in after} == {NEW_TOKENS}
    assert {a.setting.stop for a in after} == {STOP}
    got = {(s.metric, s.reading, s.against): s.value for s in scores(after, before)}
    assert got == {
        ("efficacy", "exact", "target"): 1 / 2,  # "New York"; "Madrid or Lima" is not "Lima"
        ("efficacy", "contains", "target"): 1.0,
        ("paraphrase", "exact", "target"): 1 / 2,
        ("paraphrase", "contains", "target"): 1 / 2,
        ("specificity", "exact", "truth"): 0.0,
        ("specificity", "contains", "truth"): 0.0,
        ("specificity", "ids", "unedited"): 0.0,
        ("portability", "exact", "target"): 0.0,
        ("portability", "contains", "target"): 0.0,
    }
