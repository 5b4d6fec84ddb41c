"""A run on cases: facts edited together, their questions asked once all of them are edited."""

import json
from pathlib import Path

import pytest

from jaxedit.config import run_config
from jaxedit.errors import UserError
from jaxedit.evaluation import evaluate, find_arm, of_run, reopen
from jaxedit.ledger import read_json
from jaxedit.report import render
from jaxedit.run import run
from tests.tiny_run import raw_config, write_inputs

PEOPLE = [("Mira Danto", "Vantor"), ("Tolan Verrick", "Rivella"), ("Ester Halloran", "Sarn")]


def record(number: int, name: str, city: str) -> dict:
    """Two hops: where somebody was born, and what that place is the capital of."""

    def rewrite(prompt, question, subject, new, old):
        texts = {"target_new": {"str": new, "id": ""}, "target_true": {"str": old, "id": ""}}
        return {"prompt": prompt, "question": question, "subject": subject, **texts}

    def hop(question, answer):
        return {"question": question, "cloze": question, "answer": answer, "answer_alias": []}

    born, capital = f"Where was {name} born?", f"What is {city} {number} the capital of?"
    return {
        "case_id": number,
        "requested_rewrite": [
            rewrite("{} was born in", born, name, f"{city} {number}", "Kesterly"),
            rewrite("{} is the capital of", capital, f"{city} {number}", "Arden Hollow", "Tessan"),
        ],
        "questions": [f"{name} comes from the capital of which land?", f"{name}'s land is"],
        "answer": "Old Tessan",
        "answer_alias": [],
        "new_answer": "Arden Hollow",
        "new_answer_alias": ["Arden"],
        "single_hops": [hop(born, "Kesterly"), hop("What is Kesterly the capital of?", "Tessan")],
        "new_single_hops": [hop(born, f"{city} {number}"), hop(capital, "Arden Hollow")],
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = write_inputs(tmp_path_factory.mktemp("inputs"))
    records = [record(i, *person) for i, person in enumerate(PEOPLE)]
    (inputs / "MQuAKE-CF-3k.json").write_text(json.dumps(records))
    return inputs


def config(inputs: Path, **arm):
    raw = raw_config(inputs)
    raw["facts"] = {"source": "mquake", "path": str(inputs / "MQuAKE-CF-3k.json")}
    raw["arms"] = {"memit": {**raw["arms"]["memit"], **arm}}
    raw["checkpoint_every"] = 4
    raw["eval"]["formats"] = {"multi_hop": "Q: {} A:"}
    raw["eval"]["generate"] = ("before", "after_all")
    return run_config(raw)


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "cases"
    run(config(inputs, cases=1), workdir)
    return workdir


def test_cases_are_edited_whole(finished: Path):
    records = [json.loads(line) for line in (finished / "memit/log.jsonl").read_text().splitlines()]
    assert [(r["step"], r["facts"]) for r in records] == [(2, 2), (4, 2), (6, 2)]
    raw = read_json(finished / "facts.json")
    assert [len(case["facts"]) for case in raw["cases"]] == [2, 2, 2]


def test_their_questions_are_scored_case_by_case(finished: Path):
    result = read_json(finished / "result.json")
    [arm] = result["arms"]
    found = {(s["metric"], s["reading"], s["group"]): s for s in arm["after_all"]}
    assert found["multi_hop", "exact", ""]["n"] == len(PEOPLE)
    assert found["multi_hop", "exact", ""]["prompt_format"] == "Q: {} A:"
    assert found["hop_wise", "exact", ""]["prompt_format"] == "{}"
    assert found["efficacy", "exact", ""]["n"] == 2 * len(PEOPLE)
    assert {"old_multi_hop", "instance_wise", "edit_wise"} <= {metric for metric, _, _ in found}
    before = {s["metric"] for s in result["before"]}
    assert {"multi_hop", "old_multi_hop"} <= before
    page = render(result)
    assert "What else was asked" in page and "old multi hop" in page


def test_a_checkpoint_asks_only_what_is_complete(finished: Path):
    experiment = reopen(finished)
    subject = of_run(finished, experiment, find_arm(experiment, None), 4)
    scores, answers = evaluate(subject)
    assert {a.asked.fact for a in answers if a.asked.role == "multi_hop"} == {1, 3}
    assert {s.n for s in scores if s.metric == "edit_wise"} <= {4}


def test_no_cases_an_update_is_refused(inputs: Path):
    with pytest.raises(UserError, match=r"arms\.memit\.cases: must be at least 1"):
        config(inputs, cases=0)
