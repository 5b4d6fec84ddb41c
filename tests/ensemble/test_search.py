import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.ensemble.maps import Map
from jaxedit.ensemble.search import (
    exceptions,
    oracle,
    search,
    search_column,
    search_probabilities,
    ties,
)
from tests.ensemble.random_space import random_rows

WORDS, COMMON, LONG = 40, 24, 20
RATE = {"learning_rate": 0.15, "steps": 3, "trace": True}


def example(seed: int = 0) -> tuple[jax.Array, jax.Array, jax.Array]:
    """R, two starts and two targets of which some entries are zero."""
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, WORDS, COMMON, 3.0)
    start = rng.normal(size=(2, WORDS)).astype(np.float32)
    fused = np.where(rng.random((2, COMMON)) < 0.3, 0, rng.random((2, COMMON)))
    fused = (fused / fused.sum(1, keepdims=True)).astype(np.float32)
    return jnp.asarray(rows), jnp.asarray(start), jnp.asarray(fused)


def plain(rows, z, fused, steps):
    """The search as one would write it down, with automatic differentiation."""

    def loss(z):
        q = jax.nn.softmax(z) @ rows
        terms = jnp.where(
            fused > 0, fused * (jnp.log(jnp.where(fused > 0, fused, 1)) - jnp.log(q)), 0
        )
        return terms.mean(-1).sum()

    optimiser = optax.adamw(optax.cosine_decay_schedule(0.15, 10, 0.25), weight_decay=0.01)
    state = optimiser.init(z)
    for _ in range(steps):
        updates, state = optimiser.update(jax.grad(loss)(z), state, z)
        z = optax.apply_updates(z, updates)
    return z


@pytest.mark.parametrize("paired", [False, True])
def test_it_descends_the_divergence(paired):
    rows, start, fused = example()
    target, whole = Map(rows), rows
    if paired:  # end-of-text has a column of its own, and no part in the others
        ends = jnp.zeros(WORDS, bool).at[jnp.asarray([3, 5])].set(True)
        target = Map(rows, ends)
        inner = jnp.where(ends[:, None], 0, rows)
        whole = jnp.concatenate([inner, ends[:, None].astype(jnp.float32)], 1)
        fused = jnp.concatenate([0.8 * fused, jnp.full((2, 1), 0.2)], 1)
    found = jax.jit(lambda s, p: search(target, s, p, **RATE))(start, fused)
    expected = jax.jit(lambda s, p: plain(whole, s, p, 3))(start, fused)
    # AdamW makes a coordinate's rounding noise as large as its gradient is small.
    np.testing.assert_allclose(found.values, expected, atol=2e-3)
    assert found.trajectory.shape == (2, 4, WORDS)
    np.testing.assert_array_equal(found.trajectory[:, 0], start)
    np.testing.assert_array_equal(found.trajectory[:, -1], found.values)
    assert (np.diff(np.asarray(found.losses)) < 0).all()


@pytest.mark.parametrize("paired", [False, True])
def test_a_one_hot_target_needs_one_column(paired):
    rows, start, _ = example()
    target = Map(rows, jnp.arange(WORDS) == 7 if paired else None)
    index = jnp.asarray([4, target.anchors - 1])
    whole = search(target, start, jax.nn.one_hot(index, target.anchors), **RATE)
    column = search_column(target.columns(index), target.anchors, start, **RATE)
    np.testing.assert_allclose(column.trajectory, whole.trajectory, atol=2e-5)
    np.testing.assert_allclose(column.losses, whole.losses, rtol=1e-5)


@jax.jit
def _path(column, rate):
    zeros = jnp.zeros_like(column)
    return search_column(
        column, COMMON, zeros, learning_rate=rate, steps=LONG, trace=True
    ).trajectory


