"""Routing on constructed activations, and versions that are stored, merged and brought back."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.editors.side_memory import (
    Router,
    Routing,
    SideMemory,
    distance,
    empty,
    merge_last,
    push,
    restored,
)
from jaxedit.models.sites import Context

RULE = Routing("relu", 0.5, peak_above=None)
WIDTH = 2


def version(scale: float) -> np.ndarray:
    """D = scale times the identity: moves an output by scale x."""
    return scale * np.eye(WIDTH, dtype=np.float32)


def memory(*versions: tuple[float, float]) -> SideMemory:
    """The current version and stored ones, (scale, threshold) each."""
    (current, least), *stored = versions
    kept = jnp.asarray([version(scale) for scale, _ in stored]).reshape(-1, WIDTH, WIDTH)
    levels = jnp.asarray([level for _, level in stored], jnp.float32)
    return restored(jnp.asarray(version(current)), jnp.float32(least), kept, levels)


def context(prompt: Any, mask: Any = None, known: Any = None) -> Context:
    prompt = jnp.asarray(prompt, bool)
    mask = prompt if mask is None else jnp.asarray(mask, bool)
    return Context(0, mask, jnp.cumsum(mask, axis=1) - 1, prompt, known)


def test_distance_by_hand():
    y = jnp.asarray([[[1.0, -9.0], [1.0, 1.0], [5.0, 5.0]]])
    change = jnp.asarray([[[3.0, 4.0], [3.0, 4.0], [9.0, 9.0]]])
    tokens = jnp.asarray([[True, True, False]])
    # relu hides the second coordinate of the first token: 3, and 5 for the second.
    assert distance(y, change, tokens, "relu") == pytest.approx(4)
    assert distance(y, change, tokens, "relu", 1) == pytest.approx(5)
    assert distance(y, change, tokens, "relu", 2) == pytest.approx(4)
    assert distance(y, change, jnp.zeros((1, 3), bool), "relu") == 0


def test_each_row_goes_where_it_belongs():
    """Distances are scale |x|: rows of length 1, 2, 4 and 8 along one axis."""
    x = jnp.zeros((4, 3, WIDTH)).at[:, :, 0].set(jnp.asarray([1.0, 2, 4, 8])[:, None])
    y = 1 + jnp.arange(24.0).reshape(4, 3, WIDTH)
    router = Router(memory((1, 8), (2, 20), (0.5, 1)), None, RULE)
    out, chosen = router(x, y, context(np.ones((4, 3))))
    # In question from: the current one |x| >= 4; the first stored 2 |x| >= 10; the second
    # |x| / 2 >= 1/2. Of those the largest distance: 2 |x|, then |x|, then |x| / 2.
    assert chosen.tolist() == [2, 2, 0, 1]
    moved = np.asarray([0.5, 0.5, 1, 2])[:, None, None] * x
    np.testing.assert_allclose(out, y + moved)

    alone = [router(x[i : i + 1], y[i : i + 1], context(np.ones((1, 3)))) for i in range(4)]
    np.testing.assert_array_equal(np.concatenate([one for one, _ in alone]), out)
    assert [int(one[0]) for _, one in alone] == chosen.tolist()


def test_outside_every_version_the_output_itself_goes_on():
    x = jnp.full((1, 2, WIDTH), 1e-3)
    y = jnp.asarray(np.random.default_rng(0).standard_normal((1, 2, WIDTH)), jnp.bfloat16)
    out, chosen = Router(memory((1, 8), (2, 20)), None, RULE)(x, y, context(np.ones((1, 2))))
    assert chosen.tolist() == [-1]
    assert out.dtype == y.dtype
    assert (out == y).all()
    nothing = Router(empty(jnp.zeros((WIDTH, WIDTH))), None, RULE)
    assert nothing(x + 100, y, context(np.ones((1, 2))))[1].tolist() == [-1]


def test_only_the_prompt_decides_and_what_it_chose_holds():
    x = jnp.ones((2, 4, WIDTH)).at[1, 3].set(1e6)  # the answer's last token is far
    y = jnp.zeros_like(x).at[...].set(1.0)
    prompt, mask = np.asarray([[1, 1, 0, 0]] * 2), np.ones((2, 4))
    router = Router(memory((1, 8)), None, RULE)
    assert router(x, y, context(prompt, mask))[1].tolist() == [-1, -1]

    step = jnp.full((2, 1, WIDTH), 1e6), jnp.ones((2, 1, WIDTH))
    later = context(np.zeros((2, 1)), np.ones((2, 1)), jnp.asarray([0, -1]))
    out, chosen = router(*step, later)
    assert chosen.tolist() == [0, -1]
    np.testing.assert_array_equal(out[:, 0, 0], [1e6 + 1, 1])
    anew = Router(router.memory, None, RULE._replace(route="call"))
    assert anew(*step, later)[1].tolist() == [0, 0]


def test_legacy_must_beat_a_version_that_does_not_answer():
    x, y = jnp.ones((1, 1, WIDTH)), jnp.ones((1, 1, WIDTH))
    versions, here = memory((2, 100), (1, 1)), context(np.ones((1, 1)))
    assert Router(versions, None, RULE)(x, y, here)[1].tolist() == [1]
    legacy = RULE._replace(legacy=True)
    assert Router(versions, None, legacy)(x, y, here)[1].tolist() == [-1]


def test_versions_are_stored_and_merged():
    now = empty(jnp.zeros((WIDTH, WIDTH), jnp.bfloat16))
    assert now.current.dtype == jnp.float32
    for i in range(3):
        written = now._replace(current=now.current + i + 1, threshold=jnp.float32(5 - i))
        now = push(written)
        assert not now.current.any()
        assert np.isinf(now.threshold)
    assert now.count == 3
    assert len(now.stored) == 4
    np.testing.assert_array_equal(now.stored[:3, 0, 0], [1, 2, 3])
    np.testing.assert_array_equal(now.thresholds[:3], [5, 4, 3])

    merged = merge_last(now, 2, density=1.0)
    assert merged.count == 2
    np.testing.assert_allclose(merged.stored[:2, 0, 0], [1, 2.5])
    np.testing.assert_array_equal(merged.thresholds[:2], [5, 3])
    again = restored(now.current, now.threshold, now.stored[:3], now.thresholds[:3])
    assert again.count == 3
    np.testing.assert_array_equal(again.stored, now.stored)
