"""Facts for causal tracing, and what becomes of them as edits."""

import json
from pathlib import Path

from jaxedit.data.datasets import load_facts
from jaxedit.data.fact import Question
from tests.shared import SHARED, needs_shared

KEYS = ("known_id", "prompt", "subject", "attribute", "relation_id")
RECORDS = 1_209
ROWS = (
    (0, "Rome is the capital of", "Rome", "Italy", "P36"),
    (1, "The capital Oslo lies in Oslo in", "Oslo", "Norway", "P36"),
    (2, "Turin is a city in", "Turin", "Italy", "P36"),
    (3, "Beats is owned by", "Beats", "Apple", "P127"),
    (4, "Nobody is here", "Bergen", "Norway", "P36"),
    (5, "Rome is the capital of", "Rome", "Italy", "P127"),
)


def write(directory: Path) -> Path:
    path = directory / "known_1000.json"
    records = [dict(zip(KEYS, row, strict=True)) for row in ROWS]
    path.write_text(json.dumps([*records, "no record"]))
    return path


def test_records_become_counterfactual_edits(tmp_path: Path):
    loaded = load_facts("known_1000", write(tmp_path))
    rome, oslo, turin, beats, again = loaded.facts
    assert (rome.previous, rome.target, rome.question) == ("Italy", "Norway", ROWS[0][1])
    assert (oslo.previous, oslo.target) == ("Norway", "Italy")
    assert oslo.prompt == "The capital {} lies in Oslo in"  # the first occurrence
    assert (turin.previous, turin.id, turin.group) == ("Italy", "known-2", "P36")
    # Those with the same answer first.
    assert rome.neighbours == (
        Question("Turin is a city in", "Italy"),
        Question("The capital Oslo lies in Oslo in", "Norway"),
    )
    # One question has one target, whatever relation it stands under.
    assert (again.id, again.target) == ("known-5", "Norway")
    assert beats.target == "Italy"  # by now the relation has another attribute


def test_a_relation_with_one_attribute_has_no_other_answer(tmp_path: Path):
    path = tmp_path / "known_1000.json"
    path.write_text(json.dumps([dict(zip(KEYS, ROWS[3], strict=True))]))
    (beats,) = load_facts("known_1000", path).facts
    assert (beats.previous, beats.target, beats.neighbours) == (None, "Apple", ())


def test_defects_are_skipped_and_listed(tmp_path: Path):
    loaded = load_facts("known_1000", write(tmp_path))
    assert (len(loaded.facts), loaded.read, loaded.stated) == (5, 7, RECORDS)
    assert [name for name, _ in loaded.skipped] == ["4", "6"]
    assert "'Bergen' is not in the prompt" in loaded.skipped[0][1]
    assert len(load_facts("known_1000", write(tmp_path), limit=2).facts) == 2


@needs_shared
def test_the_published_file():
    assert SHARED is not None
    loaded = load_facts("known_1000", SHARED / "data")
    assert (loaded.read, len(loaded.facts), loaded.skipped) == (RECORDS, RECORDS, [])
    first = loaded.facts[0]
    assert (first.subject, first.previous) == ("Vinson Massif", "Antarctica")
    assert first.question == "Vinson Massif is located in the continent of"
    assert sum(fact.previous is None for fact in loaded.facts) == 1
    assert all(fact.target != fact.previous for fact in loaded.facts)
