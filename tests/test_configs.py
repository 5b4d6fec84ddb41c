"""Every shipped config is whole, and the published ones say what was published."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from jaxedit import cli
from jaxedit.arm_settings import arm_settings, check_settings
from jaxedit.config import MeshConfig, RunConfig, arms, base, run_config
from jaxedit.data.datasets import DATASETS
from jaxedit.editors.published import PUBLISHED
from jaxedit.editors.settings import settings_for
from jaxedit.errors import UserError
from jaxedit.metrics import easyedit
from jaxedit.metrics.formats import FORMATS
from jaxedit.preflight import estimate, known_shape

CONFIGS = Path(__file__).parent.parent / "configs"
RUNS = (
    "quickstart",
    "quickstart:residuals",
    "d4s_gptj",
    "d4s_gptj:small",
    "d4s_llama2",
    "d4s_llama2:small",
    "memit_gptj",
)
SHORT = {
    "gpt2-xl": "gpt2xl",
    "gpt-j-6b": "gptj",
    "llama-2-7b": "llama2",
    "llama-3-8b": "llama3",
    "mistral-7b": "mistral",
    "qwen2.5-7b": "qwen2.5",
}
PUBLISHED_RUNS = [
    f"published:{method},{SHORT[key]}" for method, found in PUBLISHED.items() for key in found
]


def published(name: str) -> dict[str, Any]:
    """A shipped config as plain values."""
    stem, colon, variant = name.partition(":")
    return cli.load_config(f"{CONFIGS / stem}.py{colon}{variant}").to_dict()


@pytest.mark.parametrize("name", PUBLISHED_RUNS)
def test_published_settings_are_whole_and_fit_their_models(name: str):
    config = run_config(published(name))
    model = known_shape(config.model)
    (arm,) = config.arms
    settings = arm_settings(config, arm, model)
    assert not settings["layers"] or settings["layers"][-1] < model.n_layers
    found = settings_for(model, config.model, arm.method)
    found.pop("legacy_targets", None)
    assert settings == {"layers": (), **found}
    assert estimate(config, model).peak > 2**33


@pytest.mark.parametrize("what", ["", ":counterfact", ":zsre,qwen2.5"])
@pytest.mark.parametrize("target", ["llama2", "mistral", "gptj"])
def test_onceedit_as_published(target: str, what: str):
    config = run_config(published(f"onceedit_{target}{what}"))
    (arm,) = config.arms
    training = arm_settings(config, arm, known_shape(config.model))["training"]
    assert (training.weight, training.learning_rate, arm.batch) == (0.8, 1e-4, 1000)
    assert config.facts.limit == 1000 and config.facts.source in DATASETS
    assert config.ensemble.unrelated.source in DATASETS
    named = "onceedit_counterfact" if "counterfact" in what else "onceedit_zsre"
    assert training.format == config.eval.prompt_format == FORMATS[named]
    assert set(config.eval.protocols) == {easyedit.TEACHER_FORCED, easyedit.GENERATION}
    assert ("Qwen2.5-1.5B" if "qwen" in what else "TinyLlama") in config.model
    (name,) = config.ensemble.targets
    assert target[:4] in name.lower().replace("-", "")
    shapes = {name: known_shape(name)}
    assert 2**34 < estimate(config, known_shape(config.model), shapes).peak < 80 * 2**30


def test_onceedit_refuses_what_the_paper_does_not_have():
    for target in ("llama2", "gptj"):
        with pytest.raises(UserError, match="give a data set and a plug-in"):
            published(f"onceedit_{target}:zsre,gpt2")


def test_a_model_larger_than_a_device():
    config = run_config(published("d4s_llama3_70b"))
    needed = estimate(config, known_shape(config.model))
    assert needed.peak < 80 * 2**30 < needed.host  # a GPU's, and a node's
    alone = dataclasses.replace(config, mesh=MeshConfig(solve="host"))
    assert estimate(alone, known_shape(config.model)).peak > 141 * 10**9


def test_both_mistrals_have_the_published_settings():
    first, third = (run_config(published(f"published:d4s,mistral{v}")) for v in ("", "0.3"))
    shapes = [known_shape(config.model) for config in (first, third)]
    assert [shape.sliding_window for shape in shapes] == [4096, None]
    settings = [arm_settings(c, c.arms[0], s) for c, s in zip((first, third), shapes, strict=True)]
    assert settings[0] == settings[1]


def test_what_was_not_published_is_not_made_up():
    with pytest.raises(UserError, match="nothing is published for pmet on meta-llama/Meta-Llama-3"):
        published("published:pmet,llama3")
    with pytest.raises(UserError, match="give a method and a model"):
        published("published:romeo,gptj")


@pytest.mark.parametrize("name", RUNS)
def test_a_shipped_config_is_valid(name: str):
    config = run_config(published(name))
    for arm in config.arms:
        check_settings(arm)
    assert config.about


@pytest.mark.parametrize("name", ["d4s_gptj", "d4s_llama2", "memit_gptj"])
def test_the_published_hyperparameters(name: str):
    config = run_config(published(name))
    model = known_shape(config.model)
    for arm in config.arms:
        expected = settings_for(model, config.model, arm.method)
        ours = arm_settings(config, arm, model)
        assert ours.pop("residual", "shared") == "shared"
        assert config.legacy_targets == expected.pop("legacy_targets", False)
        assert ours == expected


def test_small_differs_in_size_alone():
    small, whole = (run_config(published(name)) for name in ("d4s_gptj:small", "d4s_gptj"))
    assert small.arms == whole.arms and small.contexts == whole.contexts
    assert small.statistics == whole.statistics
    with pytest.raises(UserError, match="no such variant; there is 'small'"):
        published("d4s_gptj:big")


def test_base_has_every_setting_and_the_arms_keep_their_order():
    config = base()
    config.model, config.facts.source = "some/dir", "zsre"
    config.arms = arms(b={"method": "memit"}, a={"method": "d4s"})
    frozen = run_config(config)
    assert [arm.name for arm in frozen.arms] == ["b", "a"]
    assert frozen.eval == RunConfig(frozen.model, frozen.facts, frozen.arms).eval
    with pytest.raises(UserError, match=r"--config.facts.source: missing"):
        run_config({**base().to_dict(), "arms": {"a": {"method": "d4s"}}, "model": "some/dir"})
