"""A config is checked and frozen once; every mistake is one line that names the flag."""

import dataclasses
from typing import Literal

import pytest
from ml_collections import ConfigDict

from jaxedit.config import RunConfig, run_config, to_dict
from jaxedit.errors import UserError
from jaxedit.typed import typed_settings


def raw(**changes):
    return {
        "model": "some/dir",
        "layers": (3, 4),
        "facts": {"source": "zsre", "limit": 10},
        "arms": {
            "d4s": {"method": "d4s", "residual": "shared", "values": {"steps": 5}},
            "memit": {"method": "memit", "title": "MEMIT", "layers": (4,), "batch": 2},
        },
        **changes,
    }


def test_a_good_config_is_frozen_and_complete():
    config = run_config(raw())
    assert [arm.name for arm in config.arms] == ["d4s", "memit"]
    assert config.arms[0].settings == {"residual": "shared", "values": {"steps": 5}}
    assert config.arms[1].layers == (4,) and config.arms[1].title == "MEMIT"
    assert config.eval.immediate and config.facts.limit == 10
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 3  # pyright: ignore


def test_a_config_dict_gives_the_same_and_survives_json():
    config = run_config(ConfigDict(raw(), sort_keys=False))
    assert config == run_config(raw())
    assert run_config(to_dict(config)) == config


def test_the_hash_tells_configs_apart_and_an_arm_only_minds_its_own():
    config = run_config(raw())
    other = run_config(raw(seed=1))
    assert config.hash == run_config(raw()).hash != other.hash
    arms = raw()["arms"]
    alone = run_config(raw(arms={"d4s": arms["d4s"]}))
    assert config.arm_hash(config.arms[0]) == alone.arm_hash(alone.arms[0])
    assert config.hash != alone.hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modell": "x"}, r"--config.modell: no such setting; did you mean model\?"),
        ({"eval": {"evry": 3}}, r"--config.eval.evry: no such setting; did you mean every\?"),
        ({"facts": {"limit": 3}}, "--config.facts.source: missing"),
        ({"facts": {"source": "zsre", "limit": "3"}}, "--config.facts.limit: expected int"),
        ({"facts": {"source": "zsre", "limit": True}}, "--config.facts.limit: expected int"),
        ({"facts": {"source": "zsre", "limit": 0}}, "--config.facts.limit: must be at least 1"),
        ({"facts": "zsre"}, "--config.facts: expected a dictionary"),
        ({"layers": ("a,b",)}, "--config.layers: expected int, got 'a,b'"),
        ({"layers": (4, 3)}, "--config.layers: layers must ascend"),
        ({"dtype": "float16"}, "--config.dtype: 'float16' is not one of float32, bfloat16"),
        ({"arms": {}}, "--config.arms: name at least one arm"),
        ({"arms": {"a/b": {"method": "d4s"}}}, "--config.arms.a/b: an arm names a directory"),
        ({"arms": {"d4s": {}}}, "--config.arms.d4s.method: name the editing method"),
        ({"arms": {"d4s": {"method": "d4s", "batch": 0}}}, "--config.arms.d4s.batch: must be"),
        ({"eval": {"generate": ("later",)}}, "--config.eval.generate: 'later' is not one of"),
        ({"eval": {"prompt_format": "Q:"}}, "--config.eval.prompt_format: needs exactly one"),
        ({"contexts": {"templates": (("x",),)}}, "--config.contexts.templates: 'x' needs"),
        ({"facts": {"source": "a", "order": "shuffled"}}, "--config.facts.seed: .* needs a seed"),
    ],
)
def test_each_mistake_names_its_flag(changes, message):
    with pytest.raises(UserError, match=message) as error:
        run_config(raw(**changes))
    assert "\n" not in str(error.value)


def test_an_editor_is_checked_by_its_own_fields():
    @dataclasses.dataclass(frozen=True)
    class Inner:
        steps: int = 25
        rate: float = 0.5

    @dataclasses.dataclass(frozen=True)
    class Editor:
        layers: tuple[int, ...]
        weight: float = 1.0
        residual: Literal["shared", "recomputed"] = "shared"
        inner: Inner = Inner()

    def check(**settings):
        return typed_settings(Editor, settings, "--config.arms.x", given=("layers",))

    assert check(weight=2, inner={"rate": 1}) == {"weight": 2.0, "inner": Inner(rate=1.0)}
    for settings, message in (
        ({"wieght": 2}, r"--config.arms.x.wieght: no such setting; did you mean weight\?"),
        ({"layers": (1,)}, "--config.arms.x.layers: no such setting"),
        ({"residual": "share"}, "--config.arms.x.residual: expected one of 'shared', 'recomp"),
        ({"inner": {"step": 1}}, r"--config.arms.x.inner.step: no such .* did you mean steps\?"),
        ({"inner": {"steps": 1.5}}, "--config.arms.x.inner.steps: expected int, got 1.5"),
    ):
        with pytest.raises(UserError, match=message):
            check(**settings)


def test_a_hash_names_what_is_said_beyond_the_defaults():
    plain = run_config(raw()).hash
    assert run_config(raw(checkpoint_every=RunConfig.checkpoint_every)).hash == plain
    assert run_config(raw(checkpoint_every=7)).hash != plain
    arms = raw()["arms"]
    for batch, same in ((1, True), (3, False)):
        arms["d4s"]["batch"] = batch
        assert (run_config(raw(arms=arms)).hash == plain) is same
    assert run_config(raw(arms=dict(reversed(raw()["arms"].items())))).hash != plain
