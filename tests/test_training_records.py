"""From a config to a trained editor: which records, which settings, what is kept."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxedit
from jaxedit.config import RunConfig, run_config, to_dict
from jaxedit.data.fact import Fact
from jaxedit.data.factworld import SHOWN, World, edits, training_edits
from jaxedit.editors.mend import PUBLISHED, Mend
from jaxedit.editors.meta_training import MetaTraining
from jaxedit.editors.settings import Settings, settings_for, write_settings
from jaxedit.editors.trained import fitted
from jaxedit.editors.values import ValueSettings
from jaxedit.errors import UserError
from jaxedit.experiment import Experiment, Resources, open_experiment, open_resources
from jaxedit.training_records import training_records
from tests.tiny import tiny_model
from tests.tiny_run import even_facts, raw_config, write_inputs

SMALL = {"layers": (2,), "modules": ("mlp.down",), "rank": 2, "remat": False}
TRAINING = {"steps": 2, "batch": 2, "accumulate": 1, "learning_rate": 1e-3, "validate_every": 5}
MEND = {"method": "mend", "title": "MEND", **SMALL, "training": TRAINING}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six facts to edit; of twelve records the first six are about them."""
    inputs = write_inputs(tmp_path_factory.mktemp("inputs"))
    lines = [json.dumps(dataclasses.asdict(fact)) for fact in even_facts(12)]
    (inputs / "records.jsonl").write_text("\n".join(lines) + "\n")
    return inputs


def config(inputs: Path, method: dict[str, Any] = MEND, **fit: Any) -> RunConfig:
    source = {"source": "jsonl", "path": str(inputs / "records.jsonl")}
    whole = {**source, "cache": str(inputs / "trained"), **fit}
    return run_config(raw_config(inputs, arms={"mend": method}, fit=whole))


@pytest.fixture(scope="module")
def opened(inputs: Path) -> tuple[Experiment, Resources]:
    experiment = open_experiment(config(inputs))
    return experiment, open_resources(experiment)


def test_a_run_trains_once_and_finds_it_again(
    inputs: Path, opened: tuple[Experiment, Resources], monkeypatch: pytest.MonkeyPatch
):
    experiment, resources = opened
    arm = experiment.config.arms[0]
    assert [fact.id for fact in experiment.records] == [f"tiny-{i}" for i in range(6, 12)]
    editor: Any = experiment.editor(arm, resources)
    assert editor.trained is resources.trained["mend"]
    assert list(editor.trained.network) == ["48x24"]
    with monkeypatch.context() as patch:
        patch.setattr(Mend, "problem", None)
        again = open_resources(experiment)
    found = again.trained["mend"].network["48x24"]
    assert all(map(np.array_equal, found, editor.trained.network["48x24"]))


def test_a_checkpoint_names_the_records(inputs: Path, opened: tuple[Experiment, Resources]):
    experiment, _ = opened
    arm = experiment.config.arms[0]
    fewer = dataclasses.replace(experiment, records=experiment.records[1:])
    assert fewer.meta(arm, 0).config != experiment.meta(arm, 0).config


def test_settings_that_are_given_change_themselves_alone(opened: tuple[Experiment, Resources]):
    training: MetaTraining = opened[0].settings["mend"]["training"]
    assert training == dataclasses.replace(PUBLISHED, **TRAINING)
    assert training.patience == PUBLISHED.patience


def drawn(config: RunConfig, edits: list[Fact]) -> tuple[Fact, ...]:
    """With the settings as the config has them."""
    return training_records(config, edits, {arm.name: arm.settings for arm in config.arms})


def test_what_the_records_may_be(inputs: Path):
    facts = even_facts(6)
    for limit in (1, 4):
        assert len(drawn(config(inputs, limit=limit), facts)) == limit
    with pytest.raises(UserError, match=r"fit.source: jsonl has no record"):
        drawn(config(inputs), even_facts(12))
    with pytest.raises(UserError, match=r"fit.source: mend needs training records"):
        drawn(config(inputs, source="embedded"), facts)
    with pytest.raises(UserError, match=r"fit.limit: must be at least 1"):
        config(inputs, limit=0)
    ft = {"method": "ft_m", "layers": (1,)}
    assert drawn(config(inputs, ft, source="nowhere"), facts) == ()


@pytest.mark.parametrize(
    ("method", "needed"),
    [
        ({"method": "retrieval"}, True),
        ({"method": "retrieval", "threshold": 0.8}, False),
        ({"method": "retrieval", "threshold": None}, False),
        ({"method": "ike"}, True),
        ({"method": "ike", "threshold": 0.8}, True),  # 32 are shown
        ({"method": "ike", "threshold": 0.8, "shown": 0}, False),
        ({"method": "ike", "threshold": "learned", "shown": 0}, True),
        ({"method": "serac"}, True),
    ],
)
def test_records_are_asked_for_only_where_something_is_learned_or_shown(
    inputs: Path, method: dict[str, Any], needed: bool
):
    """Of a model that does not know the embedded world, whose records are the default."""
    told = config(inputs, method, source="embedded")
    if needed:
        with pytest.raises(UserError, match=f"fit.source: {method['method']} needs"):
            drawn(told, even_facts(6))
    else:
        assert drawn(told, even_facts(6)) == ()


def test_runs_that_train_nothing_keep_their_names(inputs: Path):
    """The hash of a config does not say what it says of training by default."""
    plain = run_config(raw_config(inputs))
    assert "fit" in to_dict(plain)
    other = run_config(raw_config(inputs, fit={"limit": 5}))
    assert plain.hash == run_config(raw_config(inputs, fit={"source": "embedded"})).hash
    assert plain.hash != other.hash


def test_a_network_is_not_trained_with_settings_of_models_of_another_size(tmp_path: Path):
    """A model that brings settings, but none of MEND."""
    write_settings(tmp_path, Settings((1,), 100.0, ValueSettings(), {"malmen": SMALL}))
    config = tiny_model().config
    assert settings_for(config, str(tmp_path), "malmen")["rank"] == 2
    assert settings_for(config, str(tmp_path), "memit")["layers"] == (1,)
    with pytest.raises(UserError, match=r"no settings of mend, .* rank= and training="):
        settings_for(config, str(tmp_path), "mend")


def test_the_worlds_training_edits_are_never_shown():
    world = World()
    shown = {fact.id for fact in edits(world, 300, SHOWN)}
    found = training_edits(world)
    assert shown.isdisjoint(fact.id for fact in found)
    assert len(found) == len({fact.id for fact in found}) == len(world.facts) * 3 // 4


def test_in_three_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Trained on records that are given, saved, restored, gone on with."""
    monkeypatch.setenv("JAXEDIT_CACHE", str(tmp_path / "cache"))
    lm, facts = tiny_model(), even_facts(12)
    with pytest.raises(UserError, match="pass records="):
        jaxedit.edit(lm, facts[:1], "mend", **SMALL)
    settings = {**SMALL, "training": {**TRAINING, "validation": 0.0}}
    edited = jaxedit.edit(lm, facts[:1], "mend", records=facts, **settings)
    edited.save(tmp_path / "out")
    restored = jaxedit.restore(tmp_path / "out", lm)
    live, again = (each.edit(facts[1:2]).state.leaves for each in (edited, restored))
    assert all(np.array_equal(live[name], again[name]) for name in live)
    editor: Any = edited.editor
    bare = dataclasses.replace(editor, trained=None)
    same = fitted(bare, lm, [fact for fact in facts if fact.id != facts[0].id])
    assert np.array_equal(same.trained.network["48x24"].up, editor.trained.network["48x24"].up)
