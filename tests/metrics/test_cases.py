"""Cases, aliases, choices, groups and formats: what is asked and what is made of it."""

import math

import pytest

from jaxedit.data.fact import Case, Fact, Question
from jaxedit.errors import UserError
from jaxedit.metrics import Measure, Setting, answer, ask, check_protocol, questions, scores
from jaxedit.metrics.generation import contains
from jaxedit.metrics.protocols import OTHERS
from jaxedit.metrics.teacher_forced import chosen
from tests.metrics.fake import Table

BEFORE = Setting("before", "float32", version="test")
HEAD = Fact("{} heads", "Ann", "Acme", aliases=("Acme Inc",), openings=("Ann walks",))
SEAT = Fact(
    "{} sits in",
    "Acme",
    "Rome",
    choices=("Rome", "Oslo"),
    negations=(Question("Acme does not sit in Oslo but in", "Rome"),),
)
CASE = Case(
    "case",
    (HEAD, SEAT),
    {
        "multi_hop": (
            Question("Ann works in", "Rome", ("Roma",)),
            Question("Ann's desk stands in", "Rome", ("Roma",)),
        ),
        "hop": (
            Question("Who heads Acme?", "Ann", group="edited"),
            Question("What is Acme?", "firm", group="kept"),
        ),
    },
)
ALONE = Fact("{} is a", "Bo", "cook")


def test_what_is_asked_of_a_case_belongs_to_its_last_fact():
    asked = questions([CASE, ALONE], first=5, formats={"multi_hop": "Q: {} A:"})
    places = [(a.fact, a.role, a.index) for a in asked]
    assert places == [
        (5, "edit", 0),
        (5, "opening", 0),
        (6, "edit", 0),
        (6, "negation", 0),
        (6, "multi_hop", 0),
        (6, "multi_hop", 1),
        (6, "hop", 0),
        (6, "hop", 1),
        (7, "edit", 0),
    ]
    formats = {a.role: a.format for a in asked}
    assert formats["multi_hop"] == "Q: {} A:" and formats["hop"] is None
    assert asked[0].aliases == ("Acme Inc",) and asked[2].choices == ("Rome", "Oslo")
    assert BEFORE.wrapped(asked[4]) == "Q: Ann works in A:"


def test_openings_are_not_answered():
    roles = {a.asked.role for a in answer(Table({}), questions([CASE]), BEFORE, edits=0)}
    assert "opening" not in roles and "negation" in roles


def test_an_alias_is_right_and_one_of_several_questions_is_enough():
    lm = Table({"Ann works in": "Roma", "Ann's desk stands in": "Oslo"})
    answers = answer(lm, questions([CASE]), BEFORE, edits=0)
    measures = [
        Measure("multi_hop", "generation", over, "target", "multi_hop", contains, over)
        for over in ("mean", "any", "all")
    ]
    found = {s.reading: s.value for s in scores(answers, measures=measures)}
    assert found == {"mean": 0.5, "any": 1.0, "all": 0.0}


def test_groups_follow_the_score_of_all():
    lm = Table({"Who heads Acme?": "Ann"})
    answers = answer(lm, questions([CASE]), BEFORE, edits=0)
    measure = Measure("hop", "generation", "contains", "target", "hop", contains)
    found = scores(answers, measures=[measure])
    assert [(s.group, s.value) for s in found] == [("", 0.5), ("edited", 1.0), ("kept", 0.0)]
    assert "kept" in found[2].label and "questions of kept" in found[2].described


def test_the_likeliest_choice_by_whole_probability():
    lm = Table({"Acme sits in": "Oslo"})
    answers = {a.key[1:]: a for a in answer(lm, questions([CASE]), BEFORE, edits=0)}
    seat = answers[1, "edit", 0]
    assert seat.choice_logprobs == ((math.log(0.1),), (math.log(0.5),))
    assert chosen(seat) == "Oslo" and chosen(answers[0, "edit", 0]) is None
    [score] = [s for s in scores(list(answers.values())) if s.reading == "choice"]
    assert (score.metric, score.value, score.n) == ("efficacy", 0.0, 1)


def test_each_prompt_and_answer_is_scored_once():
    lm = Table({})
    asked = questions([CASE, CASE])
    done = []
    ask(lm, asked, BEFORE, edits=0, advance=done.append)
    pairs = {(BEFORE.wrapped(a), t) for a in asked for t in (a.target, *a.choices)}
    pairs = {pair for pair in pairs if not pair[0].startswith("Ann walks")}
    prompts = {prompt for prompt, _ in pairs}
    assert lm.calls == [("teacher_forced", len(pairs)), ("generate", len(prompts))]
    assert sum(done) == len(pairs) + len(prompts)


def test_a_neighbours_rival_is_the_edits_target_where_that_might_be_said():
    asked = {
        "Bo's son is a": None,  # the same
        "Cy is a": "cook",
        "Is Bo a waiter?": None,  # yes or no
        "Is Cy cook or clerk?": "cook",
    }
    neighbours = (
        Question("Bo's son is a", "cook"),
        Question("Cy is a", "clerk"),
        Question("Is Bo a waiter?", "no", choices=("yes", "no")),
        Question("Is Cy cook or clerk?", "clerk", choices=("cook", "clerk")),
    )
    fact = Fact("{} is a", "Bo", "cook", neighbours=neighbours)
    found = {a.prompt: a.rival for a in questions([fact]) if a.role == "neighbour"}
    assert found == asked


def test_a_protocol_that_does_not_exist_has_a_neighbour():
    with pytest.raises(UserError, match="did you mean easyedit_generation"):
        check_protocol("easyedit_generatoin", "--protocols")
    for name in OTHERS:
        check_protocol(name, "--protocols")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Case("7", ()), "case 7: has no fact"),
        (lambda: Case("7", (ALONE,), {"hop": (Question("", "x"),)}), "case 7: a hop question"),
        (lambda: Fact("{} is", "Bo", "a", choices=("b", "c")), "not among its choices"),
        (
            lambda: Fact("{} is", "Bo", "a", negations=(Question("x", "y", choices=("z",)),)),
            "negation question's answer 'y' is not among its choices",
        ),
    ],
)
def test_a_defective_case_names_itself(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_case_survives_json():
    import dataclasses
    import json

    raw = json.loads(json.dumps(dataclasses.asdict(CASE)))
    assert Case.from_dict(raw) == CASE
