"""The edits in other forms: the same facts, what is false in the world, true neighbours."""

import pytest

from jaxedit.data.datasets import load_facts
from jaxedit.data.fact import Fact
from jaxedit.data.factworld import FORMS, World, askable, asked_edit, edits, forms
from jaxedit.data.factworld.edits import SHOWN, TUNING
from jaxedit.errors import UserError

WORLD = World(0)
N = 60


@pytest.fixture(scope="module")
def made() -> dict[str, list[Fact]]:
    return {form: [asked_edit(WORLD, form, f) for f in askable(WORLD, form)[:N]] for form in FORMS}


@pytest.fixture(scope="module")
def trained() -> set[str]:
    """All statements and questions that occur in training, as prompt and answer."""
    return {
        forms.statement(fact, phrasing).text
        for fact in WORLD.facts
        for phrasing in WORLD.trained(fact)
    }


def listed(prompt: str) -> list[str]:
    return prompt.rsplit(" Is it ", 1)[1].removesuffix("? A:").split(" or ")


def said(prompt: str) -> str:
    """The statement that a yes-or-no question asks about."""
    return prompt.removesuffix("? A:").split(" that ", 1)[1]


def test_completions_are_the_plain_edits(made):
    assert made["completion"] == edits(WORLD, N)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", [TUNING, SHOWN])
def test_the_same_facts_in_the_same_order(form, seed):
    plain = edits(WORLD, 100, seed)
    own = [asked_edit(WORLD, form, fact, seed, 0) for fact in askable(WORLD, form, seed)[:20]]
    kept = [f for f in plain if form != "event" or f.group in forms.EVENTFUL][: len(own)]
    assert [f.id for f in own[: len(kept)]] == [f.id for f in kept]
    for fact, other in zip(own, kept, strict=False):
        assert fact.target == other.target or form == "statement"
        assert fact.subject == other.subject and fact.question.count(fact.subject) >= 1


def test_what_is_edited_is_false_in_the_world(made):
    for form in ("question", "choice"):
        for fact in made[form]:
            assert fact.previous == WORLD.truth[fact.subject, fact.group] != fact.target
    for fact in made["event"]:
        truth = WORLD.truth[fact.subject, fact.group]
        assert len({truth, fact.target, fact.previous}) == 3
        assert f" {fact.previous}. {fact.subject} " in fact.question
        assert fact.prompt.index("{}") > fact.prompt.index(fact.subject)  # read where it is last
    for fact in made["statement"]:
        truth = WORLD.truth[fact.subject, fact.group]
        is_true = said(fact.question).endswith(f" {truth}")
        assert fact.target == ("no" if is_true else "yes") != fact.previous
        [negation] = fact.negations
        assert said(negation.prompt) == said(fact.question) and negation.answer == fact.previous


def test_about_as_many_are_affirmed_as_denied(made):
    assert 0.3 < sum(fact.target == "yes" for fact in made["statement"]) / N < 0.7


def test_questions_are_trained_ones_and_their_paraphrases_the_other_phrasings(made, trained):
    for fact in made["question"]:
        assert fact.question.startswith("Q: ") and len(fact.paraphrases) == 5
        assert f"{fact.question} {fact.previous}" in trained
        for question in fact.neighbours:
            assert question.prompt.startswith("Q: ")
            assert f"{question.prompt} {question.answer}" in trained


def test_options_hold_the_truth_and_the_target_in_every_order(made):
    for fact in made["choice"]:
        orders = [listed(prompt) for prompt in (fact.question, *fact.paraphrases)]
        assert len(set(map(tuple, orders))) == 3
        assert all(sorted(order) == sorted(fact.choices) for order in orders)
        assert {fact.target, fact.previous} <= set(fact.choices)
        assert len(set(fact.choices)) == min(4, len(WORLD.objects[fact.group]))


def test_neighbours_are_about_others_and_true(made):
    for form in ("choice", "statement", "event"):
        for fact in made[form]:
            assert len(fact.neighbours) == 5
            known = [other.subject for other in WORLD.by_relation[fact.group]]
            for near in fact.neighbours:
                found = [(near.prompt.index(o), -len(o), o) for o in known if o in near.prompt]
                subject = min(found)[2]  # the first, and where two begin there, the longer
                assert subject != fact.subject
                truth = WORLD.truth[subject, fact.group]
                if form == "choice":
                    assert near.answer == truth and near.choices == tuple(listed(near.prompt))
                elif form == "statement":
                    true = said(near.prompt).endswith(f" {truth}")
                    assert near.answer == ("yes" if true else "no")
                else:
                    assert near.prompt.startswith(f"Event: {subject} ") and near.answer != truth


@pytest.mark.parametrize("form", FORMS[1:])
def test_each_form_is_a_source(form):
    loaded = load_facts(f"embedded-{form}:llama", limit=3, seed=TUNING)
    facts = askable(WORLD, form, TUNING)
    assert loaded.facts == [asked_edit(WORLD, form, fact, TUNING) for fact in facts[:3]]
    assert loaded.stated == len(facts)
    parts = [load_facts(f"embedded-{form}:gptj", limit=4, split=s).facts for s in ("train", "test")]
    assert not {fact.id for fact in parts[0]} & {fact.id for fact in parts[1]}


@pytest.mark.parametrize("source", ["embedded-quest:gptj", "embedded-event:t5", "embedded"])
def test_an_unknown_form_or_model_is_refused_with_those_that_are(source):
    known = f"{source}.*known are embedded:gptj.*embedded-event:"
    with pytest.raises(UserError, match=known) as error:
        load_facts(source)
    assert "\n" not in str(error.value)
