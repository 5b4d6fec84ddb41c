"""MALMEN: the least squares against numpy's, and the split gradient against the whole one's."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.editors import weights
from jaxedit.editors.captures import Captured, target_loss
from jaxedit.editors.hyper_network import Scales, Trained, initial_network
from jaxedit.editors.malmen import Malmen, malmen_shift, ridge_regression
from jaxedit.editors.meta_training import MetaTraining
from jaxedit.models.forward import forward
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

TRAINING = MetaTraining(steps=4, batch=4, validation=0.0)
MALMEN = Malmen((1,), rank=5, rate=1e-2, local_weight=0.6, remat=False, training=TRAINING)


@pytest.fixture(scope="module")
def malmen() -> Malmen:
    lm = small_model()
    made = MALMEN.initial(lm, MALMEN.prepare(lm, records()))
    return dataclasses.replace(MALMEN, trained=stirred(made))


@given(st.sampled_from((3, 8)), st.integers(0, 10_000), st.floats(-6, 4))
@settings(max_examples=20, deadline=None)
def test_least_squares_are_numpys_with_the_ridge_as_more_rows(rows: int, seed: int, theta: float):
    """|K X - V|^2 + e^theta |X|^2: rows e^(theta/2) I that want zeros. 5 inputs, fewer and more."""
    draw = np.random.default_rng(seed)
    keys, values = draw.normal(size=(rows, 5)), draw.normal(size=(rows, 3))
    more = np.exp(theta / 2) * np.eye(5)
    wanted = np.concatenate([values, np.zeros((5, 3))])
    expected = np.linalg.lstsq(np.concatenate([keys, more]), wanted, rcond=None)[0]
    with jax.enable_x64(True):
        found = ridge_regression(jnp.asarray(keys), jnp.asarray(values), jnp.asarray(theta))
    assert np.allclose(found, expected, atol=1e-9)


def test_gradients_go_through_the_solve_as_the_paper_takes_them():
    """dL/dV = K M, dL/dtheta = - e^theta sum(M * X), M = (K^T K + e^theta I)^-1 dL/dX."""
    draw = np.random.default_rng(0)
    slope, theta = draw.normal(size=(5, 3)), 0.7
    for rows in (3, 8):
        keys, values = draw.normal(size=(rows, 5)), draw.normal(size=(rows, 3))
        with jax.enable_x64(True):
            own: Any = jnp.asarray(values), jnp.asarray(theta)
            change, pull = jax.vjp(
                lambda v, t, k=keys: ridge_regression(jnp.asarray(k), v, t), *own
            )
            by_values, by_theta = pull(jnp.asarray(slope))
        m = np.linalg.solve(keys.T @ keys + np.exp(theta) * np.eye(5), slope)
        assert np.allclose(by_values, keys @ m, atol=1e-12)
        assert np.isclose(by_theta, -np.exp(theta) * (m * np.asarray(change)).sum(), rtol=1e-10)


def test_an_update_is_the_ridge_regression_of_what_tokens_ask_for(malmen: Malmen):
    lm, facts = small_model(), records()
    captured, found = captured_by(malmen, lm, facts), changes(lm, malmen, facts)
    trained = malmen.trained
    assert trained is not None
    for name, change in found.items():
        keys, own, gradient = factors(malmen, trained, captured, name)
        wanted = -float(trained.rates[name]) * (keys * own).sum(1, keepdims=True) * gradient
        ridge = np.exp(float(trained.ridges[name])) * np.eye(keys.shape[1])
        expected = np.linalg.solve(keys.T @ keys + ridge, keys.T @ wanted)
        assert close(change, expected, 1e-3)


def test_sums_take_over_where_there_are_more_tokens_than_inputs(malmen: Malmen):
    """Parts of 4 facts with 5 tokens at 16 inputs: the first part is few, the second too many."""
    draw, trained = np.random.default_rng(1), malmen.trained
    assert trained is not None
    [(name, rate)] = trained.rates.items()
    parts = [
        Captured(
            {name: draw.normal(size=(4, 5, 16)).astype(np.float32)},
            {name: draw.normal(size=(4, 5, 3)).astype(np.float32)},
            np.zeros(4, np.float32),
        )
        for _ in range(3)
    ]
    own = Trained(_network(16, 3), {name: rate}, malmen.initial_ridges([name]), _scales(16, 3))
    for count in (1, 3):
        some = parts[:count]
        whole: Captured = jax.tree.map(lambda *x: np.concatenate(x), *some)
        with jax.enable_x64(True):
            expected = malmen_shift(own, whole)[name]
        assert close(malmen.change(own, iter(some))[name], np.asarray(expected), 1e-5)


def _network(inputs: int, outputs: int) -> dict:
    made = initial_network({"layers_1/mlp.down": (inputs, outputs)}, 2, 2, 0)
    return stirred(Trained(made, {}, {}, {})).network


def _scales(inputs: int, outputs: int) -> dict:
    width = inputs + outputs
    return {f"{inputs}x{outputs}": Scales(np.zeros(width, np.float32), np.ones(width, np.float32))}


def test_the_split_gradient_is_that_of_the_whole():
    """Network, solve, edited model and both losses as one function, differentiated at once."""
    with jax.enable_x64(True):
        lm, facts = in_float64(), records()
        malmen = dataclasses.replace(MALMEN, layers=(0,))
        made = malmen.problem(lm, facts)
        at, places = stirred(made.initial, np.float64), np.arange(4)
        gradient, said = made.gradient(at, places, np.random.default_rng(0))
        edit, asked, local = made.gradient.args[1].draw(places, np.random.default_rng(0))  # type: ignore[attr-defined]
        captured = malmen.captured(lm, edit)
        kernels = weights.leaves(lm, malmen.places(lm))

        def logits(params: Any, rows: Any) -> jax.Array:
            out = forward(lm.config, params, rows.ids, rows.mask, logits_at=rows.predict)
            assert out.logits is not None
            return out.logits

        def whole(trained: Trained) -> jax.Array:
            change = malmen_shift(trained, captured)
            params = weights.insert(lm.params, {n: w + change[n] for n, w in kernels.items()})
            nll = target_loss(logits(params, asked), asked.target, asked.target_mask).sum()
            base, now = (jax.nn.log_softmax(logits(p, local)) for p in (lm.params, params))
            apart = jnp.where(local.target_mask, (jnp.exp(base) * (base - now)).sum(-1), 0).sum()
            return nll / asked.target_mask.sum() + 0.6 * apart / local.target_mask.sum()

        value, expected = jax.jit(jax.value_and_grad(whole))(at)
        assert np.isclose(said["loss"], value, rtol=1e-6)  # tokens' shares are float32
        for part in ("network", "rates", "ridges"):
            pairs = jax.tree.map(
                lambda a, b: (np.abs(a - b).max(), np.abs(b).max()),
                getattr(gradient, part),
                getattr(expected, part),
            )
            errors = jax.tree.leaves(pairs)
            assert max(errors[0::2]) <= 1e-5 * max(errors[1::2])
