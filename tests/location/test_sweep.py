"""The sweep over layers, the config that it leads to, and the entry point that does both."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jaxedit import cli
from jaxedit.config import run_config
from jaxedit.data.fact import Fact, Question
from jaxedit.editors.memit import Memit
from jaxedit.editors.values import ValueSettings
from jaxedit.editors.weights import kernel
from jaxedit.errors import UserError
from jaxedit.locate import locate
from jaxedit.location.run_config import write_run_config
from jaxedit.location.sweep import Window, best, candidates, single_edits, sweep, unknown_facts
from jaxedit.location.task import Task, read
from jaxedit.models.loading import save_hf
from jaxedit.models.protocol import LanguageModel
from tests.metrics.fake import Table, Words
from tests.tiny import tiny_model
from tests.tiny_run import VALUES, even_facts, write_inputs

FACTS = [
    Fact(
        prompt="{} was born in",
        subject=name,
        target="Sarn",
        previous="Vantor",
        paraphrases=(f"{name} comes from",),
        neighbours=(Question("Osei was born in", "Rivella"),),
        id=name,
    )
    for name in ("Mira", "Tolan")
]
BEFORE = {"Mira was born in": "Vantor", "Osei was born in": "Rivella"}
WORDS = Words()  # all models have one tokenizer
CONTEXTS = (("{}",), ("The old harbour. {}",))


def test_candidates_are_single_layers_and_runs_of_the_length():
    assert candidates(range(4), 2) == [(0,), (1,), (2,), (3,), (0, 1), (1, 2), (2, 3)]
    assert candidates((1, 2, 5), 2) == [(1,), (2,), (5,), (1, 2)]
    assert candidates((1, 2), 1) == [(1,), (2,)]
    assert candidates((3,), 2) == [(3,)]


def injected(window: Window) -> Iterator[LanguageModel]:
    """Layer 2 does all that is asked; layer 1 forgets paraphrases, layer 0 its neighbours."""
    for fact in FACTS:
        known = {**BEFORE, fact.question: "Sarn"}
        if window != (1,):
            known[fact.paraphrases[0]] = "Sarn"
        if window == (0,):
            known["Osei was born in"] = "Sarn"
        yield Table(known, WORDS)


def test_the_best_window_is_found():
    tried = list(sweep(Table(BEFORE, WORDS), FACTS, [(0,), (1,), (2,)], injected, "float32"))
    values = {one.layers: [score.value for score in one.scores] for one in tried}
    assert values == {(0,): [1, 1, 0], (1,): [1, 0, 1], (2,): [1, 1, 1]}
    assert [one.harmonic for one in tried] == [0, 0, 1]
    assert best(tried).layers == (2,)
    assert [s.metric for s in tried[0].scores] == ["efficacy", "paraphrase", "specificity"]
    assert {(s.when, s.edits, s.n) for s in tried[0].scores} == {("immediate", (1, 1), 2)}
    json.dumps(tried[0].to_dict())


def test_among_equals_the_fewest_layers():
    tried = list(sweep(Table(BEFORE, WORDS), FACTS, [(2, 3), (2,)], injected, "float32"))
    assert best(tried).layers == (2,)


def test_facts_that_are_known_already_are_no_edits():
    assert unknown_facts(Table({"Mira was born in": "Sarn"}), FACTS, "float32") == FACTS[1:]


def test_a_single_edit_is_the_methods_own_and_windows_share_values():
    lm, facts, found = tiny_model(), even_facts(1), {}
    moments = {layer: np.eye(lm.config.d_ff) for layer in (1, 2)}

    def editor(layers: Window) -> Memit:
        return Memit(layers, moments, CONTEXTS, 20.0, ValueSettings(**VALUES))

    (model,) = single_edits(lm, facts, editor((1, 2)), found)
    values = found[2]
    assert len(list(single_edits(lm, facts, editor((2,)), found))) == 1
    assert list(found) == [2] and found[2] is values
    both = editor((1, 2))
    alone = both.bind(lm, both.edit(lm, both.init(lm), both.prepare(lm, facts))[0])
    for layer in (1, 2):
        np.testing.assert_array_equal(kernel(model, layer), kernel(alone, layer))
        assert abs(kernel(model, layer) - kernel(lm, layer)).max() > 1e-5


def test_a_written_config_is_a_run_config(tmp_path: Path):
    task = Task("embedded:gptj", tokens=500)
    settings = {"moment_weight": 7.0, "values": ValueSettings(steps=9), "legacy_targets": True}
    write_run_config(tmp_path, task, (2, 3), 'for "no" reason', settings, FACTS, FACTS)
    config = run_config(cli.load_config(str(tmp_path / "config.py")))
    assert (config.model, config.layers, config.legacy_targets) == ("embedded:gptj", (2, 3), True)
    assert config.facts.source == "embedded:gptj" and config.facts.seed == 1
    assert (config.statistics.source, config.statistics.tokens) == ("embedded", 500)
    (arm,) = config.arms
    assert arm.method == "memit" and arm.settings["moment_weight"] == 7.0
    assert arm.settings["values"] == dataclasses.asdict(ValueSettings(steps=9))


def test_facts_that_were_not_used_are_kept_for_the_run(tmp_path: Path):
    source = tmp_path / "known.json"
    keys = ("prompt", "subject", "attribute", "relation_id")
    rows = [("X is in", "X", "Rome", "P1"), ("Y is in", "Y", "Oslo", "P1")]
    source.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
    task = Task("embedded:gptj", facts=str(source))
    facts = read(task)
    write_run_config(tmp_path, task, (1,), "none", {}, facts, facts[:1])
    config = run_config(cli.load_config(str(tmp_path / "config.py")))
    assert config.facts.source == "jsonl" and config.facts.path is not None
    (left,) = read(dataclasses.replace(task, facts=config.facts.path))
    assert (left.question, left.target, left.previous) == ("Y is in", "Rome", "Oslo")


@pytest.mark.slow
def test_everything_is_written(tmp_path: Path):
    """A model that says " in" whatever it is asked; both halves run on one layer."""
    inputs, lm = write_inputs(tmp_path), tiny_model()
    (says,) = lm.tokenizer.encode(" in")
    bias = lm.params["head"]["bias"].at[says].set(1e4)
    save_hf(
        lm.with_params({**lm.params, "head": {**lm.params["head"], "bias": bias}}),
        inputs / "model",
    )
    facts = [dataclasses.replace(fact, previous="in") for fact in even_facts(2)]
    facts.append(dataclasses.replace(facts[0], subject="Zub", previous="Kux", id="zub"))
    lines = "\n".join(json.dumps(dataclasses.asdict(fact)) for fact in facts)
    (inputs / "facts.jsonl").write_text(lines)
    task = Task(
        str(inputs / "model"),
        facts=str(inputs / "facts.jsonl"),
        layers=(1,),
        length=1,
        corpus=str(inputs / "corpus.txt"),
        tokens=100,
        severed=True,
    )
    assert locate(task, tmp_path / "out") == (1,)
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert names == {".lock", "trace.json", "sweep.json", "locate.png", "config.py"}
    traced = json.loads((out / "trace.json").read_text())
    assert (traced["read"], traced["known"], len(traced["traces"])) == (3, 2, 2)
    assert traced["settings"]["window"] == 1 and traced["high"] == pytest.approx(1)
    swept = json.loads((out / "sweep.json").read_text())
    assert [window["layers"] for window in swept["windows"]] == [[1]]
    assert run_config(cli.load_config(str(out / "config.py"))).layers == (1,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": (9,)}, "layer 9 does not exist; .* has layers 0 to 3"),
        ({"layers": (2, 1)}, "must ascend"),
        ({"corpus": "nowhere.txt"}, "nowhere.txt does not exist"),
        ({}, "gives the known answer to none of the 2 facts"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path: Path, change: dict, message: str):
    inputs = write_inputs(tmp_path, facts=2)
    task = Task(str(inputs / "model"), facts=str(inputs / "facts.jsonl"), corpus=None)
    with pytest.raises(UserError, match=message):
        locate(dataclasses.replace(task, **change), tmp_path / "out", sweeping=False)
    assert not (tmp_path / "out").exists()


def test_settings_that_cannot_be():
    with pytest.raises(UserError, match="--limit: must be at least 1"):
        Task("embedded:gptj", limit=0)
    with pytest.raises(UserError, match=r"--method=memti: .*did you mean memit"):
        Task("embedded:gptj", method="memti")
    with pytest.raises(UserError, match="nothing is left to do"):
        locate(Task("embedded:gptj"), Path("out"), tracing=False, sweeping=False)
