"""What is in the world, what is held out of training, and what edits ask."""

import dataclasses
import itertools
import random

import pytest

from jaxedit.data.factworld import (
    World,
    corpus,
    downstream,
    edits,
    forms,
    statements,
    training_rows,
)
from jaxedit.data.factworld.edits import POOLS, SHOWN, TUNING
from jaxedit.data.factworld.relations import HOPS, N_PHRASINGS

WORLD = World(0)
MANY = 20_000  # training rows: every (fact, phrasing) pair comes in about 6,000 of them


@pytest.fixture(scope="module")
def sentences():
    """The sentences of many training rows."""
    rows = itertools.islice(training_rows(WORLD, 0), MANY)
    return {row.text[a:b] for row in rows for a, b in row.parts}


def test_a_seed_decides_everything():
    assert World(3).facts == World(3).facts
    assert corpus(World(3), 50) == corpus(World(3), 50)
    assert edits(World(3), 20) == edits(World(3), 20)
    assert downstream(World(3), 5) == downstream(World(3), 5)
    assert corpus(WORLD, 50) != corpus(WORLD, 50, seed=1)


def test_worlds_share_geography_and_elements_but_no_people():
    other = World(1)
    shared = {fact.subject for fact in WORLD.facts} & {fact.subject for fact in other.facts}
    assert {"France", "Paris", "helium"} <= shared
    assert not set(WORLD.people) & set(other.people)
    assert len(set(WORLD.people) & shared) == 0


def test_twenty_relations_one_object_each():
    assert len(WORLD.relations) == 20
    assert len(WORLD.truth) == len(WORLD.facts) > 1800
    for relation in WORLD.relations.values():
        phrasings = (*relation.phrasings, relation.unseen)
        assert len(set(phrasings)) == N_PHRASINGS + 1
        assert all(phrasing.count("{}") == 1 for phrasing in phrasings)
    assert WORLD.truth["France", "capital"] == "Paris"
    assert WORLD.truth["Paris", "country"] == "France"


def test_names_share_their_words():
    """A word of a name alone does not say whom it is about."""
    families = [name.split()[1] for name in WORLD.people]
    assert len(set(families)) < 0.6 * len(families)


def test_held_out_statements_are_never_trained_on(sentences):
    for fact in WORLD.facts:
        assert forms.statement(fact, WORLD.held_out(fact)).text not in sentences
        assert forms.statement(fact, WORLD.relations[fact.relation].unseen).text not in sentences


def test_all_other_statements_are_trained_on(sentences):
    pairs = [(fact, phrasing) for fact in WORLD.facts for phrasing in WORLD.trained(fact)]
    assert all(forms.statement(*pair).text in sentences for pair in pairs)


def test_each_phrasing_is_trained_with_other_subjects():
    for name, facts in WORLD.by_relation.items():
        for phrasing in WORLD.relations[name].phrasings:
            assert any(phrasing in WORLD.trained(fact) for fact in facts)


def test_the_completion_is_a_trained_one():
    for fact in WORLD.facts:
        assert WORLD.completion(fact) in WORLD.trained(fact)
        assert not WORLD.completion(fact).startswith("Q:")


def test_downstream_items_are_never_trained_on(sentences):
    for name, items in {**downstream(WORLD), "statements": statements(WORLD)}.items():
        for item in items:
            right = f"{item.prompt} {item.choices[item.answer]}".removesuffix(".")
            assert right not in sentences, name
            assert len(set(item.choices)) == len(item.choices)
            assert 0 <= item.answer < len(item.choices)


def test_as_many_statements_are_true_as_false():
    items = statements(WORLD, 60)
    assert [item.choices[item.answer] for item in items].count("yes") == 30 == len(items) / 2


def test_spans_of_rows_mark_subjects_and_answers():
    for row in itertools.islice(training_rows(WORLD, 5), 500):
        for part, start, end in (*row.subjects, *row.answers):
            a, b = row.parts[part]
            assert a <= start < end <= b
            assert row.text[start:end] == row.text[start:end].strip()
        assert len(row.answers) == len(row.parts)


def test_two_hops_follow_two_facts():
    for hop in HOPS:
        fact = WORLD.by_relation[hop.first][0]
        row = forms.two_hop(WORLD, fact.subject, hop)
        assert row.answer == WORLD.truth[WORLD.truth[fact.subject, hop.first], hop.second]


def test_yes_and_no_are_right():
    rng = random.Random(0)
    for fact, negated in itertools.product(WORLD.facts[:40], (False, True)):
        row = forms.yes_no(WORLD, fact, rng, negated)
        said = row.prompt.removesuffix("? A:").endswith(
            WORLD.completion(fact).replace("{}", fact.subject) + " " + fact.object
        )
        assert row.answer == ("yes" if said != negated else "no")


@pytest.mark.parametrize("seed", [TUNING, SHOWN])
def test_edits_are_counterfactual_and_ask_for_what_follows(seed):
    facts = edits(WORLD, 200, seed)
    assert len({fact.id for fact in facts}) == len(facts)
    for fact in facts:
        subject, relation = fact.id.split("/")
        assert fact.previous == WORLD.truth[subject, relation] != fact.target
        assert fact.target in WORLD.objects[relation]
        assert fact.question not in fact.paraphrases and len(fact.paraphrases) == 5
        assert all(subject in paraphrase for paraphrase in fact.paraphrases)
        assert not any(paraphrase.endswith(" ") for paraphrase in fact.paraphrases)
        assert dataclasses.replace(fact) == fact  # still a valid record


def test_neighbours_are_true_and_about_others():
    truths = {
        (forms.statement(fact, p).prompt, fact.object)
        for fact in WORLD.facts
        for p in WORLD.trained(fact)
    }
    for fact in edits(WORLD, 100):
        assert len(fact.neighbours) == 5
        for question in fact.neighbours:
            assert (question.prompt, question.answer) in truths
            assert question.prompt != fact.question


def test_portability_follows_the_target():
    asked = [fact for fact in edits(WORLD, 200) if fact.portability]
    assert asked
    for fact in asked:
        hops = [hop for hop in HOPS if hop.first == fact.id.split("/")[1]]
        answers = {WORLD.truth[fact.target, hop.second] for hop in hops}
        assert {question.answer for question in fact.portability} <= answers


def test_pools_share_no_fact_and_repeat_subjects_late():
    pools = [
        {fact.id for fact in edits(WORLD, len(WORLD.facts[seed::POOLS]), seed)}
        for seed in range(POOLS)
    ]
    assert sum(map(len, pools)) == len(WORLD.facts) == len(set.union(*pools))
    first = [fact.subject for fact in edits(WORLD, 100)]
    assert len(set(first)) == len(first)


def test_a_pool_has_an_end():
    with pytest.raises(ValueError, match="a pool has"):
        edits(WORLD, 10_000)
