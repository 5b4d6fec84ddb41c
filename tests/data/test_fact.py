from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jaxedit.data.fact import Fact, Question, template
from jaxedit.errors import UserError

GOOD: dict[str, Any] = {"prompt": "{} is in", "subject": "Paris", "target": "France", "id": "7"}


def test_the_question_is_the_filled_prompt():
    assert Fact(**GOOD).question == "Paris is in"
    assert Fact("{x} {} {y", "a{}b", "t").question == "{x} a{}b {y"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject": " "}, "subject is empty"),
        ({"prompt": "Paris is in"}, "0 slots"),
        ({"prompt": "{} is {}"}, "2 slots"),
        ({"target": ""}, "target is empty"),
        ({"target": " \n"}, "target is empty"),
        ({"target": " France"}, "white space"),
        ({"paraphrases": ("",)}, "paraphrase is empty"),
        ({"neighbours": (Question(" ", "x"),)}, "neighbour"),
        ({"neighbours": (Question("x", ""),)}, "neighbour"),
        ({"portability": (Question("", "x"),)}, "portability"),
    ],
)
def test_a_bad_fact_names_itself_and_what_is_wrong(change, message):
    with pytest.raises(UserError, match=f"fact 7: .*{message}"):
        Fact(**GOOD | change)


@pytest.mark.parametrize(
    ("prompt", "subject", "expected"),
    [
        ("Paris is in", "Paris", "{} is in"),
        ("{} is in", "Paris", "{} is in"),
        ("Paris, Texas: Paris is in", "Paris", "Paris, Texas: {} is in"),
        ("Paris is loved by Parisians", "Paris", "{} is loved by Parisians"),
        ("Parisians love", "Paris", "{}ians love"),
        ("東京は", "東京", "{}は"),
        ("AT&T's boss is", "AT&T", "{}'s boss is"),
    ],
)
def test_the_subjects_last_place_becomes_the_slot(prompt, subject, expected):
    assert template(prompt, subject) == expected


@pytest.mark.parametrize(
    ("prompt", "subject"), [("Rome is in", "Paris"), ("paris is in", "Paris"), ("Rome", "")]
)
def test_a_subject_that_is_not_there_is_an_error(prompt, subject):
    with pytest.raises(UserError, match="does not occur"):
        template(prompt, subject)


@given(st.text(), st.text(min_size=1), st.text())
def test_filling_a_made_template_gives_the_prompt_back(left, subject, right):
    prompt = left + subject + right
    assume("{}" not in prompt)
    made = template(prompt, subject)
    assume(made.count("{}") == 1)
    assert made.replace("{}", subject) == prompt
