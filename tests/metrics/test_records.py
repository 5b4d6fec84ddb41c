import json
import math

import pytest

from jaxedit.data.fact import Fact, Question
from jaxedit.errors import UserError
from jaxedit.metrics import Answer, Setting, answer, questions, read_answers, write_answers
from tests.metrics.fake import Table

PARIS = Fact(
    prompt="The capital of {} is",
    subject="France",
    target="Rome",
    previous="Paris",
    paraphrases=("France's capital is", "France is governed from"),
    neighbours=(Question("The capital of Italy is", "Rome"),),
    portability=(Question("The river of France's capital is the", "Tiber"),),
)
ITALY = Fact(prompt="The capital of {} is", subject="Italy", target="Oslo")
BEFORE = Setting("before", "float32", version="test")


def test_every_question_is_asked_once_with_its_role_and_place():
    asked = questions([PARIS], first=7)
    assert [(a.fact, a.role, a.index, a.target, a.rival) for a in asked] == [
        (7, "edit", 0, "Rome", "Paris"),
        (7, "paraphrase", 0, "Rome", "Paris"),
        (7, "paraphrase", 1, "Rome", "Paris"),
        (7, "neighbour", 0, "Rome", None),
        (7, "portability", 0, "Tiber", None),
    ]


def test_a_neighbour_that_is_itself_edited_is_left_out():
    roles = [a.role for a in questions([PARIS, ITALY]) if a.fact == 0]
    assert "neighbour" not in roles
    assert [a.role for a in questions([PARIS])].count("neighbour") == 1


def test_a_distinct_question_is_answered_once_and_answers_keep_their_order():
    lm = Table({"The capital of France is": "Paris . And"})
    asked = questions([PARIS, PARIS])
    answers = answer(lm, asked, BEFORE, edits=0)
    assert [a.asked for a in answers] == asked
    assert lm.calls == [("teacher_forced", 8), ("generate", 5)]
    first = answers[0]
    assert first.target_ids != first.predicted_ids
    assert first.generated == " Paris . And"
    assert first.generated_ids is not None
    assert len(first.generated_ids) == 3
    assert first.rival_logprobs == (math.log(0.5),)


def test_without_generation_nothing_is_generated():
    lm = Table({})
    answers = answer(lm, questions([PARIS]), BEFORE, edits=0, generation=False)
    assert {a.generated for a in answers} == {None}
    assert {a.generated_ids for a in answers} == {None}
    assert [name for name, _ in lm.calls] == ["teacher_forced"]
    assert answer(lm, [], BEFORE, edits=0) == []


def test_prompts_are_wrapped_in_the_format_of_the_setting():
    lm = Table({"Q: The capital of France is A:": "Rome"})
    setting = Setting("before", "float32", prompt_format="Q: {} A:")
    edit = answer(lm, questions([PARIS]), setting, edits=0)[0]
    assert edit.predicted_ids == edit.target_ids
    assert edit.asked.prompt == "The capital of France is"


def test_answers_survive_their_file(tmp_path):
    answers = answer(Table({}), questions([PARIS]), BEFORE, edits=3)
    path = tmp_path / "raw.jsonl"
    write_answers(path, answers[:2])
    write_answers(path, answers[2:])
    assert read_answers(path) == answers
    assert Answer.from_dict(answers[0].to_dict()) == answers[0]


@pytest.mark.parametrize("broken", ["{", "[]", '{"edits": 1}'])
def test_a_broken_raw_file_names_its_line(tmp_path, broken):
    path = tmp_path / "raw.jsonl"
    write_answers(path, answer(Table({}), questions([ITALY]), BEFORE, edits=0))
    with path.open("a") as file:
        file.write(broken + "\n")
    with pytest.raises(UserError, match=r"raw\.jsonl:2"):
        read_answers(path)


@pytest.mark.parametrize("bad", [math.nan, -math.inf, -1e6])
def test_a_broken_models_log_probabilities_stay_plain_json(bad):
    class Broken(Table):
        def _forced(self, prompt, target):
            return super()._forced(prompt, target)._replace(logprobs=[bad])

    item = answer(Broken({}), questions([ITALY]), BEFORE, edits=0)[0]
    assert item.logprobs == (-500.0,)
    json.dumps(item.to_dict(), allow_nan=False)


def test_a_setting_refuses_what_it_does_not_know():
    with pytest.raises(UserError, match="when"):
        Setting("later", "float32")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="exactly one"):
        Setting("before", "float32", prompt_format="Q:")


def test_an_empty_generation_has_no_ids():
    item = answer(Table({ITALY.question: " "}), questions([ITALY]), BEFORE, edits=0)[0]
    assert (item.generated, item.generated_ids) == ("  ", ())
