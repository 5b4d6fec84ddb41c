import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.errors import UserError
from jaxedit.metrics import Setting
from jaxedit.metrics.judge import judged, load_judge, read_verdicts, scores, verdict_values
from jaxedit.metrics.records import Answer, Asked

SETTING = Setting("after_all", "float32", "Q: {}", version="test")


def said(fact, text, role="edit", index=0, setting=SETTING):
    return Answer(setting, 2, Asked(fact, role, index, f"What is {fact}?", "Sarn"), generated=text)


ANSWERS = [
    said(0, "Sarn"),
    said(0, "no", "paraphrase"),
    said(0, "Sarn", "paraphrase", 1),
    said(1, "Sarn!"),
    said(2, "?"),
    said(3, None),
]


def strict(question, expected, generated):
    assert question.startswith("Q: What is")
    return None if generated == "?" else float(generated == expected)


def test_verdicts_become_scores_that_name_the_judge():
    done = []
    verdicts = judged(ANSWERS, strict, "strict", advance=done.append)
    assert [v.value for v in verdicts] == [1, 0, 1, 0, None] and sum(done) == 5
    found = {s.metric: s for s in scores(ANSWERS, verdicts)}
    assert found["efficacy"].value == 0.5 and found["efficacy"].n == 2
    assert found["paraphrase"].value == 0.5 and found["paraphrase"].n == 1
    assert found["efficacy"].reading == "judge:strict"
    assert verdict_values(verdicts)[ANSWERS[4].key] is None
    assert scores(ANSWERS, []) == []


def test_scores_reappear_from_the_file_and_nothing_is_asked_twice(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    verdicts = judged(ANSWERS, strict, "strict", path)
    assert read_verdicts(path) == verdicts
    assert scores(ANSWERS, read_verdicts(path)) == scores(ANSWERS, verdicts)

    def silent(*_):
        raise AssertionError("asked again")

    assert judged(ANSWERS, silent, "strict", path) == verdicts
    changed = [said(0, "other")]
    assert judged(changed, strict, "strict", path)[0].value == 0, "a new text is judged anew"
    assert judged(ANSWERS[:1], lambda *_: 0.25, "mild", path)[0].value == 0.25


def test_an_interrupted_judge_goes_on(tmp_path):
    path = tmp_path / "verdicts.jsonl"

    def tired(question, expected, generated):
        if generated == "?":
            raise TimeoutError("too\nlate")
        return 1.0

    with pytest.raises(
        UserError, match=r"judge t, on edit question 'Q: What is 2\?': raised Tim.*late"
    ):
        judged(ANSWERS, tired, "t", path)
    assert len(read_verdicts(path)) == 4
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"judge": "t", "prot')  # killed in the middle of a line
    assert [v.value for v in judged(ANSWERS, lambda *_: 0.5, "t", path)] == [1, 1, 1, 1, 0.5]
    assert len(read_verdicts(path)) == 5


@pytest.mark.parametrize("nonsense", ["yes", 1.5, -0.1, float("nan"), [1]])
def test_nonsense_is_named(nonsense):
    with pytest.raises(UserError, match=r"What is 0.*a number from 0 to 1"):
        judged(ANSWERS, lambda *_: nonsense, "j")


def test_judges_by_name(monkeypatch):
    module = types.ModuleType("judges_of_mine")
    module.strict, module.number = strict, 3
    monkeypatch.setitem(sys.modules, "judges_of_mine", module)
    assert load_judge("judges_of_mine:strict") is strict
    for name, reason in [
        ("judges_of_mine", "package.module:function"),
        ("judges_of_mine:number", "no callable 'number'"),
        ("judges_of_mine:absent", "no callable"),
        ("no_such_module_at_all:x", "cannot be imported"),
    ]:
        with pytest.raises(UserError, match=f"--judge.*{reason}"):
            load_judge(name)


def test_broken_files_are_named(tmp_path):
    path = tmp_path / "v.jsonl"
    path.write_text('{"judge": "x"}\n')
    with pytest.raises(UserError, match=r"v\.jsonl:1: is not a verdict"):
        read_verdicts(path)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms())
def test_scores_are_bounded_and_blind_to_order(values, rng):
    answers = [said(i, str(i)) for i in range(len(values))]
    verdicts = judged(answers, lambda q, e, g: values[int(g)], "j")
    (found,) = scores(answers, verdicts)
    assert found.value == pytest.approx(sum(values) / len(values))
    rng.shuffle(verdicts)
    assert scores(answers, verdicts) == [found]
