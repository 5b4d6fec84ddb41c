"""A run on a plug-in: what it learns corrects other models, and one that is added later."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tokenizers
import tokenizers.models

from jaxedit import serving
from jaxedit.config import run_config
from jaxedit.data.fact import Question
from jaxedit.downstream import run_world_tests
from jaxedit.ensemble.ensemble import Ensemble
from jaxedit.ensemble.plugin import alpha, with_gate
from jaxedit.errors import UserError
from jaxedit.evaluation import evaluate, find_arm, in_target, of_run, reopen
from jaxedit.experiment import open_experiment, open_resources
from jaxedit.ledger import read_json
from jaxedit.metrics import Score
from jaxedit.report import render, text_table
from jaxedit.run import run
from jaxedit.runner import run_arm
from jaxedit.served import moments
from jaxedit.serving import taught
from jaxedit.target_tables import gates, tables
from tests.tiny import tiny_model
from tests.tiny_run import even_facts, raw_config, write_inputs

TRAINING = {"epochs": 3, "batch": 4, "learning_rate": 1e-3}
ONCE = {"method": "onceedit", "title": "OnceEdit", "batch": 3, "replay": 0, "training": TRAINING}
FT = {"method": "ft_m", "title": "FT-M", "batch": 3, "layers": (2,), "steps": 3}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = write_inputs(tmp_path_factory.mktemp("inputs"))
    others = [
        dataclasses.replace(
            fact, subject=f"Other {i}", id=f"o{i}", neighbours=(Question(f"Is Lum {i} of", "Kux"),)
        )
        for i, fact in enumerate(even_facts(4))
    ]
    lines = [json.dumps(dataclasses.asdict(fact)) for fact in others]
    (inputs / "others.jsonl").write_text("\n".join(lines) + "\n")
    return inputs


def raw(inputs: Path, **changes):
    raw = raw_config(inputs)
    raw["arms"] = {"onceedit": ONCE, "ft": FT}
    raw["ensemble"] = {
        "targets": (str(inputs / "model"),),
        "unrelated": {"source": "jsonl", "path": str(inputs / "others.jsonl")},
        "cache": str(inputs / "cache"),
        **changes,
    }
    raw["eval"] = {**raw["eval"], "every": None, "immediate": False}
    raw["checkpoint_every"] = 3
    return raw


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "plugin"
    run(run_config(raw(inputs, every=3)), workdir)
    return workdir


def test_every_arm_is_asked_in_every_target(finished: Path):
    result = read_json(finished / "result.json")
    for arm in result["arms"]:
        [(target, modes)] = arm["targets"].items()
        assert target.endswith("model") and list(modes) == ["before", "dw_ee"]
        found = {(s["metric"], s["decoding"], s["reading"]) for s in modes["dw_ee"]}
        assert ("reliability", "teacher_forced", "token_accuracy") in found
        assert ("locality", "generation", "token_accuracy") in found
        readings = {reading for _, _, reading in found}
        assert readings.isdisjoint({"per_target", "probability", "new_over_old", "magnitude"})
    rows = tables(result)[0]["rows"]
    assert [row["what"] for row in rows] == ["unedited", "OnceEdit, dw_ee", "FT-M, dw_ee"]
    page = render(result)
    for said in ("The edited plug-in in other models", "Who answers", "What lasts while edits"):
        assert said in page
    assert any("OnceEdit, dw_ee" in line for line in text_table(result))


def test_what_the_gate_says_to_each_kind(finished: Path):
    kept = read_json(finished / "ft/alpha.json")
    found = {one["kind"]: one for one in kept["kinds"]}
    assert list(found) == ["edits", "paraphrases", "neighbours", "unrelated, taught"]
    experiment = reopen(finished)
    plug = of_run(finished, experiment, find_arm(experiment, "ft"))
    gate = taught(experiment, find_arm(experiment, "ft"), plug.lm)
    questions = [fact.question for fact in experiment.facts]
    assert found["edits"]["values"] == pytest.approx(alpha(gate, questions), abs=1e-6)
    result = read_json(finished / "result.json")
    assert "values" not in result["arms"][1]["alpha"][0]
    table = gates(result)
    assert table and [title for title, _ in table["rows"]] == ["OnceEdit", "FT-M"]
    assert f"{100 * found['edits']['open']:.1f}" == table["rows"][1][1][0][0]


def test_earlier_checkpoints_are_asked_too(finished: Path):
    assert {p.name for p in finished.glob("onceedit/targets/*/*")} == {
        "alone-3.jsonl",
        "dw_ee-3.jsonl",
        "dw_ee.jsonl",
    }
    [arm, _] = read_json(finished / "result.json")["arms"]
    alone, joined = arm["targets_along"]
    assert (alone["mode"], joined["mode"]) == ("alone", "dw_ee")
    for record in (alone, joined):
        assert {point["edits"] for point in record["all"]} == {3, 6}
        assert {point["score"]["n"] for point in record["first"]} == {3}
    # The plug-in alone at the first checkpoint is what that checkpoint answers by itself.
    experiment = reopen(finished)
    early = of_run(finished, experiment, find_arm(experiment, "onceedit"), 3)
    scores, _ = evaluate(early)
    expected = {s.label: s.value for s in scores}
    for point in alone["all"]:
        score = Score.from_dict(point["score"])
        if point["edits"] == 3:
            assert score.value == expected[score.label]


def test_moments():
    assert moments([2, 4, 6], None, 6) == [6]
    assert moments([3, 6, 9, 12], 4, 12) == [6, 9, 12]
    assert moments([2, 4], 2, 5) == [2, 4, 5]


def test_checkpoints_that_are_not_kept_cannot_be_asked(inputs: Path):
    with pytest.raises(UserError, match=r"keep_checkpoints: ensemble\.every asks"):
        run_config({**raw(inputs, every=3), "keep_checkpoints": 1})


def test_a_mode_that_is_missing_is_asked_without_an_edit(
    finished: Path, monkeypatch: pytest.MonkeyPatch
):
    paths = [*finished.glob("onceedit/targets/*/dw_ee*.jsonl"), finished / "onceedit/alpha.json"]
    before = [path.read_bytes() for path in paths]
    assert len(paths) == 3
    for path in paths:
        path.unlink()
    (finished / "onceedit/result.json").unlink()
    experiment = reopen(finished)
    monkeypatch.setattr("jaxedit.ensemble.plug_training.fit", None)
    arm = find_arm(experiment, "onceedit")
    run_arm(finished, experiment, arm, open_resources(experiment, ()))
    assert [path.read_bytes() for path in paths] == before


def test_a_target_that_is_added_later(finished: Path, inputs: Path):
    experiment = reopen(finished)
    arm = find_arm(experiment, "onceedit")
    plug = of_run(finished, experiment, arm)
    for name, mode in ((str(inputs / "model"), "dw_ee"), (f"{inputs / 'model'}:dw", "dw")):
        subject = in_target(plug, experiment, arm, name)
        assert isinstance(subject.lm, Ensemble) and subject.lm.fusion.mode == mode
    scores, answers = evaluate(in_target(plug, experiment, arm, str(inputs / "model")))
    arms = {a["name"]: a for a in read_json(finished / "result.json")["arms"]}
    [modes] = arms["onceedit"]["targets"].values()
    assert [s.to_dict() for s in scores] == modes["dw_ee"]
    assert {a.logprobs for a in answers} == {()}
    ensemble = in_target(plug, experiment, arm, str(inputs / "model")).lm
    with pytest.raises(UserError, match="defines no likelihoods of given tokens"):
        run_world_tests(ensemble, limit=2)
    with pytest.raises(UserError, match="defines no likelihoods"):
        ensemble.loglikelihood(["Mira"])


@pytest.mark.parametrize("reading", ["component", "appended"])
def test_the_gate_is_read_as_it_was_taught(reading: str):
    lm = with_gate(tiny_model(n_layers=1)).lm
    config = run_config(
        raw_config(Path("nowhere"), arms={"onceedit": {**ONCE, "reading": reading}})
    )
    settings = {"onceedit": {} if reading == "component" else {"reading": reading}}
    experiment: Any = SimpleNamespace(config=config, settings=settings, facts=[])
    assert taught(experiment, config.arms[0], lm).reading == reading


def test_every_reading_of_the_paper_reaches_the_ensemble(monkeypatch: pytest.MonkeyPatch):
    made = {}

    def space_of(target: Any, words: Any, rule: str, **options: Any) -> Any:
        made.update(options, words=words)

    monkeypatch.setattr(serving, "open_space", space_of)
    original, edited = with_gate(tiny_model(n_layers=1)), with_gate(tiny_model(n_layers=1))
    chosen = {
        "mask_gate": False,
        "each_step": True,
        "variable": "probabilities",
        "decoder": "search",
        "embeddings": "output",
        "plugin_words": "original",
        "temperature": 1.0,
        "unit_rows": False,
        "held": "bfloat16",
        "certified": False,
        "stop_with_plug": 0.5,
    }
    config = run_config({**raw_config(Path("nowhere")), "ensemble": chosen})
    experiment: Any = SimpleNamespace(config=config, lm=original.lm)
    [(mode, found)] = serving.ensembles(experiment, tiny_model(n_layers=1), edited, ["dw_ee"])
    assert mode == "dw_ee" and found.each_step and found.plugin is edited
    assert not found.fusion.mask_gate and found.fusion.variable == "probabilities"
    assert found.stop_with_plug == 0.5 and not found.certified
    assert made["words"] is original.lm and (made["dtype"], made["keep"]) == ("bfloat16", True)
    assert (made["embeddings"], made["temperature"], made["unit"]) == ("output", 1.0, False)
    chosen |= {"plugin_words": "edited", "held": "computed", "certified": True}
    experiment.config = run_config({**raw_config(Path("nowhere")), "ensemble": chosen})
    [(_, found)] = serving.ensembles(experiment, tiny_model(n_layers=1), edited, ["dw_ee"])
    assert found.certified and made["words"] is edited.lm and not made["keep"]
    with pytest.raises(UserError, match=r"ensemble\.embeddings: expected one of"):
        run_config({**raw_config(Path("nowhere")), "ensemble": {"embeddings": "outpu"}})


def test_a_target_that_cannot_be_told_anything_is_refused_before_any_edit(
    inputs: Path, tmp_path: Path
):
    model = tmp_path / "target"
    shutil.copytree(inputs / "model", model)
    foreign = tokenizers.Tokenizer(tokenizers.models.WordLevel({"qqqqq": 0}, unk_token="qqqqq"))
    for text, said in ((foreign.to_str(), "no token in common"), ("{", "tokenizer.json")):
        (model / "tokenizer.json").write_text(text)
        with pytest.raises(UserError, match=rf"ensemble\.targets=.*target: .*{said}"):
            run(run_config(raw(inputs, targets=(str(model),))), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_what_is_no_mode_or_no_plugin_is_refused(inputs: Path, finished: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"fusion\.mode='dw_e': no such one; did you mean dw_ee"):
        run(run_config(raw(inputs, modes=("dw_e",))), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    appended = {"onceedit": {**ONCE, "reading": "appended"}}
    with pytest.raises(UserError, match=r"arms\.onceedit\.reading: a gate that is appended"):
        open_experiment(run_config({**raw(inputs, each_step=True), "arms": appended}))
    experiment = reopen(finished)
    plain = dataclasses.replace(
        experiment, config=run_config({**raw_config(inputs), "checkpoint_every": 3})
    )
    arm = find_arm(experiment, "ft")
    with pytest.raises(UserError, match="has no gate"):
        in_target(of_run(finished, experiment, arm), plain, arm, "embedded:gptj")
