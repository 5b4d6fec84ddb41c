"""The public API, from a file of facts to a saved, restored and exported model."""

import json
from pathlib import Path

import numpy as np
import pytest

import jaxedit
from jaxedit.editors.statistics import second_moments
from jaxedit.editors.values import ValueSettings
from jaxedit.models.loading import load_model
from tests.tiny import SENTENCES, tiny_facts, tiny_model

LAYERS = (1, 2)


def settings() -> dict:
    lm = tiny_model()
    return {
        "layers": LAYERS,
        "moment_weight": 20.0,
        "values": ValueSettings(steps=4, learning_rate=0.3),
        "statistics": second_moments(lm, LAYERS, list(SENTENCES) * 8, tokens=400).matrices,
        "contexts": (("{}",), ("The old harbour. {}",)),
    }


@pytest.mark.parametrize("method", ["d4s", "memit"])
def test_edit_save_restore_go_on(tmp_path: Path, method: str):
    lm, facts = tiny_model(), tiny_facts(4)
    edited = jaxedit.edit(lm, facts[:3], method=method, **settings())
    assert isinstance(edited.generate([facts[0].question], 4)[0], str)
    edited.save(tmp_path / "out")
    again = jaxedit.restore(tmp_path / "out", lm)
    assert again.facts == tuple(facts[:3])
    prompts, targets = [f.question for f in facts], [f.target for f in facts]
    for a, b in zip(
        edited.teacher_forced(prompts, targets), again.teacher_forced(prompts, targets), strict=True
    ):
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-5)
    more = again.edit(facts[3:])
    assert len(more.facts) == 4 and more.state.edits == 4


def test_export_is_a_model_of_its_own(tmp_path: Path):
    lm, facts = tiny_model(), tiny_facts(2)
    edited = jaxedit.edit(lm, facts, **settings())
    edited.export(tmp_path / "hf")
    loaded = load_model(tmp_path / "hf")
    prompts, targets = [f.question for f in facts], [f.target for f in facts]
    for a, b in zip(
        edited.teacher_forced(prompts, targets),
        loaded.teacher_forced(prompts, targets),
        strict=True,
    ):
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-5)


def test_facts_come_from_a_users_file(tmp_path: Path):
    path = tmp_path / "facts.jsonl"
    row = {"prompt": "{} was born in", "subject": "Mira Danto", "target": "Vantor"}
    path.write_text(json.dumps(row) + "\n")
    edited = jaxedit.edit(tiny_model(), jaxedit.read_facts(path), **settings())
    assert edited.facts[0].target == "Vantor"


def test_mistakes_are_told_in_one_line(tmp_path: Path):
    lm, facts, good = tiny_model(), tiny_facts(1), settings()
    for call, message in [
        (lambda: jaxedit.edit(lm, facts, method="rom"), "no method 'rom'"),
        (lambda: jaxedit.edit(lm, facts, **good, colour=1), "colour: no such setting"),
        (lambda: jaxedit.edit(lm, [], **good), "no facts"),
        (lambda: jaxedit.edit(lm, facts), "no hyper-parameters of d4s are published"),
        (lambda: jaxedit.edit(lm, facts, **{**good, "layers": (7,)}), "layer 7 does not exist"),
        (lambda: jaxedit.edit(lm, facts, **{**good, "statistics": None}), "statistics need text"),
        (lambda: jaxedit.restore(tmp_path), "holds no saved edits"),
    ]:
        with pytest.raises(jaxedit.UserError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_edits_of_another_model_are_refused(tmp_path: Path):
    jaxedit.edit(tiny_model(), tiny_facts(1), **settings()).save(tmp_path / "out")
    with pytest.raises(jaxedit.UserError, match="another model"):
        jaxedit.restore(tmp_path / "out", tiny_model(d_ff=32))
