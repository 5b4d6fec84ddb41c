"""MEND against its formulas, and the gradient of its training against differences."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.editors import weights
from jaxedit.editors.captures import capture, target_loss
from jaxedit.editors.hyper_network import Trained
from jaxedit.editors.hyper_rows import edit_rows, exercises
from jaxedit.editors.mend import Mend
from jaxedit.editors.meta_training import MetaTraining, train
from jaxedit.errors import UserError
from jaxedit.models.forward import forward
from jaxedit.sharding import replicate
from tests.editors.hyper import (
    captured_by,
    changes,
    close,
    factors,
    in_float64,
    records,
    small_model,
    stirred,
)
from tests.tiny import tiny_model

TRAINING = MetaTraining(steps=8, batch=4, learning_rate=3e-3, validation=0.0)
MEND = Mend((0, 1), rank=5, rate=1e-2, edit_weight=0.7, remat=True, training=TRAINING)


@pytest.fixture(scope="module")
def fresh() -> Mend:
    """With a network that is still the identity."""
    lm = small_model()
    made = MEND.initial(lm, MEND.prepare(lm, records()))
    return dataclasses.replace(MEND, trained=made)


@pytest.fixture(scope="module")
def mend(fresh: Mend) -> Mend:
    assert fresh.trained is not None
    return dataclasses.replace(fresh, trained=stirred(fresh.trained))


def test_keys_and_gradients_make_the_kernels_gradient():
    """dL/dW = sum of outer products, the gradient taken with respect to the kernel itself."""
    lm = small_model()
    rows, names = MEND.prepare(lm, records()), MEND.places(lm)

    @jax.jit
    def loss(kernels: dict[str, jax.Array]) -> jax.Array:
        params = weights.insert(lm.params, kernels)
        logits = forward(lm.config, params, rows.ids, rows.mask, logits_at=rows.predict).logits
        assert logits is not None
        return target_loss(logits, rows.target, rows.target_mask).sum()

    kernels = weights.leaves(lm, names)
    slopes, found = jax.grad(loss)(kernels), capture(lm, rows, names, "all")
    assert np.isclose(loss(kernels), found.loss.sum(), rtol=1e-5)
    for name in names:
        made = jnp.einsum("npi,npo->io", found.keys[name], found.gradients[name])
        assert close(made, np.asarray(slopes[name]), 1e-5)


def test_an_update_is_the_sum_of_the_rewritten_outer_products(mend: Mend):
    """Oracle in numpy; three facts, which the call fills up to four."""
    lm, facts = small_model(), records(3)
    captured, found = captured_by(mend, lm, facts), changes(lm, mend, facts)
    assert mend.trained is not None
    for name, change in found.items():
        _, u, delta = factors(mend, mend.trained, captured, name)
        expected = float(mend.trained.rates[name]) * np.einsum("bi,bj->ij", u, delta)
        assert close(change, expected, 1e-4)


def test_a_fresh_network_moves_along_the_normalised_gradient_and_uphill(fresh: Mend):
    """The published sign is plus; a negative rate goes down instead."""
    lm, facts = small_model(), records(4)
    captured, found = captured_by(fresh, lm, facts), changes(lm, fresh, facts)
    assert fresh.trained is not None
    for name, change in found.items():
        u, delta = (x[name].reshape((-1, x[name].shape[-1])) for x in captured[:2])
        real = u.any(1) & delta.any(1)
        scales = fresh.trained.scales[f"{u.shape[1]}x{delta.shape[1]}"]
        y = (np.concatenate([u, delta], axis=1)[real] - scales.mean) / scales.std
        expected = 1e-2 * y[:, : u.shape[1]].T @ y[:, u.shape[1] :]
        assert close(change, expected, 1e-3)
    for sign in (1, -1):
        rates = {name: np.float32(sign * 1e-3) for name in fresh.trained.rates}
        editor = dataclasses.replace(fresh, trained=fresh.trained._replace(rates=rates))
        prepared = editor.prepare(lm, facts)
        state, first = editor.edit(lm, editor.init(lm), prepared)
        _, second = editor.edit(lm, state, prepared)
        assert np.sign(second["loss"].mean() - first["loss"].mean()) == sign


def test_a_batch_is_the_sum_of_its_facts(mend: Mend):
    lm, facts = small_model(), records(3)
    whole, each = changes(lm, mend, facts), [changes(lm, mend, [fact]) for fact in facts]
    for name, change in whole.items():
        assert close(change, sum(own[name] for own in each), 1e-4)
    joint = changes(lm, dataclasses.replace(mend, joint=True), facts)
    assert not any(close(joint[name], whole[name], 0.05) for name in whole)


def test_scales_are_of_all_training_rows(fresh: Mend):
    lm = small_model()
    captured = captured_by(fresh, lm, records())
    assert fresh.trained is not None
    for shape, scales in fresh.trained.scales.items():
        rows = []
        for name in captured.keys:
            u, delta = (x[name].reshape((-1, x[name].shape[-1])) for x in captured[:2])
            if shape == f"{u.shape[1]}x{delta.shape[1]}":
                real = u.any(1) & delta.any(1)
                rows.append(np.concatenate([u, delta], axis=1)[real])
        x = np.concatenate(rows)
        assert np.allclose(scales.mean, x.mean(0), rtol=1e-4, atol=1e-7)
        assert np.allclose(scales.std, x.std(0, ddof=1), rtol=1e-4, atol=1e-7)


def test_the_gradient_of_training_is_that_of_differences():
    """In float64, along random directions of everything that is trained."""
    with jax.enable_x64(True):
        lm, facts, rng = in_float64(), records(), np.random.default_rng(5)
        problem = dataclasses.replace(MEND, layers=(0,)).problem(lm, facts)
        at, places = stirred(problem.initial, np.float64), np.arange(4)

        def loss(trained: Trained) -> float:
            return float(problem.losses(trained, places, np.random.default_rng(0))["loss"])

        gradient, said = problem.gradient(at, places, np.random.default_rng(0))
        assert np.isclose(said["loss"], loss(at), rtol=1e-12)
        for part in ("network", "rates"):
            way = jax.tree.map(lambda x: rng.normal(size=x.shape), getattr(at, part))
            found = inner(getattr(gradient, part), way)
            # A step so short that none of the network's kinks lies in it.
            there, back = (
                at._replace(**{part: plus(getattr(at, part), way, step)}) for step in (1e-8, -1e-8)
            )
            assert np.isclose((loss(there) - loss(back)) / 2e-8, found, rtol=1e-5)


def inner(one: Any, other: Any) -> float:
    products = jax.tree.map(lambda a, b: float((np.asarray(a) * b).sum()), one, other)
    return sum(jax.tree.leaves(products))


def plus(tree: Any, way: Any, step: float) -> Any:
    return jax.tree.map(lambda x, d: x + step * d, tree, way)


def test_a_handful_of_steps_lowers_the_loss():
    lm, facts = tiny_model(n_layers=1), records()
    problem = dataclasses.replace(MEND, layers=(0,), rate=-1e-3, remat=False).problem(lm, facts)
    made = train(problem, TRAINING)

    def loss(trained: Trained) -> float:
        _, said = problem.gradient(trained, np.arange(4), np.random.default_rng(1))
        return float(said["loss"])

    assert loss(made.params) < 0.9 * loss(problem.initial)
    same = jax.tree.map(np.array_equal, made.params.scales, problem.initial.scales)
    assert jax.tree.all(same)


def test_rows_of_training_belong_to_their_records():
    """A record without other words is asked its own; one without neighbours takes any."""
    lm, facts = small_model(), records()
    made = exercises(lm.tokenizer, facts, "paraphrase")
    places, rng = np.array([1, 3, 3]), np.random.default_rng(0)
    for _ in range(5):
        edit, asked, local = made.draw(places, rng)
        said = [lm.tokenizer.decode(row[real]) for row, real in zip(*asked[:2], strict=True)]
        assert np.array_equal(edit.ids[1], made.edit.ids[3])
        assert facts[1].question in said[0] and facts[3].paraphrases[0] in said[1]
        apart = [lm.tokenizer.decode(row[real]) for row, real in zip(*local[:2], strict=True)]
        assert apart[0].startswith("Is Vup")
        assert any(apart[1].startswith(near.prompt) for near in facts[3].neighbours)
    whole = exercises(lm.tokenizer, facts, "either")
    assert np.diff(whole.asked_first).tolist() == [2, 1, 2, 2]
    with pytest.raises(UserError, match="have no neighbours"):
        exercises(lm.tokenizer, [facts[1]], "prompt")


def test_bos_is_asked_for_as_in_the_published_code():
    class WithBos:
        bos_id = 7

        def __getattr__(self, name: str) -> Any:
            return getattr(small_model().tokenizer, name)

    facts: Any = records(2)
    rows, plain = (
        edit_rows(WithBos(), facts, label_bos=asked)  # type: ignore[arg-type]
        for asked in (True, False)
    )
    assert (rows.target[:, 0] == 7).all() and rows.target_mask[:, 0].all()
    assert np.array_equal(rows.predict[:, 0], plain.predict[:, 0] - 1)
    assert np.array_equal(rows.target[:, 1:], plain.target)


def test_what_stops_an_edit(mend: Mend):
    lm, facts = small_model(), records(2)
    prepared = mend.prepare(lm, facts)
    bare = dataclasses.replace(mend, trained=None)
    with pytest.raises(UserError, match="trained once"):
        bare.edit(lm, bare.init(lm), prepared)
    assert mend.trained is not None
    broken = mend.trained._replace(rates={name: np.float32(np.nan) for name in mend.trained.rates})
    with pytest.raises(FloatingPointError, match="the change of layers_0"):
        dataclasses.replace(mend, trained=broken).edit(lm, mend.init(lm), prepared)


def test_what_is_trained_is_kept_whole(mend: Mend):
    assert mend.trained is not None
    again = mend.unpack(small_model(), mend.pack(mend.trained))
    assert jax.tree.structure(again) == jax.tree.structure(mend.trained)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, mend.trained))


def test_two_devices_train_and_edit_as_one():
    """Rows are split; the network is on both."""
    facts, found = records(), []
    editor = dataclasses.replace(MEND, layers=(0,), rate=-1e-3, remat=False)
    for devices in (1, 2):
        lm = tiny_model(devices, n_layers=1)
        problem = editor.problem(lm, facts)
        own = replicate(stirred(problem.initial), lm.mesh)
        gradient, said = problem.gradient(own, np.arange(4), np.random.default_rng(0))
        edits = changes(lm, dataclasses.replace(editor, trained=own), facts)
        found.append((jax.tree.map(np.asarray, gradient.network), edits, said["loss"]))
    pairs = [zip(*map(jax.tree.leaves, part), strict=True) for part in zip(*found, strict=True)]
    for part in pairs:
        one, two = (np.concatenate([np.ravel(x) for x in own]) for own in zip(*part, strict=True))
        assert close(two, one, 1e-4)
