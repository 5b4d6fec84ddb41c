"""Downstream tests along a run: when they are scored, kept, resumed, drawn and refused."""

from pathlib import Path
from typing import Any

import pytest

from jaxedit import driver, task_plots
from jaxedit.config import run_config
from jaxedit.downstream import open_battery
from jaxedit.downstream.ability import Ability
from jaxedit.errors import UserError
from jaxedit.ledger import Ledger, read_json
from jaxedit.run import run
from tests.tiny_run import raw_config, write_inputs

TESTS = 7  # of the embedded world


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs"), facts=4)


def config(inputs: Path, **changes: Any):
    raw = raw_config(inputs)
    arm = raw["arms"]["memit"]
    ev = {"every": 2, "generate": (), "immediate": True, "tasks": ("world",), "tasks_limit": 1}
    arms = {"memit": arm, "again": arm, "singly": {**arm, "alone": True}}
    return run_config({**raw, "arms": arms, "eval": {**ev, **changes}})


class Killed(BaseException):
    """As a kill: nothing may catch it."""


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A run that dies once while it writes tests' scores, and goes on; how often it asked."""
    workdir, asked = tmp_path_factory.mktemp("runs") / "run", []
    append, score = Ledger.append, driver.edited_abilities

    def dies(self: Ledger, record: dict[str, Any]) -> None:
        if record["step"] == 4 and record.get("kind") == "tasks":
            raise Killed
        append(self, record)

    def counted(*arguments: Any) -> list[Ability]:
        asked.append(1)
        return score(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "edited_abilities", counted)
        with patch.context() as kill:
            kill.setattr(Ledger, "append", dies)
            with pytest.raises(Killed):
                run(config(inputs), workdir)
        run(config(inputs), workdir)
    return workdir, asked


def test_they_are_scored_before_along_and_after(finished):
    workdir, asked = finished
    result = read_json(workdir / "result.json")
    for arm in result["arms"][:2]:
        assert [record["step"] for record in arm["tasks"]] == [0, 2, 4]
        for record in arm["tasks"]:
            assert len(record["scores"]) == TESTS
            for score in record["scores"]:
                assert score["n"] == 1 and score["chance"] in (0.25, 0.5) and score["limit"] == 1
    first, second = (arm["tasks"] for arm in result["arms"][:2])
    assert first == second  # the arms are alike, but only one was killed
    assert first[0]["scores"] == read_json(workdir / "before_tasks.json")
    assert len(asked) == 1 + 2 + 1 + 2  # once unedited; the point that was lost is scored again


def test_an_arm_that_edits_alone_has_none(finished):
    singly = read_json(finished[0] / "result.json")["arms"][2]
    assert singly["name"] == "singly" and "tasks" not in singly


def test_the_report_draws_a_panel_an_arm(finished):
    result = read_json(finished[0] / "result.json")
    (picture,) = task_plots.pictures(result)
    assert len(picture.panels) == 2 and "four choice" in picture.panels[0]
    assert picture.caption.startswith("Share of a test's items") and "1 items a test" in (
        picture.caption
    )
    assert picture.title in (finished[0] / "report.html").read_text()
    bare = {**result, "arms": [result["arms"][2]]}
    assert task_plots.pictures(bare) == []


def test_perplexities_have_a_panel_of_their_own_and_broken_models_leave_gaps():
    def record(step: int, share: float, words: float | None) -> dict[str, Any]:
        own = {"n": 9, "interval": [0.1, 0.3], "harness": "lm-eval 1"}
        arc = {"task": "arc_challenge", "metric": "acc_norm", "value": share, "chance": 0.25}
        other = {**arc, "metric": "acc", "value": 0.99}
        text = {"task": "wikitext", "metric": "word_perplexity", "value": words, "chance": None}
        return {"step": step, "scores": [one | own for one in (other, arc, text)]}

    records = [record(0, 0.4, 20.0), record(9, 0.3, None)]
    arm = {"name": "a", "title": "A", "edits": 9, "tasks": records}
    curves = task_plots.task_curves(arm)
    assert [(x, s["value"]) for x, s in curves["arc_challenge"]] == [(0, 0.4), (9, 0.3)]
    assert [x for x, _ in curves["wikitext"]] == [0]
    (picture,) = task_plots.pictures({"arms": [arm], "model": {"d_ff": 100}})
    assert len(picture.panels) == 2 and "9 edits = 9.0 % of d_ff 100" in picture.caption
    assert "intervals of up to 10 points" in picture.caption


def test_they_change_no_hash_unless_there_are_any(inputs):
    plain = run_config(raw_config(inputs))
    ev = {**raw_config(inputs)["eval"], "tasks": (), "tasks_data": None, "tasks_shots": None}
    assert run_config(raw_config(inputs, eval=ev)).hash == plain.hash
    assert run_config(raw_config(inputs, eval={**ev, "tasks": ("world",)})).hash != plain.hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ("word",)}, r"--config.eval.tasks: there is no task 'word'; did you mean world"),
        ({"tasks": ("world", "mmlu")}, "--config.eval.tasks_data: mmlu needs the folder"),
        ({"tasks_limit": 0}, "--config.eval.tasks_limit: must be at least 1"),
        ({"tasks_shots": -1}, "--config.eval.tasks_shots: -1 is negative"),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(inputs, changes, message):
    with pytest.raises(UserError, match=message):
        config(inputs, **changes)


def test_a_model_without_likelihoods_has_none(inputs):
    class Mixture:
        likelihoods = False

    asking = driver.Asking((), {}, frozenset(), battery=open_battery(["world"], limit=1))
    assert driver.edited_abilities(Mixture(), asking) == []
    assert driver.edited_abilities(object(), driver.Asking((), {}, frozenset())) == []
