"""A run writes everything, goes on after any interruption, and can be asked afterwards."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxedit import readings
from jaxedit.checkpoints import Checkpoints
from jaxedit.config import FactsConfig, run_config
from jaxedit.editors import Memit
from jaxedit.errors import UserError
from jaxedit.evaluation import evaluate, find_arm, of_model, of_run, reopen, restore
from jaxedit.experiment import open_experiment
from jaxedit.generate import side_by_side
from jaxedit.ledger import Ledger, locked, read_json
from jaxedit.metrics import Answer, Score
from jaxedit.metrics.fluency import FLUENCY
from jaxedit.metrics.protocols import OTHERS
from jaxedit.metrics.records import OURS
from jaxedit.models.loading import load_model, save_hf
from jaxedit.report import write_report
from jaxedit.run import run
from jaxedit.runner import check_workdir
from tests.tiny_run import raw_config, write_inputs

RECORDS = ("metrics.jsonl", "generations.jsonl", "after_all.jsonl")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    run(run_config(raw_config(inputs)), workdir)
    return workdir


def numbers(workdir: Path) -> dict:
    """Everything in a run directory that must not depend on when it was interrupted."""
    kept = {
        f"{arm}/{name}": (workdir / arm / name).read_bytes()
        for arm in ("memit", "d4s")
        for name in RECORDS
    }
    result = read_json(workdir / "result.json")
    for arm in result["arms"]:
        del arm["timing"]
    return kept | {"before": (workdir / "before.jsonl").read_bytes(), "result": result}


def tree(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_result_has_every_number_with_its_protocol(finished: Path):
    result = read_json(finished / "result.json")
    assert [arm["name"] for arm in result["arms"]] == ["memit", "d4s"]
    for arm in result["arms"]:
        assert arm["edits"] == 6
        assert [point["step"] for point in arm["along"]] == [2, 4]
        assert [record["step"] for record in arm["norms"]] == list(range(7))
        assert [record["fact"] for record in arm["edit_log"]] == list(range(6))
        assert arm["settings"]["values"]["steps"] == 4 and arm["layers"] == [1, 2]
        for moment in ("immediate", "after_all"):
            names = {(score["metric"], score["decoding"]) for score in arm[moment]}
            assert {("efficacy", "teacher_forced"), ("locality", "teacher_forced")} <= names
        for score in [*arm["immediate"], *arm["after_all"]]:
            assert score["n"] and score["dtype"] == "float32" and len(score["interval"]) == 2
        assert ("efficacy", "generation") in {
            (score["metric"], score["decoding"]) for score in arm["after_all"]
        }
    assert result["facts"] == {
        "source": "jsonl",
        "path": result["config"]["facts"]["path"],
        "stated": 6,
        "read": 6,
        "edited": 6,
        "skipped": [],
        "notes": [],
        "drawn": {"seed": None, "order": "file", "split": None},
    }


def test_norms_start_at_the_unedited_model_and_move(finished: Path):
    records = Ledger(finished / "d4s" / "metrics.jsonl").read()
    norms = [record["layers"] for record in records if record["kind"] == "norms"]
    for name in ("layers_1/mlp.down", "layers_2/mlp.down"):
        assert norms[0][name]["delta_l1"] == 0
        assert norms[1][name]["delta_l1"] > 0


def test_the_report_opens_without_a_network(finished: Path):
    page = (finished / "report.html").read_text()
    assert page.count("<svg") >= 6
    for word in ("<script", "<link", "@import", "src="):
        assert word not in page
    for title in ("MEMIT one by one", "D4S", "What was found", "Hyper-parameters", "protocol"):
        assert title in page


def test_the_report_can_be_rebuilt_from_the_records(finished: Path, tmp_path: Path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "result.json").unlink()
    (copy / "report.html").unlink()
    write_report(copy)
    assert read_json(copy / "result.json") == read_json(finished / "result.json")
    assert (copy / "report.html").read_text() == (finished / "report.html").read_text()


def test_a_finished_run_is_left_as_it_is(inputs: Path, finished: Path):
    before = tree(finished)
    run(run_config(raw_config(inputs)), finished)
    after = tree(finished)
    assert before == after


class Killed(BaseException):
    """As a kill: nothing may catch it."""


@pytest.mark.parametrize("appends", [0, 3, 15, 20, 26, 40, 57])
def test_an_interrupted_run_ends_with_the_same_numbers(
    inputs: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, appends: int
):
    """The process dies in the middle of writing its n-th record."""
    workdir, left, append = tmp_path / "run", [appends], Ledger.append

    def dies(self, record):
        if not left[0]:
            with open(self.path, "ab") as file:
                file.write(b'{"step": 1, "torn')
            raise Killed
        left[0] -= 1
        append(self, record)

    config = run_config(raw_config(inputs))
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", dies)
        with pytest.raises(Killed):
            run(config, workdir)
    run(config, workdir)
    assert numbers(workdir) == numbers(finished)


def test_dying_between_the_last_checkpoint_and_the_end(
    inputs: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config, workdir = run_config(raw_config(inputs)), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("jaxedit.runner.arm_result", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            run(config, workdir)
    run(config, workdir)
    assert numbers(workdir) == numbers(finished)


def test_a_batch_is_one_update(inputs: Path, tmp_path: Path):
    arms = {"pairs": {**raw_config(inputs)["arms"]["memit"], "batch": 2}}
    run(run_config(raw_config(inputs, arms=arms)), tmp_path / "run")
    result = read_json(tmp_path / "run/result.json")["arms"][0]
    assert [record["step"] for record in result["norms"]] == [0, 2, 4, 6]
    assert [record["fact"] for record in result["edit_log"]] == list(range(6))


def test_the_least_that_can_be_measured(inputs: Path, tmp_path: Path):
    arms = {"d4s": raw_config(inputs)["arms"]["d4s"]}
    least = {"immediate": False, "generate": ()}
    run(run_config(raw_config(inputs, arms=arms, eval=least)), tmp_path / "run")
    result = read_json(tmp_path / "run/result.json")["arms"][0]
    assert result["immediate"] == [] and result["along"] == []
    assert {score["decoding"] for score in result["after_all"]} == {"teacher_forced"}
    assert (tmp_path / "run/d4s/generations.jsonl").exists() is False


@pytest.mark.parametrize("name", ["memit", "d4s"])
def test_evaluate_gives_what_the_run_gave(finished: Path, name: str):
    experiment = reopen(finished)
    arm = find_arm(experiment, name)
    subject = of_run(finished, experiment, arm)
    scores, _ = evaluate(subject)
    arms = read_json(finished / "result.json")["arms"]
    [theirs] = [item for item in arms if item["name"] == name]
    assert (subject.edits, subject.when) == (6, "after_all")
    assert [score.to_dict() for score in scores] == theirs["after_all"]
    scores, _ = evaluate(of_run(finished, experiment, arm, 4))
    [point] = [point for point in theirs["along"] if point["step"] == 4]
    found = {score.label: score.to_dict() for score in scores}
    for score in point["scores"]:
        label = f"{score['metric']} ({score['decoding']}, {score['reading']}, {score['against']})"
        assert found[label] == score


def test_every_protocol_of_a_finished_run(finished: Path):
    experiment = reopen(finished)
    subject = of_run(finished, experiment, find_arm(experiment, "memit"), protocols=OTHERS)
    found, answers = evaluate(subject)
    assert {score.protocol for score in found} == {OURS, *OTHERS} - {FLUENCY}  # no openings
    local = {s.protocol: s for s in found if s.metric == "locality" and s.when == "after_all"}
    assert local.keys() >= {"easyedit_teacher_forced", "easyedit_generation"}
    ours = [s for s in found if s.protocol == OURS]
    assert [s.to_dict() for s in ours] == read_json(finished / "memit/result.json")["after_all"]
    again = [Answer.from_dict(json.loads(json.dumps(a.to_dict()))) for a in answers]
    assert again == answers
    table = readings.markdown("MEMIT", [score.to_dict() for score in found])
    assert len(table.splitlines()) == 2 + len(readings.READINGS)
    assert "- |" not in table.replace("--- |", "")


def test_a_model_without_a_run(finished: Path, inputs: Path, tmp_path: Path):
    experiment = reopen(finished)
    edited, _ = restore(finished, experiment, find_arm(experiment, "d4s"))
    save_hf(edited, tmp_path / "edited")
    facts = FactsConfig("jsonl", str(inputs / "facts.jsonl"))
    ev = experiment.config.eval
    whole = dataclasses.replace(ev, generate=("before", "after_all"))
    subject, loaded = of_model(
        str(tmp_path / "edited"), facts, whole, unedited=str(inputs / "model")
    )
    assert (subject.when, subject.edits, len(loaded.facts)) == ("after_all", 6, 6)
    found = {s.label: s.value for s in evaluate(subject)[0]}
    [arm] = [a for a in read_json(finished / "result.json")["arms"] if a["name"] == "d4s"]
    for score in map(Score.from_dict, arm["after_all"]):
        assert found[score.label] == pytest.approx(score.value, abs=1e-3)
    plain, _ = of_model(str(inputs / "model"), facts, ev)
    assert (plain.when, plain.edits) == ("before", 0)


def test_evaluate_and_generate_write_nothing(finished: Path):
    before = tree(finished)
    experiment = reopen(finished)
    edited, step = restore(finished, experiment, find_arm(experiment, None))
    answers = [lm.generate(["Mira Danto was born in"], 4) for lm in (experiment.lm, edited)]
    assert step == 6 and all(isinstance(answer[0], str) for answer in answers)
    assert tree(finished) == before


def test_answers_stand_side_by_side():
    rows = [["Where is it, and why there of all places?", "Here.", "There, I think."]]
    lines = side_by_side(rows, ["prompt", "before", "D4S, 6 edits"], 60)
    assert lines[0].split("   ")[0].strip() == "prompt"
    assert all(len(line) <= 60 for line in lines)
    assert len(lines) > 3 and "There, I think." in lines[2]


def test_another_config_is_refused(inputs: Path, finished: Path):
    before = tree(finished)
    config = run_config(raw_config(inputs, checkpoint_every=3))
    with pytest.raises(UserError, match="holds a run with another checkpoint_every"):
        run(config, finished)
    assert tree(finished) == before


def test_a_run_from_before_a_setting_was_there_goes_on(finished: Path, tmp_path: Path):
    workdir = shutil.copytree(finished, tmp_path / "older")
    kept = json.loads((workdir / "config.json").read_text())
    del kept["config"]["ensemble"], kept["config"]["mesh"]
    (workdir / "config.json").write_text(json.dumps(kept))
    check_workdir(workdir, run_config(json.loads((finished / "config.json").read_text())["config"]))


def test_a_checkpoint_of_another_model_is_refused(finished: Path, tmp_path: Path):
    inputs = write_inputs(tmp_path / "inputs")
    config = run_config(raw_config(inputs))
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    record = read_json(workdir / "config.json")
    record["config"] = json.loads(json.dumps(raw_config(inputs)))
    (workdir / "config.json").write_text(json.dumps(record))
    for name in ("memit", "d4s"):  # as if the arms had not ended
        (workdir / name / "result.json").unlink()
    lm = load_model(inputs / "model")
    kernel = lm.params["head"]["kernel"]
    other = lm.with_params({**lm.params, "head": {**lm.params["head"], "kernel": kernel * 2}})
    save_hf(other, inputs / "model")
    before = tree(workdir)
    with pytest.raises(UserError, match="checkpoint of another model"):
        of_run(workdir, reopen(workdir), config.arms[0])
    assert tree(workdir) == before


def test_two_runs_in_one_directory(inputs: Path, tmp_path: Path):
    with locked(tmp_path / "run"), pytest.raises(UserError, match="runs there; wait for it"):
        run(run_config(raw_config(inputs)), tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config, edit = run_config(raw_config(inputs)), Memit.edit

    def diverges(self, lm, state, prepared):
        if state.edits == 3:
            keys = prepared.values._replace(target_mask=np.zeros_like(prepared.values.target_mask))
            prepared = prepared._replace(values=keys)  # a mean over no token is not a number
        return edit(self, lm, state, prepared)

    with monkeypatch.context() as patch:
        patch.setattr(Memit, "edit", diverges)
        with pytest.raises(
            UserError, match=r"MEMIT one by one: edit 4 \(fact tiny-3\): layer 2: .* at step 0"
        ):
            run(config, tmp_path / "run")
    with Checkpoints(tmp_path / "run/memit/checkpoints", read_only=True) as checkpoints:
        assert checkpoints.steps == (2,)
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert [arm["name"] for arm in result["arms"]] == ["d4s"]  # one arm stops no other
    run(config, tmp_path / "run")
    assert (tmp_path / "run/report.html").exists()


def test_a_checkpoint_knows_the_settings_as_they_were_resolved(inputs: Path):
    """A model's editing.json may change between two starts; the config does not say so."""
    experiment = open_experiment(run_config(raw_config(inputs)))
    arm = experiment.config.arms[0]
    changed = {**experiment.settings[arm.name], "moment_weight": 21.0}
    other = dataclasses.replace(experiment, settings={**experiment.settings, arm.name: changed})
    assert experiment.meta(arm, 2) == open_experiment(experiment.config).meta(arm, 2)
    assert experiment.meta(arm, 2) != other.meta(arm, 2)
