"""What sets the methods apart: the equations that each of them solves."""

import dataclasses
import logging as python_logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.editors import least_squares
from jaxedit.editors.alphaedit import _null_space, _solve
from jaxedit.editors.editor import take
from jaxedit.editors.least_squares import prior, solve_batch, solve_equalities
from jaxedit.editors.weights import leaves
from jaxedit.errors import UserError
from tests.editors.test_editors import editor_of, likelihood
from tests.tiny import tiny_facts, tiny_model

RNG = np.random.default_rng(0)
U, V, N = 5, 24, 4
MOMENT = (lambda a: a.T @ a / 60)(RNG.normal(size=(60, V)))
KEYS, RESIDUALS = RNG.normal(size=(N, V)), RNG.normal(size=(N, U))


def test_equalities_hold_and_are_the_cheapest():
    before = prior(MOMENT, 3.0, layer=1)
    rank = solve_equalities(before, KEYS, KEYS, RESIDUALS, layer=1)
    delta = np.asarray(rank.left) @ np.asarray(rank.right).T
    np.testing.assert_allclose(delta @ KEYS.T, RESIDUALS.T, atol=1e-10)
    other = delta + RNG.normal(size=delta.shape) @ (np.eye(V) - np.linalg.pinv(KEYS) @ KEYS)
    np.testing.assert_allclose(other @ KEYS.T, RESIDUALS.T, atol=1e-10)
    assert np.trace(delta @ MOMENT @ delta.T) < np.trace(other @ MOMENT @ other.T)


@pytest.mark.parametrize("count", [N, V])  # by Woodbury's identity, and by the whole width
def test_slack_is_a_smaller_lambda(count: int):
    keys, residuals = RNG.normal(size=(count, V)), RNG.normal(size=(count, U))
    with jax.enable_x64(True):
        wide = [jnp.asarray(x) for x in (keys, residuals)]
        ours = solve_batch(prior(MOMENT, 3.0, layer=1), *wide, slack=0.1)
        theirs = solve_batch(prior(MOMENT, 0.3, layer=1), *wide)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    solved = np.linalg.solve(3.0 * MOMENT, keys.T)  # EMMET as it is written
    gram = keys @ solved + 0.1 * np.eye(count)
    np.testing.assert_allclose(ours, residuals.T @ np.linalg.solve(gram, solved.T), rtol=1e-8)


def test_facts_with_one_key_get_a_ridge_that_is_reported(caplog: pytest.LogCaptureFixture):
    keys = np.stack([KEYS[0], KEYS[1], KEYS[0]])
    with caplog.at_level(python_logging.WARNING):
        rank = solve_equalities(prior(MOMENT, 1.0, layer=7), keys, keys, RESIDUALS[:3], layer=7)
    assert np.isfinite(np.asarray(rank.left)).all()
    message = caplog.records[-1].getMessage()
    assert message.startswith("layer 7: the keys of 3 facts are linearly dependent")
    assert "ridge of" in message


def test_keys_of_zero_are_refused():
    nothing = np.zeros((1, V))
    with pytest.raises(FloatingPointError, match="layer 7: the keys of 1 facts are zero"):
        solve_equalities(prior(MOMENT, 1.0, layer=7), nothing, nothing, RESIDUALS[:1], layer=7)


def test_statistics_that_are_singular_are_named_with_their_ridge(caplog: pytest.LogCaptureFixture):
    few = RNG.normal(size=(3, V))
    with caplog.at_level(python_logging.WARNING):
        found = prior(few.T @ few, 1.0, layer=5)
    assert found.ridge > 0
    assert caplog.records[-1].getMessage().startswith("layer 5: 1 x C is not positive definite")


def test_alphaedit_equals_the_published_unsymmetric_solve():
    """Delta^T = (P (K K^T + M) + L2 I)^-1 P K R^T on the whole width."""
    values = np.concatenate([np.full(10, 1e-3), np.linspace(1, 9, V - 10)])
    rotation, _ = np.linalg.qr(RNG.normal(size=(V, V)))
    basis = _null_space(rotation @ np.diag(values) @ rotation.T, 0.02, 3)
    assert basis.shape == (V, 10)
    past, ridge = RNG.normal(size=(6, V)), 2.5
    projector = np.asarray(basis) @ np.asarray(basis).T
    whole = projector @ (KEYS.T @ KEYS + past.T @ past) + ridge * np.eye(V)
    theirs = np.linalg.solve(whole, projector @ KEYS.T @ RESIDUALS).T
    with jax.enable_x64(True):
        inside = past @ np.asarray(basis)
        inverse = jnp.asarray(np.linalg.inv(inside.T @ inside + ridge * np.eye(10)))
        ours = _solve(inverse, basis, KEYS, RESIDUALS)
    np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_a_threshold_under_every_eigenvalue_is_refused():
    with pytest.raises(UserError, match=r"layer 3: no eigenvalue .* raise threshold"):
        _null_space(np.eye(V), 0.02, 3)


