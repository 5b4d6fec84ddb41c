"""UltraEdit against its formulas, on keys and gradients that the whole model gives."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.editors.editor import take
from jaxedit.editors.normaliser import EPSILON, Normaliser, follow, normalise
from jaxedit.editors.rows import TargetRows
from jaxedit.editors.ultraedit import UltraEdit
from jaxedit.editors.weights import leaf
from jaxedit.errors import UserError
from jaxedit.models.forward import forward
from jaxedit.models.sites import Tap
from tests.tiny import tiny_facts, tiny_model

LAYERS = (0, 1)
MODULES = ("mlp.up", "mlp.down")
RATE = 2e-3


def small_model() -> Any:
    return tiny_model(n_layers=2)


def an_editor(**changes: Any) -> UltraEdit:
    return dataclasses.replace(
        UltraEdit(LAYERS, MODULES, learning_rate=RATE, micro_batch=3), **changes
    )


@jax.jit(static_argnums=(0, 3))
def _whole(config: Any, params: Any, rows: TargetRows, places: tuple) -> Any:
    """Inputs and gradients of linears at every column, for one micro-batch's mean loss."""
    taps = tuple(Tap(layer, f"{linear}.in") for layer, linear in places)
    keys = forward(config, params, rows.ids, rows.mask, taps=taps).taps

    def loss(added: list) -> jax.Array:
        def plus(x: jax.Array) -> Any:
            return lambda _, y, context: (y + x, None)

        adapters = {place: plus(x) for place, x in zip(places, added, strict=True)}
        logits = forward(config, params, rows.ids, rows.mask, adapters=adapters).logits
        assert logits is not None
        log_p = jax.nn.log_softmax(logits)
        log_p = jnp.take_along_axis(log_p, rows.predict[..., None], axis=1)
        gold = jnp.take_along_axis(log_p, rows.target[..., None], axis=-1)[..., 0]
        return -jnp.where(rows.target_mask, gold, 0).sum() / rows.target_mask.sum()

    widths = [params[f"layers_{i}"]["mlp"][m[4:]]["kernel"].shape[1] for i, m in places]
    return keys, jax.grad(loss)([jnp.zeros((*rows.ids.shape, width)) for width in widths])


def captured(lm: Any, rows: TargetRows, names: tuple, size: int) -> dict[str, list]:
    """By kernel: (k, g) of each micro-batch, [tokens, width] float64, in the tokens' order."""
    places = tuple((int(name[7]), name[9:]) for name in names)
    found: dict[str, list] = {name: [] for name in names}
    for start in range(0, len(rows.ids), size):
        some = jax.tree.map(lambda x, s=start: x[s : s + size], rows)
        fill = size - len(some.ids)  # zeros, so that one shape is compiled; masked
        some = jax.tree.map(lambda x, n=fill: np.pad(x, ((0, n), (0, 0))), some)
        keys, gradients = _whole(lm.config, lm.params, some, places)
        real = some.target_mask
        at = np.nonzero(real)[0], some.predict[real]
        for name, k, g in zip(names, keys, gradients, strict=True):
            found[name].append(tuple(np.asarray(x, np.float64)[at] for x in (k, g)))
    return found