def nearly_tied(seed: int, sharp: float, ratio: float) -> np.ndarray:
    """Columns of random distributions, in each another word nearly as good as the best, [A, V]."""
    rng = np.random.default_rng(seed)
    columns = random_rows(rng, WORDS, COMMON, sharp).T.astype(np.float64)
    rival = (columns.argmax(1) + 1 + rng.integers(0, WORDS - 1, COMMON)) % WORDS
    columns[np.arange(COMMON), rival] = ratio * columns.max(1)
    return columns


@given(
    seed=st.integers(0, 2**32 - 1),
    sharp=st.floats(0, 12),
    ratio=st.floats(0.5, 1 - 1e-6),
    rate=st.sampled_from([0.01, 0.05, 0.15]),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_from_zero_it_ends_at_the_best_of_the_column_after_any_number_of_steps(
    seed, sharp, ratio, rate
):
    columns = nearly_tied(seed, sharp, ratio)
    with jax.enable_x64(True):
        path = np.asarray(_path(columns, np.float64(rate)))
    assert path.dtype == np.float64
    best = np.repeat(columns.argmax(1)[:, None], LONG, axis=1)
    np.testing.assert_array_equal(path[:, 1:].argmax(-1), best)


def level_columns() -> np.ndarray:
    """R in which a twentieth of the words stand a little above the others in every column."""
    rng = np.random.default_rng(0)
    rows = 0.1 + 1e-3 * rng.random((WORDS, COMMON))
    rows[:2] = rng.uniform(0.15, 0.2, (2, COMMON))
    return rows.astype(np.float32)


def test_adamw_may_pass_the_best_by_in_long_steps():
    """Where no word outweighs the rest, probabilities outgrow the gradients' decline."""
    rows = level_columns()
    target, table = Map(jnp.asarray(rows)), rows.argmax(0)
    assert not len(exceptions(target, table, learning_rate=0.15, steps=1))
    assert not len(exceptions(target, table, learning_rate=0.05, steps=5))
    found = exceptions(target, table, learning_rate=0.15, steps=5)
    np.testing.assert_array_equal(found, np.arange(COMMON))


def test_the_first_step_ranks_all_words_as_the_column_does():
    columns = np.asarray(example()[0], np.float64).T
    with jax.enable_x64(True):
        path = _path(columns, np.float64(0.15))
    np.testing.assert_array_equal(np.argsort(path[:, 1]), np.argsort(columns))


def test_the_oracle_answers_every_step_and_takes_a_repeated_column_once():
    rows = jnp.asarray(random_rows(np.random.default_rng(1), WORDS, 70, 2.0))  # two blocks
    index = np.asarray([5, 69, 5, 0, *range(70)])
    np.testing.assert_array_equal(oracle(Map(rows), index), np.asarray(rows).argmax(0)[index])


def test_ties_are_the_columns_whose_second_word_is_nearly_the_best():
    rows = np.asarray(random_rows(np.random.default_rng(2), WORDS, 300, 1.0))
    rows[[3, 4], 7] = 0.9, 0.9 * 0.9985
    rows[[3, 4], 280] = 0.9
    ordered = np.sort(rows, axis=0)
    ratios = ordered[-2] / ordered[-1]
    found = ties(Map(jnp.asarray(rows)), jnp.asarray(rows.argmax(0)))
    np.testing.assert_array_equal(found.columns, np.flatnonzero(ratios > 0.998))
    np.testing.assert_allclose(found.ratios, ratios[found.columns], rtol=1e-6)
    assert {7, 280} <= set(found.columns.tolist())


def test_probabilities_searched_from_zero_take_their_first_step_along_the_column():
    rows, start, _ = example()
    index = jnp.asarray([4, 9])
    fused = jax.nn.one_hot(index, COMMON)
    found = search_probabilities(
        Map(rows), jnp.zeros_like(start), fused, learning_rate=0.15, steps=1
    )
    np.testing.assert_allclose(found.values, 2 * 0.15 * rows[:, index].T, rtol=1e-5)
    np.testing.assert_allclose(found.losses, [[1.0], [1.0]])
