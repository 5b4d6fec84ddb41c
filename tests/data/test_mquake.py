"""MQuAKE's cases, and which of them spoil each other."""

import pytest

from jaxedit.data.datasets import load_facts
from jaxedit.data.fact import Question
from tests.data.writing import case, reasons, write


def rewrite(subject, target, question="Where is {}?", true="Peru"):
    return {
        "prompt": "{} is in",
        "relation_id": "P17",
        "subject": subject,
        "question": question.format(subject),
        "target_new": {"str": target},
        "target_true": {"str": true},
    }


def hop(question, answer, *aliases):
    return {"question": question, "cloze": "x", "answer": answer, "answer_alias": list(aliases)}


def record(number, rewrites, hops):
    return {
        "case_id": number,
        "requested_rewrite": rewrites,
        "questions": ["Who rules where Ayo is?", "Ayo's ruler?", "Ruler of Ayo's land?"],
        "answer": "Rosa",
        "answer_alias": ["R."],
        "new_answer": "Olav",
        "new_answer_alias": ["King Olav"],
        "single_hops": [hop("Where is Ayo?", "Peru"), hop("Who rules Peru?", "Rosa")],
        "new_single_hops": hops,
    }


FIRST = record(
    1,
    [rewrite("Ayo", "Norway")],
    [hop("Where is Ayo?", "Norway", "NO"), hop("Who rules Norway?", "Olav", "King Olav")],
)


def ruler(number, target):
    """Edits the step that the first case needs unedited."""
    edit = rewrite("Norway", target, "Who rules {}?", "Olav") | {"prompt": "{} is ruled by"}
    return record(number, [edit], [hop("Who rules Norway?", target)])


def test_a_record_is_a_case(tmp_path):
    found = case(tmp_path, "mquake", FIRST)
    (fact,) = found.facts
    assert (found.id, fact.id, fact.question, fact.group) == ("1", "1", "Ayo is in", "P17")
    assert (fact.target, fact.previous, fact.aliases) == ("Norway", "Peru", ("NO",))
    assert fact.paraphrases == ("Where is Ayo?",)
    multi, old = found.questions["multi_hop"], found.questions["old_multi_hop"]
    assert multi[0] == Question("Who rules where Ayo is?", "Olav", ("King Olav",))
    assert [(q.prompt, q.answer) for q in old] == [(q.prompt, "Rosa") for q in multi]
    assert found.questions["hop"] == (
        Question("Where is Ayo?", "Norway", ("NO",), group="edited"),
        Question("Who rules Norway?", "Olav", ("King Olav",), group="kept"),
    )
    assert [q.answer for q in found.questions["old_hop"]] == ["Peru", "Rosa"]


def test_several_rewrites_are_several_facts(tmp_path):
    both = [rewrite("Ayo", "Norway"), rewrite("Una", "Chad")]
    found = case(tmp_path, "mquake", record(5, both, [hop("Where is Ayo?", "Norway")]))
    assert [fact.id for fact in found.facts] == ["5.1", "5.2"]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (record(2, [rewrite("Ayo", "Chad")], [hop("Where is Ayo?", "Chad")]),
         "contradicts the edits of record 1: 'Where is Ayo?' is 'Chad', there 'Norway'"),
        (ruler(2, "Una"), "edits a hop that record 1 needs unedited: 'Who rules Norway?' is 'Una'"),
        (ruler(2, "Olav"), None),  # the same answer spoils nothing
        (FIRST | {"case_id": 2}, None),
    ],
)  # fmt: skip
def test_cases_that_spoil_each_other(tmp_path, second, reason):
    path = write(tmp_path, [FIRST, second])
    skipped = load_facts("mquake", path).skipped
    assert [name for name, _ in skipped] == (["2"] if reason else [])
    assert not reason or skipped[0][1].startswith(reason)
    assert len(load_facts("mquake-all", path).cases) == 2


def test_a_case_that_needs_a_step_that_is_edited(tmp_path):
    found = load_facts("mquake", write(tmp_path, [ruler(2, "Una"), FIRST])).skipped
    assert found[0][1].startswith("needs a hop that record 2 edits: 'Who rules Norway?' is 'Olav'")


def test_who_comes_first_depends_on_the_draw(tmp_path):
    path = write(tmp_path, [FIRST, ruler(2, "Una")])
    kept = {load_facts("mquake", path, seed=seed).cases[0].id for seed in range(5)}
    assert kept == {"1", "2"}


def test_defects(tmp_path):
    assert reasons(tmp_path, "mquake", FIRST, FIRST | {"case_id": 3, "questions": []},
                   FIRST | {"case_id": 4, "requested_rewrite": []},
                   FIRST | {"case_id": 5, "new_answer": ""}, FIRST) == [
        '"questions" is empty',
        "has no fact to edit; remove it",
        "a multi_hop question or its answer is empty; remove it",
        "another record has the id 1 too",
    ]  # fmt: skip
