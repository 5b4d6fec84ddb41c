"""Training the embedded models: the knockout, the loss, and a small run."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import factworld_gptj, factworld_llama, factworld_plugin
from jaxedit import training
from jaxedit.data.factworld import World, vocabulary
from jaxedit.data.factworld.batches import Batch, batches
from jaxedit.editors.settings import read_settings
from jaxedit.errors import UserError
from jaxedit.models.forward import forward, init_params, param_shapes
from jaxedit.models.loading import load_model
from jaxedit.sharding import make_mesh

CONFIGS = (factworld_gptj, factworld_llama, factworld_plugin)


TINY = {"n_layers": 1, "d_model": 32, "d_ff": 32, "n_heads": 2, "n_kv_heads": 2, "head_dim": 16}


def tiny(module=factworld_gptj, **changed) -> training.Recipe:
    """A shipped recipe, but for a model and a run of seconds."""
    raw = module.get_config().to_dict()
    raw["model"] |= {**TINY, "rotary_dim": 8 if module is factworld_gptj else 16}
    raw["knockout"] |= {"last_layer": 0}
    raw["editing"] |= {"layers": (0,)}
    raw |= {"vocab_size": 500, "steps": 12, "decay_steps": 12, "warmup": 2, "tokens": 384}
    raw |= {"lengths": (48,), "log_every": 4, "save_every": 100, **changed}
    return training.read_recipe(raw)


@pytest.fixture(autouse=True)
def few_worlds(monkeypatch):
    monkeypatch.setattr(vocabulary, "OTHER_WORLDS", range(100, 102))


@pytest.fixture(scope="module")
def batch() -> Batch:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "OTHER_WORLDS", range(100, 102))
        tokenizer = vocabulary.byte_level(500)
    return next(batches(tokenizer, World(0), 0, 384, (48,)))


def test_the_shipped_recipes_are_valid():
    for module in CONFIGS:
        recipe = training.read_recipe(module.get_config().to_dict())
        assert max(recipe.editing.layers) <= recipe.knockout.last_layer
        assert recipe.knockout.last_layer < recipe.model["n_layers"] - 2


def test_shipped_models_are_small():
    """Bytes of all three in the dtype in which they are written."""
    total = 0
    for module in CONFIGS:
        recipe = training.read_recipe(module.get_config().to_dict())
        tokenizer = vocabulary.TOKENIZERS[recipe.tokenizer](recipe.vocab_size)
        shapes = param_shapes(training.model_config(recipe, tokenizer))
        total += 2 * sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    assert total < 14e6


def test_knockout_cuts_names_off_below_and_all_but_their_last_token_above(batch):
    batch = Batch(*(field[:3] for field in batch))
    rows, length = batch.ids.shape
    chosen = jnp.arange(rows, dtype=jnp.int32) % 2 == 0
    cut = training.knockouts(batch, chosen, n_layers=3, last_layer=1)
    cut = {layer: np.asarray(edges) for layer, edges in cut.items()}
    for row in range(rows):
        for query in range(length):
            for key in range(length):
                subject, last = batch.subject[row, key], batch.subject_last[row, key]
                other = chosen[row] and subject >= 0 and batch.subject[row, query] != subject
                assert cut[0][row, query, key] == cut[1][row, query, key] == other
                assert cut[2][row, query, key] == (other and not last)


def test_with_knockout_a_subject_is_known_by_its_last_token_alone(batch):
    """Changing the name's other tokens changes nothing if the last one's stream is put back."""
    recipe = tiny()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "OTHER_WORLDS", range(100, 102))
        config = training.model_config(recipe, vocabulary.byte_level(500))
    params = init_params(config, jax.random.key(0))
    everyone = jnp.ones(len(batch.ids), bool)
    cut = training.knockouts(batch, everyone, config.n_layers, last_layer=config.n_layers - 1)
    inside = (batch.subject >= 0) & ~batch.subject_last
    changed = np.where(inside, (batch.ids + 7) % config.vocab_size, batch.ids)
    run = jax.jit(lambda ids: forward(config, params, ids, batch.mask, knockout=cut).hidden)
    before, after = run(batch.ids), run(changed)
    outside = batch.mask & (batch.subject < 0)
    assert np.array_equal(np.asarray(before)[outside], np.asarray(after)[outside])
    assert not np.array_equal(before, after)


def test_the_first_loss_is_that_of_a_guess(batch):
    recipe = tiny()
    config = training.model_config(recipe, vocabulary.byte_level(500))
    params = init_params(config, jax.random.key(0))
    value, accuracy = training.loss(config, recipe, params, batch, jax.random.key(1))
    assert value == pytest.approx(math.log(config.vocab_size), rel=0.05)
    assert 0 <= accuracy < 0.2


@pytest.mark.parametrize("family", ["gptj", "llama"])
def test_a_short_run_learns_and_writes_a_model(tmp_path, family):
    recipe = tiny(factworld_gptj if family == "gptj" else factworld_llama)
    losses = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.logging, "info", lambda line, *values: losses.append(values))
        trained = training.train(recipe, tmp_path)
    losses = [values[2] for values in losses if len(values) == 5]
    assert len(losses) == 3 and losses[-1] < losses[0] - 0.2

    read = load_model(tmp_path, dtype="auto", mesh=make_mesh(1))
    assert read.params["embed"]["tokens"].dtype == "bfloat16"
    assert read.config.eos_ids == (read.tokenizer.eos_id,)
    for a, b in zip(jax.tree.leaves(trained.params), jax.tree.leaves(read.params), strict=True):
        np.testing.assert_allclose(a, np.asarray(b, np.float32), rtol=2**-8, atol=1e-30)
    assert read_settings(str(tmp_path)) == recipe.editing
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == family


@pytest.mark.slow
def test_the_same_recipe_gives_the_same_model(tmp_path):
    recipe = tiny(steps=3)
    first, second = (training.train(recipe, tmp_path / name) for name in "ab")
    for a, b in zip(jax.tree.leaves(first.params), jax.tree.leaves(second.params), strict=True):
        assert np.array_equal(a, b)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, monkeypatch):
    diverged = training.Progress(jnp.float32(jnp.nan), jnp.float32(0))
    real = training.make_update

    def broken(config, recipe):
        return real(config, recipe)[0], lambda params, state, *_: (params, state, diverged)

    monkeypatch.setattr(training, "make_update", broken)
    with pytest.raises(FloatingPointError, match="before step 4"):
        training.train(tiny(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 3}, r"--config.step: no such setting; did you mean steps\?"),
        ({"steps": 0}, "--config.steps: must be at least 1"),
        ({"steps": None}, "--config.steps: missing"),
        ({"tokens": 10}, "--config.tokens: 10 holds no row"),
        ({"warmup": 2000}, "--config.warmup: 2000 is not below 1500"),
        ({"tokenizer": "words"}, "--config.tokenizer: expected one of"),
    ],
)
def test_mistakes_in_a_recipe_name_the_flag(change, message):
    config = {**factworld_gptj.get_config().to_dict(), **change}
    with pytest.raises(UserError, match=message):
        training.read_recipe(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_modle": 3}, "--config.model.d_modle: no such setting; did you mean d_model"),
        ({"n_kv_heads": 3}, "--config.model: 4 heads cannot share 3"),
        ({"family": None}, "--config.model"),
    ],
)
def test_mistakes_in_a_model_name_the_flag(change, message):
    raw = factworld_gptj.get_config().to_dict()
    raw["model"] |= change
    with pytest.raises(UserError, match=message):
        training.model_config(training.read_recipe(raw), vocabulary.byte_level(500))
