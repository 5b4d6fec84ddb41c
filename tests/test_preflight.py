"""Memory by part, from shapes alone: also of models that are not here."""

import dataclasses
from functools import partial

import jax
import pytest

from jaxedit.config import RunConfig, run_config
from jaxedit.ensemble.plug_batches import Training
from jaxedit.ensemble.plug_training import begin
from jaxedit.ensemble.plugin import Plugin
from jaxedit.errors import UserError
from jaxedit.models import param_shapes
from jaxedit.preflight import (
    Estimate,
    Part,
    estimate,
    known_shape,
    refuse_if_too_large,
    remedies,
)
from jaxedit.preflight_ensemble import parameter_count, training_parts
from jaxedit.run import dry_run
from tests.test_configs import published
from tests.tiny import tiny_model

GIB = 1024**3
PHASES = ("always", "edited", "editing", "serving")


def by_name(found: Estimate) -> dict[str, float]:
    return {part.name: part.size / GIB for part in found.parts}


def test_gptj_at_full_width():
    model = known_shape("EleutherAI/gpt-j-6b")
    parameters = sum(leaf.size for leaf in jax.tree.leaves(param_shapes(model)))
    assert parameters == 6_050_882_784  # as the published model has
    found = estimate(run_config(published("d4s_gptj")), model)
    sizes = by_name(found)
    assert sizes["parameters"] == pytest.approx(4 * parameters / GIB)
    assert sizes["D4S sums R K^T and K K^T, float64"] == pytest.approx(16.1e9 / GIB, rel=0.01)
    assert 60 < found.peak / GIB < 139  # one H200


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("meta-llama/Llama-2-7b-hf", 6_738),
        ("meta-llama/Meta-Llama-3-8B", 8_030),
        ("openai-community/gpt2-xl", 1_558),
    ],
)
def test_shapes_of_published_models(name: str, millions: int):
    leaves = jax.tree.leaves(param_shapes(known_shape(name)))
    assert sum(leaf.size for leaf in leaves) // 10**6 == pytest.approx(millions, abs=1)


def test_dry_run_prints_every_part_without_weights(capsys: pytest.CaptureFixture[str]):
    dry_run(run_config(published("d4s_gptj")))
    printed = capsys.readouterr().out
    for word in ("parameters", "values", "statistics", "D4S inverse", "cache", "checkpoint"):
        assert word in printed
    assert printed.splitlines()[-1].startswith("peak on one device")


def test_halving_the_dtype_halves_the_parameters():
    model = known_shape("EleutherAI/gpt-j-6b")
    raw = published("d4s_gptj")
    wide, narrow = (
        by_name(estimate(run_config({**raw, "dtype": dtype}), model))["parameters"]
        for dtype in ("float32", "bfloat16")
    )
    assert wide == 2 * narrow


def test_an_unknown_shape_and_a_layer_that_is_not_there():
    with pytest.raises(UserError, match="its shape is not known without one"):
        known_shape("someone/some-model")
    with pytest.raises(UserError, match=r"layer 28 does not exist; .* has layers 0 to 27"):
        dry_run(run_config({**published("d4s_gptj"), "layers": (3, 28)}))


def test_what_cannot_fit_names_its_largest_part():
    needed = Estimate("d4s", (Part("parameters", 3 * GIB, "always"), Part("sums", GIB, "editing")))
    refuse_if_too_large(needed, None)
    refuse_if_too_large(needed, 4 * GIB)
    with pytest.raises(UserError, match=r"needs about 4.0 GiB .* largest part is parameters"):
        refuse_if_too_large(needed, 3 * GIB)


