"""ELKEN's events, as texts and as requests."""

import pytest

from jaxedit.data.datasets import load_facts
from jaxedit.data.elken import FORMATS
from jaxedit.data.fact import Question
from jaxedit.metrics.records import Role  # the roles that questions may have
from tests.data.writing import case, reasons, write


def fact(question, subject, answer, kind=0, key="name", number="Q1"):
    return {
        "question": question,
        "subject": {"id": "Q7", key: subject},
        "answer": {"id": number, "name": answer, "alias": [answer, f"the {answer}"]},
        "type": kind,
        "rel_id": "P6",
    }


def tendency(question, answer):
    return {"question": question, "candidate": "(A) Up  (B) Down (C) Same", "answer": answer}


EVENT = {
    "event_type": "move",
    "event": '"Ada moves to Bonn."',
    "fact": {
        "qas": [
            fact("Where does Ada live?", "Ada", "Bonn"),
            fact("In which land does Ada live?", "Ada", "USA", 1, "ent2name", "Q30"),
            fact("Who follows her?", "Ada", "Eva", 1),
            fact("When does Ada leave?", "Ada", "unknown"),
        ],
        "local_qas": [fact("Who wrote Faust?", "Faust", "Goethe")],
    },
    "tendency": {"qas": [tendency("Rents in Bonn?", "A")], "local_qas": [tendency("Rain?", "C")]},
}


def test_an_event_is_one_text_to_learn(tmp_path):
    found = case(tmp_path, "elken", EVENT)
    (text,) = found.facts
    assert (text.question, text.target, text.group) == ("Event:", "Ada moves to Bonn.", "move")
    asked = found.questions["event_fact"]
    assert asked[0] == Question(
        "Question: Where does Ada live?\nAnswer:", "Bonn", ("the Bonn",), group="type 0"
    )
    assert [q.group for q in asked] == ["type 0", "type 1", "type 1", "unknown"]
    assert asked[1].aliases == ("the USA", "United States")
    assert found.questions["event_local"][0].answer == "Goethe"
    assert found.questions["tendency"] == (
        Question(
            "Question: Rents in Bonn?\nOptions: (A) Up (B) Down (C) Same\nAnswer:",
            "A",
            choices=("A", "B", "C"),
        ),
    )
    assert found.questions["tendency_local"][0].answer == "C"
    assert set(found.questions) == set(FORMATS) <= set(Role.__args__)


def test_an_event_is_its_known_answers(tmp_path):
    loaded = load_facts("elken-facts", write(tmp_path, [EVENT]))
    where, land = loaded.facts
    assert (where.prompt, where.subject, where.target) == ("Where does {} live?", "Ada", "Bonn")
    assert (land.id, land.target, land.aliases) == ("0.2", "USA", ("the USA", "United States"))
    assert len(loaded.cases[0].questions["event_fact"]) == 4
    assert [count for _, count in loaded.notes] == [1]


def test_events_do_not_contradict_each_other_but_requests_do(tmp_path):
    moved = fact("Where does Ada live?", "Ada", "Oslo")
    other = EVENT | {"event": "Ada moves on.", "fact": {"qas": [moved], "local_qas": []}}
    path = write(tmp_path, [EVENT, other])
    assert len(load_facts("elken", path).cases) == 2
    ((name, reason),) = load_facts("elken-facts", path).skipped
    assert (name, reason) == ("1", "contradicts record 0.1: target 'Oslo', there 'Bonn'")


NOTHING = {"qas": [], "local_qas": []}
UNNAMED = {"qas": [fact("Who follows?", "Ada", "Eva")], "local_qas": []}
LETTERS = {"qas": [tendency("Rents?", "A") | {"candidate": "(A) Up (B) Down"}], "local_qas": []}


@pytest.mark.parametrize(
    ("source", "change", "reason"),
    [
        ("elken", {"fact": NOTHING, "tendency": NOTHING}, "nothing is asked about the event"),
        ("elken", {"event": " "}, "the target is empty"),
        ("elken", {"tendency": LETTERS}, "are not (A), (B) and (C)"),
        ("elken", {"fact": None}, '"fact" is missing or not an object'),
        ("elken-facts", {"fact": NOTHING}, "no question about the event has a known answer"),
        ("elken-facts", {"fact": UNNAMED}, "names its subject verbatim"),
    ],
)
def test_defects(tmp_path, source, change, reason):
    (found,) = reasons(tmp_path, source, EVENT, EVENT | change)
    assert reason in found
