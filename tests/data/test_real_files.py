"""Every record of the published files, where they are at hand."""

from collections import Counter
from functools import cache

import pytest

from jaxedit.data import ckebench, mquake
from jaxedit.data.datasets import load_facts
from jaxedit.data.inventory import kind_of
from tests.shared import SHARED, needs_shared

pytestmark = needs_shared
CONTRADICTS = "contradicts record ..."
FILES = [
    ("counterfact", 1_276, {}),
    ("counterfact-portability", 1_031, {}),
    ("counterfact-edit", 10_000, {CONTRADICTS: 79}),
    ("counterfact-train", 10_000, {CONTRADICTS: 74}),
    ("counterfact-val", 1_919, {CONTRADICTS: 7}),
    ("zsre-portability", 800, {}),
    ("zsre-train-10000", 10_000, {"the target is empty": 35}),
    ("zsre-knowedit", 1_304, {CONTRADICTS: 10}),
    ("mquake-all", 3_000, {}),
    ("elken", 887, {"nothing is asked about the event": 1}),
    ("elken-train", 677, {}),
    ("elken-facts", 887,
     {"no question about the event has a known answer": 442, CONTRADICTS: 19}),
    ("20q", 2_505, {"no subject is annotated": 23, CONTRADICTS: 1}),
    ("20q-probe", 379, {}),
    ("pep3k-verb", 1_531, {"no verb is annotated": 1}),
    ("pep3k-probe", 265, {}),
    ("ckd", 4_000, {}),
    ("unke", 1_000, {}),
    ("editevery", 552, {CONTRADICTS: 10}),
    ("concept", 452, {}),
    ("qaedit", 1_000, {}),
]  # fmt: skip


@cache
def load(source, **more):
    assert SHARED is not None
    return load_facts(source, SHARED / "data", **more)


@pytest.mark.parametrize(("source", "records", "defects"), FILES)
def test_every_record_is_good_or_a_known_defect(source, records, defects):
    loaded = load(source)
    assert loaded.read == records
    assert len(loaded.cases) + len(loaded.skipped) == records
    assert Counter(kind_of(reason) for _, reason in loaded.skipped) == defects
    assert len({case.id for case in loaded.cases}) == len(loaded.cases)
    for fact in loaded.facts:
        assert fact.subject in fact.question
        assert fact.previous != fact.target
        assert not fact.question.endswith(fact.target)


@pytest.mark.parametrize("source", [name for name, _, _ in FILES if name[:4] in ("coun", "zsre")])
def test_facts_of_the_classics_have_everything(source):
    assert all(fact.paraphrases and fact.neighbours for fact in load(source).facts)


def test_counterfact_and_zsre():
    flat = load("counterfact-edit")
    assert flat.stated == 10_000
    there = {reason.split("target")[0] for _, reason in flat.skipped}
    assert len(there) == 62  # records that others contradict: as many prompts
    original = load("counterfact")
    assert original.stated == 21_919
    assert {len(f.neighbours) for f in original.facts} == {10}
    assert {len(f.paraphrases) for f in original.facts} == {2}
    assert all(f.openings and f.group for f in original.facts)
    assert sum(f.previous is None for f in load("zsre-train-10000").facts) == 246
    knowedit = load("zsre-knowedit")
    assert {len(f.neighbours) for f in knowedit.facts} == {2}
    groups = Counter(q.group for f in knowedit.facts for q in f.portability)
    assert set(groups) == {"Reasoning", "Subject_Aliasing", "Logical_Generalization"}


def test_a_hundred_good_facts_by_seed():
    loaded = load("zsre-train-10000", limit=100, seed=3)
    assert len(loaded.facts) == 100
    assert SHARED is not None
    again = load_facts("zsre-train-10000", SHARED / "data", limit=100, seed=3)
    assert again.facts == loaded.facts


def test_mquake_counts_what_spoils_what():
    cases = load("mquake-all").cases
    facts = [fact for case in cases for fact in case.facts]
    assert len(facts) == 6_015
    assert len({(fact.prompt, fact.subject, fact.target) for fact in facts}) == 2_786
    edited: dict[str, set[str]] = {}
    for fact in facts:
        edited.setdefault(fact.paraphrases[0], set()).add(fact.target)
    spoilt = [
        any(h.group == mquake.KEPT and edited.get(h.prompt, {h.answer}) != {h.answer}
            for h in case.questions["hop"])
        for case in cases
    ]  # fmt: skip
    assert sum(spoilt) == 998


def test_what_the_filter_of_mquake_leaves_is_consistent():
    loaded = load("mquake", seed=0)
    assert 1_900 < len(loaded.cases) < 2_200
    edited = {fact.paraphrases[0]: fact.target for fact in loaded.facts}
    for case in loaded.cases:
        assert all(edited[fact.paraphrases[0]] == fact.target for fact in case.facts)
        for hop in case.questions["hop"]:
            assert edited.get(hop.prompt, hop.answer) == hop.answer


def test_elken_counts():
    cases = load("elken").cases
    asked = {role: [q for c in cases for q in c.questions[role]] for role in cases[0].questions}
    assert {role: len(questions) for role, questions in asked.items()} == {
        "event_fact": 2_171, "event_local": 1_982, "tendency": 3_968, "tendency_local": 940
    }  # fmt: skip
    assert Counter(q.group for q in asked["event_fact"])["unknown"] == 797
    assert Counter(q.answer for q in asked["tendency"]) == {"A": 1_988, "B": 1_980}
    assert {q.answer for q in asked["tendency_local"]} == {"C"}
    train = load("elken-train").cases
    both = [*cases, *train]
    count = {r: sum(len(c.questions[r]) for c in both) for r in asked}
    assert count["event_fact"] + count["event_local"] == 6_449
    assert count["tendency"] + count["tendency_local"] == 10_150


def test_ckd_is_cut_everywhere():
    loaded = load("ckd")
    notes = dict(loaded.notes)
    assert (notes[ckebench.CUT], notes[ckebench.BLANK], notes[ckebench.OWN]) == (4_000, 997, 171)
    assert notes[ckebench.ODD] == 50  # of ten records, whose instances name nobody in the event
    for fact in loaded.facts:
        assert not any(text.endswith(fact.target) for text in fact.paraphrases)
        assert len(fact.portability) in (0, 5)
        for asked in fact.portability:
            assert "PersonX" not in asked.answer and " to to " not in asked.prompt
            assert not (asked.prompt.endswith(" to") and asked.answer.startswith("to "))
