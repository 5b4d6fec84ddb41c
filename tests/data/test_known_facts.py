"""Facts for causal tracing, and what becomes of them as edits."""

import json
from pathlib import Path

import pytest

from jaxedit.data.fact import Question
from jaxedit.data.known_facts import RECORDS, find_known, read_known
from jaxedit.errors import UserError
from tests.shared import SHARED, needs_shared

KEYS = ("known_id", "prompt", "subject", "attribute", "relation_id")
ROWS = (
    (0, "Rome is the capital of", "Rome", "Italy", "P36"),
    (1, "The capital Oslo lies in Oslo in", "Oslo", "Norway", "P36"),
    (2, "Turin is a city in", "Turin", "Italy", "P36"),
    (3, "Beats is owned by", "Beats", "Apple", "P127"),
    (4, "Nobody is here", "Bergen", "Norway", "P36"),
)


def write(directory: Path) -> Path:
    path = directory / "known_1000.json"
    records = [dict(zip(KEYS, row, strict=True)) for row in ROWS]
    path.write_text(json.dumps([*records, "no record"]))
    return path


def test_records_become_counterfactual_edits(tmp_path: Path):
    loaded = read_known(write(tmp_path))
    rome, oslo, turin, beats = loaded.facts
    assert (rome.previous, rome.target, rome.question) == ("Italy", "Norway", ROWS[0][1])
    assert (oslo.previous, oslo.target) == ("Norway", "Italy")
    assert oslo.prompt == "The capital {} lies in Oslo in"  # the first occurrence
    assert (turin.previous, turin.id) == ("Italy", "known-2")
    # Those with the same answer first.
    assert rome.neighbours == (
        Question("Turin is a city in", "Italy"),
        Question("The capital Oslo lies in Oslo in", "Norway"),
    )
    # A relation with one attribute has no other answer.
    assert (beats.previous, beats.target, beats.neighbours) == (None, "Apple", ())


def test_defects_are_skipped_and_listed(tmp_path: Path):
    loaded = read_known(write(tmp_path), limit=2)
    assert (len(loaded.facts), loaded.read, loaded.stated) == (2, 6, RECORDS)
    assert [name for name, _ in loaded.skipped] == ["4", "5"]
    assert "'Bergen' is not in the prompt" in loaded.skipped[0][1]


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JAXEDIT_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"known_1000\.json: no such file; it holds 1,209 facts"):
        find_known()
    assert write(tmp_path) == find_known()


@needs_shared
def test_the_published_file():
    assert SHARED is not None
    loaded = read_known(SHARED / "data" / "known_1000" / "known_1000.json.gz")
    assert (loaded.read, len(loaded.facts), loaded.skipped) == (RECORDS, RECORDS, [])
    first = loaded.facts[0]
    assert (first.subject, first.previous) == ("Vinson Massif", "Antarctica")
    assert first.question == "Vinson Massif is located in the continent of"
    assert sum(fact.previous is None for fact in loaded.facts) == 1
    assert all(fact.target != fact.previous for fact in loaded.facts)