def turn(
    lm: Any, seen: dict, rows: TargetRows, editor: UltraEdit
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """K, V and the kernel's change by each linear; `seen` holds all rows [k ; g] so far."""
    names = editor.places(lm)
    found = captured(lm, rows, names, editor.micro_batch)
    for name, batches in found.items():
        shape = leaf(lm, name).shape
        seen.setdefault(shape, []).extend(np.concatenate(pair, axis=1) for pair in batches)
    result = {}
    for name, batches in found.items():
        groups = seen[leaf(lm, name).shape]
        x = np.concatenate(groups)
        std = x.std(0, ddof=1)
        k, g = (np.concatenate(part) for part in zip(*batches, strict=True))
        inputs = k.shape[1]
        scaled = (np.concatenate([k, g], axis=1) - x.mean(0)) / (std + EPSILON)
        v = -RATE * (scaled[:, :inputs] ** 2).sum(1, keepdims=True) * scaled[:, inputs:]
        # The form as published, as wide as the linear's input.
        result[name] = k, v, np.linalg.solve(k.T @ k + np.eye(inputs), k.T @ v)
    return result


def test_two_turns_follow_the_formulas():
    """Oracle; the second turn is captured on the edited model and normalised with both."""
    lm, facts = small_model(), tiny_facts(8)
    editor = an_editor()
    prepared = editor.prepare(lm, facts)
    state, now, seen = editor.init(lm), lm, {}
    for part in (take(prepared, 0, 4), take(prepared, 4, 8)):  # micro-batches of 3 and 1
        expected = turn(now, seen, part, editor)
        before = state
        state, log = editor.edit(lm, state, part)
        assert len(log["loss"]) == 4
        for name, (k, v, change) in expected.items():
            found = np.asarray(state.leaves[name]) - np.asarray(before.leaves[name])
            assert np.abs(found - change).max() < 2e-3 * np.abs(change).max()
            small = k.T @ np.linalg.solve(k @ k.T + np.eye(len(k)), v)
            assert np.allclose(small, change, atol=1e-12)
        now = editor.bind(lm, state)
    counts = {shape: sum(map(len, groups)) for shape, groups in seen.items()}
    for (inputs, outputs), count in counts.items():
        assert state.normalisers[f"{inputs}x{outputs}"].rows == count
    assert state.edits == 8


def test_a_turn_makes_its_targets_likelier():
    lm, facts = small_model(), tiny_facts(4)
    editor = an_editor()
    prepared = editor.prepare(lm, facts)
    before = jax.tree.map(np.asarray, lm.params)
    state, first = editor.edit(lm, editor.init(lm), prepared)
    _, second = editor.edit(lm, state, prepared)
    assert (second["loss"] < first["loss"]).all()
    same = jax.tree.map(np.array_equal, before, jax.tree.map(np.asarray, lm.params))
    assert all(jax.tree.leaves(same))


def test_a_restored_state_goes_on_bit_for_bit():
    lm, facts = small_model(), tiny_facts(8)
    editor = an_editor()
    prepared = editor.prepare(lm, facts)
    first, _ = editor.edit(lm, editor.init(lm), take(prepared, 0, 4))
    kept = editor.restore(lm, jax.tree.map(np.asarray, editor.snapshot(first)))
    live, _ = editor.edit(lm, first, take(prepared, 4, 8))
    again, _ = editor.edit(lm, kept, take(prepared, 4, 8))
    assert jax.tree.all(jax.tree.map(np.array_equal, live, again))
    assert again.edits == 8
    fresh, _ = editor.edit(lm, editor.init(lm), take(prepared, 4, 8))
    assert fresh.edits == 4
    names = live.leaves
    assert not any(np.allclose(live.leaves[name], fresh.leaves[name]) for name in names)


def groups_of(sizes: tuple[int, ...], width: int = 5) -> tuple[np.ndarray, np.ndarray, list]:
    """Groups filled up with rubbish: rows [groups, N, F], real [groups, N], and each by itself."""
    draw = np.random.default_rng(0)
    rows = draw.normal(3, 2, (len(sizes), max(sizes), width))
    real = np.arange(max(sizes)) < np.asarray(sizes)[:, None]
    return rows, real, [x[here] for x, here in zip(rows, real, strict=True)]


def after(start: Normaliser, rows: np.ndarray, real: np.ndarray, legacy: bool = False) -> Any:
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, follow(start, rows, real, legacy=legacy))


def test_the_normaliser_pools_groups_of_any_size():
    rows, real, each = groups_of((4, 1, 7, 2))
    whole = np.concatenate(each)
    two = after(after(Normaliser.empty(5), rows[:2], real[:2]), rows[2:], real[2:])
    with jax.enable_x64(True):
        found = np.asarray(normalise(two, jnp.asarray(whole)))
    assert np.allclose(two.mean, whole.mean(0), rtol=1e-12)
    assert np.allclose(two.square / (two.rows - 1), whole.var(0, ddof=1), rtol=1e-12)
    expected = (whole - whole.mean(0)) / (whole.std(0, ddof=1) + EPSILON)
    assert np.allclose(found, expected, rtol=1e-10)


def test_the_legacy_variance_is_too_large_by_its_known_factor():
    """b var_b in place of (b - 1) var_b: a lone group of b rows is off by sqrt(b / (b - 1))."""
    for b in (2, 10):
        rows, real, (x,) = groups_of((b,))
        found = after(Normaliser.empty(5), rows, real, legacy=True)
        std = np.sqrt(found.square / (found.rows - 1))
        assert np.allclose(std / x.std(0, ddof=1), np.sqrt(b / (b - 1)), rtol=1e-12)


def test_a_first_row_alone_changes_nothing():
    """It has no deviation; 1 is taken, and it is its own mean."""
    rows, real, (x,) = groups_of((1,))
    for legacy in (False, True):
        found = after(Normaliser.empty(5), rows, real, legacy)
        with jax.enable_x64(True):
            assert np.array_equal(normalise(found, jnp.asarray(x)), np.zeros((1, 5)))


def test_places_are_linears_of_all_layers_or_single_ones():
    lm = small_model()
    mixed = UltraEdit(LAYERS, ("mlp.down", "layers_1/mlp.up"))
    assert mixed.places(lm) == ("layers_0/mlp.down", "layers_1/mlp.down", "layers_1/mlp.up")
    with pytest.raises(UserError, match=r"no linear 'mlp.gate'"):
        UltraEdit(LAYERS, ("mlp.gate",)).places(lm)
    with pytest.raises(UserError, match=r"layer 7 does not exist"):
        UltraEdit(LAYERS, ("layers_7/mlp.up",)).places(lm)
    with pytest.raises(UserError, match=r"layer 2 does not exist"):
        UltraEdit((2,)).init(lm)


def test_a_loss_or_shift_that_is_not_finite_is_named():
    lm, facts = small_model(), tiny_facts(4)
    editor = an_editor()
    prepared, start = editor.prepare(lm, facts), editor.init(lm)
    wild = an_editor(learning_rate=float("inf"))
    with pytest.raises(FloatingPointError, match=r"shift of layers_0/mlp.up .*not finite"):
        wild.edit(lm, start, prepared)
    leaves = {name: jnp.full_like(x, jnp.nan) for name, x in start.leaves.items()}
    with pytest.raises(FloatingPointError, match=r"loss of fact 0 .*not finite"):
        editor.edit(lm, start._replace(leaves=leaves), prepared)