def test_rome_takes_one_layer():
    editor = dataclasses.replace(editor_of("rome"), layers=(1, 2))
    with pytest.raises(UserError, match="ROME edits one layer"):
        editor.init(tiny_model())


def test_a_batch_of_rome_solves_all_its_equations():
    lm, facts, editor = tiny_model(), tiny_facts(3), editor_of("r_rome")
    rows = editor.prepare(lm, facts)
    values = editor.found(lm, rows.values)
    rank, factors = editor.rank(lm, rows.keys, values)
    moved = np.asarray(rank.left) @ np.asarray(rank.right).T @ factors.keys[0].T
    np.testing.assert_allclose(moved.T, factors.residuals[0], atol=1e-6)


def test_fine_tuning_stays_in_its_box_and_knows_its_objective():
    lm, facts = tiny_model(), tiny_facts(2)
    editor = editor_of("ft_l", norm_constraint=1e-3)
    names = editor.places(lm)
    assert [name.rpartition("/")[2] for name in names] == ["mlp.down", "mlp.down.bias"]
    state, log = editor.edit(lm, editor.init(lm), editor.prepare(lm, facts))
    old, new = leaves(lm, names), leaves(editor.bind(lm, state), names)
    largest = max(float(jnp.abs(new[name] - old[name]).max()) for name in names)
    assert 0 < largest <= 1e-3 + 1e-6
    assert log["updates"].tolist() == [25, 25]


def test_prompt_last_scores_every_token_of_the_target_from_the_prompt():
    lm, facts = tiny_model(), tiny_facts(2)
    last = editor_of("ft").prepare(lm, facts)
    whole = editor_of("ft_m").prepare(lm, facts)
    for i, fact in enumerate(facts):
        prompt = len(lm.tokenizer.encode(fact.question))
        count = int(last.target_mask[i].sum())
        assert last.mask[i].sum() == prompt
        assert last.predict[i][:count].tolist() == [prompt - 1] * count
        assert whole.predict[i][:count].tolist() == list(range(prompt - 1, prompt - 1 + count))
        assert (whole.target[i] == last.target[i]).all()


def test_breadth_first_sees_every_fact_in_every_epoch_and_ends_with_the_end_of_text():
    lm, facts = tiny_model(), tiny_facts(5)
    editor = editor_of("locft_bf")
    order = editor._order(5, 0)
    assert order.shape == (8, 3, 2)
    assert all(sorted(epoch.ravel()) == [-1, 0, 1, 2, 3, 4] for epoch in order)
    assert len({epoch.tobytes() for epoch in order}) > 1
    assert (order == editor._order(5, 0)).all()
    rows = editor.prepare(lm, facts)
    last = rows.target_mask.sum(-1) - 1
    assert {int(row[at]) for row, at in zip(rows.target, last, strict=True)} == {
        lm.tokenizer.eos_id
    }
    state, _ = editor.edit(lm, editor.init(lm), rows)
    assert all(likelihood(editor.bind(lm, state), f) > likelihood(lm, f) for f in facts)


def test_training_stops_where_there_is_nothing_to_learn():
    lm, facts = tiny_model(), tiny_facts(1)
    editor = editor_of("ft_m", stop_below=1e9)
    state, log = editor.edit(lm, editor.init(lm), editor.prepare(lm, facts))
    assert log["updates"].tolist() == [0]
    names = editor.places(lm)
    for name, leaf in leaves(editor.bind(lm, state), names).items():
        assert np.array_equal(leaf, leaves(lm, [name])[name])


def test_a_training_loss_that_is_not_finite_names_the_fact():
    lm, facts = tiny_model(), tiny_facts(2)
    editor = editor_of("ft_m", learning_rate=float("nan"))
    with pytest.raises(FloatingPointError, match=r"layer 2: .*fact 0 .*not finite at step 1"):
        editor.edit(lm, editor.init(lm), take(editor.prepare(lm, facts), 0, 1))


def test_a_singular_gram_is_regular_again():
    gram = jnp.asarray(np.ones((3, 3)))
    with jax.enable_x64(True):
        assert np.linalg.cond(np.asarray(least_squares._regular(gram, "layer 1"))) < 1e9
