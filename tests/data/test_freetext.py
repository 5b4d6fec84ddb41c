"""UnKE, EditEverything, ConceptEdit and QAEdit."""

import pytest

from jaxedit.data.datasets import load_facts
from jaxedit.data.fact import Question
from tests.data.writing import only, reasons, write

UNKE = {
    "id": 4,
    "question": "How do birds fly?",
    "para_question": "What lets birds fly?",
    "answer": "With wings. Wings lift.\n\nThat is all. ",
    "sub_question": ["With what?", "Why?"],
    "sub_answer": ["Wings.", "They lift."],
}
TASK = {"id": 7, "question": "Add 2 and 2.", "answer": "4\r\nis it.", "category": "math"}
CONCEPT = {
    "question": "The definition of bolt is\nChoose:\nA: a river\nB: a kind of\nsong",
    "answer": "B",
    "subject": "bolt",
    "origin_question": "The definition of bolt is",
    "origin_answer": "a kind of\nsong",
}
QA = {
    "id": 3,
    "source": "NQ",
    "prompt": "who won the cup?",
    "target": "Ann Li *",
    "subject": "the cup",
    "rephrase": "Whose is the cup?",
    "locality": [{"loc": "who sang", "loc_ans": "Me"}, {"loc": "where", "loc_ans": "Here"}],
}


def test_unke(tmp_path):
    fact = only(tmp_path, "unke", UNKE)
    assert (fact.prompt, fact.question) == ("{}", "How do birds fly?")
    assert fact.target == "With wings. Wings lift.\n\nThat is all."
    assert fact.paraphrases == ("What lets birds fly?",)
    assert fact.portability == (
        Question("With what?", "Wings.", group="sub_question"),
        Question("Why?", "They lift.", group="sub_question"),
    )


def test_edit_everything(tmp_path):
    fact = only(tmp_path, "editevery", TASK)
    assert (fact.question, fact.target, fact.group) == ("Add 2 and 2.", "4\nis it.", "math")
    assert reasons(tmp_path, "editevery", TASK, TASK | {"answer": "5"}) == [
        "contradicts record 0: target '5', there '4\\nis it.'"
    ]


def test_concept(tmp_path):
    fact = only(tmp_path, "concept", CONCEPT)
    assert (fact.prompt, fact.target) == ("The definition of {} is", "a kind of\nsong")
    (choice,) = fact.portability
    assert (choice.answer, choice.choices) == ("B", ("A", "B"))
    assert choice.prompt.endswith("\nB: a kind of\nsong\nAnswer:")
    alike = CONCEPT | {"question": "The\nA: a kind of\nsong\nB: a kind of\nsong"}
    loaded = load_facts("concept", write(tmp_path, [alike]))
    assert loaded.facts[0].portability == () and loaded.notes[0][1] == 1


def test_qaedit(tmp_path):
    loaded = load_facts("qaedit", write(tmp_path, [QA]))
    (fact,) = loaded.facts
    assert (fact.prompt, fact.target, fact.group) == ("who won {}?", "Ann Li", "NQ")
    assert fact.paraphrases == ("Whose is the cup?",)
    assert fact.neighbours == (Question("who sang", "Me"), Question("where", "Here"))
    assert len(loaded.notes) == 1
    whole = only(tmp_path, "qaedit", QA | {"subject": "The cup"})
    assert (whole.prompt, whole.subject) == ("{}", "who won the cup?")


@pytest.mark.parametrize(
    ("source", "good", "change", "reason"),
    [
        ("unke", UNKE, {"sub_answer": ["x"]}, "2 sub-questions have 1 answers"),
        ("unke", UNKE, {"answer": "\n"}, "the target is empty; give the new answer"),
        ("concept", CONCEPT, {"answer": "A"}, "option 'A' of the choice is not the new definition"),
        ("concept", CONCEPT, {"answer": "C"}, "option 'C' of the choice is not the new definition"),
        ("concept", CONCEPT, {"question": "?"}, "option 'B' of the choice is not"),
        ("qaedit", QA, {"locality": ["x"]}, '"locality" must be a list of objects'),
        ("editevery", TASK, {"category": 3}, '"category" is a number; it must be text'),
    ],
)
def test_defects(tmp_path, source, good, change, reason):
    (found,) = reasons(tmp_path, source, good, good | change)
    assert found.startswith(reason)
