"""Every record of the published files, where they are at hand."""

import os
from pathlib import Path

import pytest

from jaxedit.data.datasets import load_facts

SHARED = os.environ.get("JAXEDIT_SHARED")
pytestmark = pytest.mark.skipif(not SHARED, reason="the data sets' files need JAXEDIT_SHARED")

FILES = [
    ("counterfact", "counterfact/counterfact.json.gz", 1276, {}),
    ("counterfact", "counterfact/counterfact_portability_gpt4.json.gz", 1031, {}),
    ("counterfact-edit", "counterfact/counterfact-edit.json.gz", 10_000, {"contradicts": 79}),
    ("counterfact-train", "counterfact/counterfact-train.json.gz", 10_000, {"contradicts": 74}),
    ("counterfact-val", "counterfact/counterfact-val.json.gz", 1919, {"contradicts": 7}),
    ("zsre", "zsre/zsre_mend_eval_portability_gpt4.json.gz", 800, {}),
    ("zsre-train", "zsre/zsre_mend_train_10000_full.json.gz", 10_000, {"target is empty": 35}),
    ("zsre-knowedit", "zsre/ZsRE-test-all.json.gz", 1304, {"contradicts": 10}),
]


def load(source, file, **more):
    return load_facts(source, Path(SHARED or "", "data", file), **more)


@pytest.mark.parametrize(("source", "file", "records", "defects"), FILES)
def test_every_record_is_a_fact_or_a_known_defect(source, file, records, defects):
    loaded = load(source, file)
    assert loaded.read == records
    assert len(loaded.facts) + len(loaded.skipped) == records
    found = {d: sum(d in reason for _, reason in loaded.skipped) for d in defects}
    assert found == defects
    assert len(loaded.skipped) == sum(defects.values())
    for fact in loaded.facts:
        assert fact.subject in fact.question
        assert fact.paraphrases
        assert fact.neighbours
        assert fact.previous != fact.target


def test_what_the_files_hold():
    flat = load("counterfact-edit", FILES[2][1])
    assert flat.stated == 10_000
    assert len(dict.fromkeys(name for name, _ in flat.skipped)) == 79
    original = load("counterfact", FILES[0][1])
    assert original.stated == 21_919
    assert {len(f.neighbours) for f in original.facts} == {10}
    assert {len(f.paraphrases) for f in original.facts} == {2}
    train = load("zsre-train", FILES[6][1])
    assert sum(f.previous is None for f in train.facts) == 246
    knowedit = load("zsre-knowedit", FILES[7][1])
    assert {len(f.neighbours) for f in knowedit.facts} == {2}


def test_a_hundred_good_facts_by_seed():
    loaded = load("zsre-train", FILES[6][1], limit=100, seed=3)
    assert len(loaded.facts) == 100
    again = load("zsre-train", FILES[6][1], limit=100, seed=3)
    assert again.facts == loaded.facts