def onceedit(optimiser: str = "adam", **more: object) -> RunConfig:
    raw = published("quickstart_onceedit")
    raw = {**raw, "model": "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "dtype": "bfloat16", **more}
    raw["ensemble"]["targets"] = ("EleutherAI/gpt-j-6b", "meta-llama/Llama-2-7b-hf")
    raw["arms"]["onceedit"]["training"] = {"optimiser": optimiser}
    return run_config(raw)


def test_a_plug_in_and_its_targets():
    config = onceedit()
    plug = known_shape(config.model)
    targets = {name: known_shape(name) for name in config.ensemble.targets}
    found = estimate(config, plug, targets)
    sizes = {part.name: part.size for part in found.parts}
    count = 1_100_048_384 + 2 * 2048  # and the gate's row, in the embedding and in the head
    assert sizes["parameters"] == 2 * count
    assert sizes["all parameters as edited, float32"] == 4 * count
    assert sizes["Adam's moments before and after a step"] == pytest.approx(16 * count, rel=1e-6)
    assert sizes["their gradient, float32"] == 4 * count
    relative = "relative representations with EleutherAI/gpt-j-6b, float32, at most"
    assert sizes[relative] == 4 * 32000 * (50400 + 32001)
    assert sizes["parameters of EleutherAI/gpt-j-6b"] == 2 * 6_050_882_784
    assert not any("Llama-2" in name for name in sizes)  # one target at a time: the larger one
    held = (sum(part.size for part in found.parts if part.phase == p) for p in PHASES)
    always, edited, editing, serving = held
    assert found.peak == always + edited + max(editing, serving)
    assert serving > sizes[relative] + 2 * 6_050_882_784
    config = onceedit(mesh={"data": 4})
    config = dataclasses.replace(
        config, ensemble=dataclasses.replace(config.ensemble, sharded=True)
    )
    parts = estimate(config, plug, targets).parts
    held = [part.size for part in parts if part.name.startswith("relative")]
    assert held == [32000 * (32000 + 32001)]  # a fourth, of the other target's
    gptj = {"EleutherAI/gpt-j-6b": targets["EleutherAI/gpt-j-6b"]}
    for how, each in (("bfloat16", 2), ("computed", 0)):
        ensemble = dataclasses.replace(onceedit().ensemble, held=how, targets=tuple(gptj))
        parts = estimate(dataclasses.replace(onceedit(), ensemble=ensemble), plug, gptj).parts
        held = sum(part.size for part in parts if part.name.startswith("relative"))
        assert held == each * 32000 * (50400 + 32001)
    wide = onceedit(dtype="float32")
    assert estimate(wide, plug).peak < estimate(wide, plug, targets).peak


def test_fine_tuning_whole_is_counted_as_it_is_kept():
    plugin = Plugin(tiny_model(), 0)
    whole = parameter_count(plugin.lm.config)
    assert whole == sum(leaf.size for leaf in jax.tree.leaves(plugin.lm.params))
    for optimiser in ("adam", "muon"):
        training = Training(optimiser=optimiser, batch=8, ratio=0.5)
        counted = training_parts(plugin.lm.config, training, 64)
        state = jax.eval_shape(partial(begin, plugin, training))
        moments = jax.tree.leaves(state.moments)
        held = sum(leaf.size * leaf.dtype.itemsize for leaf in moments)
        assert counted[f"{optimiser.capitalize()}'s moments before and after a step"] == 2 * held
    assert held < 1.6 * 4 * whole  # Muon has one moment of a matrix, Adam two
    widest = [training_parts(plugin.lm.config, Training(batch=b), 64) for b in (8, 16)]
    name = "activations of a batch of edits"
    assert widest[1][name] == 2 * widest[0][name]


def test_a_target_of_unknown_shape_is_refused_by_its_flag():
    with pytest.raises(UserError, match=r"--config\.ensemble\.targets=someone/some-model"):
        known_shape("someone/some-model", "ensemble.targets")


def test_a_large_model_on_several_devices():
    """Llama-3-70B: what one device needs, and which setting would make it fit."""
    raw = {**published("d4s_llama2"), "model": "meta-llama/Meta-Llama-3-70B", "dtype": "float32"}
    config = run_config({**raw, "layers": (6, 7, 8)})
    model = known_shape(config.model)
    needed = estimate(config, model)
    ways = dict(remedies(config, model, None, 8))
    assert next(iter(ways)) == "--config.dtype=bfloat16"
    assert needed.peak > ways["--config.mesh.model=2"].peak > ways["--config.mesh.model=8"].peak
    sizes = by_name(ways["--config.dtype=bfloat16 --config.mesh.model=8"])
    assert sizes["parameters"] == pytest.approx(70_553_706_496 * 2 / 8 / GIB, rel=1e-3)
    h200 = 141 * 10**9
    fits = [flags for flags, other in ways.items() if other.peak <= h200]
    with pytest.raises(UserError) as caught:
        refuse_if_too_large(needed, h200, ways=ways.items)
    assert str(caught.value).endswith(f"{fits[0]} would do")
    with pytest.raises(UserError, match="larger or more devices"):
        refuse_if_too_large(needed, 10**9, ways=ways.items)
    with pytest.raises(UserError, match=r"memory of a machine that has .* fewer --config.layers"):
        refuse_if_too_large(needed, None, host=10**9)
