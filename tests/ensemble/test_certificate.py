import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.ensemble.certificate import WHOLE, Bounds, Voice, bounds_of, settle
from jaxedit.ensemble.maps import Map
from jaxedit.ensemble.relative import Space, make_space
from tests.ensemble.random_space import (
    COMMON,
    PLUG,
    TARGET,
    logits,
    random_rows,
    random_space,
    space_from,
)

TEXTS = 4  # so many that 8 and 64 rows are fewer than all


@jax.jit
def settled(space: Space, bounds: Bounds, p_l, p_s, alpha):
    return settle(
        Voice(Map(space.main), p_l, 1 - alpha), Voice(Map(space.plug), p_s, alpha), bounds
    )


def said(seed: int, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p_l, p_s and alpha of a few texts."""
    rng = np.random.default_rng(seed)
    p = [np.array(jax.nn.softmax(logits(rng, TEXTS, v, scale))) for v in (TARGET, PLUG)]
    return p[0], p[1], rng.random(TEXTS).astype(np.float32)


def exact(main: np.ndarray, plug: np.ndarray, p_l, p_s, alpha) -> np.ndarray:
    """P in float64, [B, A]."""
    alpha = alpha.astype(np.float64)[:, None]
    return alpha * (p_s.astype(np.float64) @ plug) + (1 - alpha) * (p_l.astype(np.float64) @ main)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_is_proved_is_the_best_of_the_unrounded_whole(dtype):
    """Over R of every sharpness and models of every sureness."""
    rungs = {8: 0, 64: 0, WHOLE: 0}
    doubted = 0
    for seed in range(60):
        sharp = (seed % 6) * 2.0
        rng = np.random.default_rng(seed)
        main, plug = random_rows(rng, TARGET, COMMON, sharp), random_rows(rng, PLUG, COMMON, sharp)
        space = space_from(main, plug, dtype)
        p_l, p_s, alpha = said(seed, 0.5 + seed / 12)
        made = settled(space, bounds_of(space), p_l, p_s, alpha)
        fused = exact(main, plug, p_l, p_s, alpha)
        right = fused.argmax(1) == made.columns
        assert right[np.asarray(made.proved)].all()
        whole = np.asarray(made.rows) == WHOLE
        assert np.asarray(made.proved)[~whole].all()
        if dtype == jnp.float32:
            assert right.all()
        for k in rungs:
            rungs[k] += int((np.asarray(made.rows) == k).sum())
        doubted += int((~np.asarray(made.proved)).sum())
    assert min(rungs.values()) > 5, rungs  # every rung was needed, and enough
    assert doubted < 60


def test_sure_models_need_eight_rows():
    space = random_space(0)
    p_l, p_s, alpha = said(1, 12.0)
    made = settled(space, bounds_of(space), p_l, p_s, alpha)
    np.testing.assert_array_equal(made.rows, 8)


def test_what_is_left_out_counts():
    """Eight words lead to one anchor, all the others a little to another: together it has more."""
    main, plug = np.zeros((TARGET, COMMON)), np.full((PLUG, COMMON), 1 / COMMON)
    main[:8, 0], main[8:, 1] = 1, 1
    p = np.full((TEXTS, TARGET), 0.6 / (TARGET - 8))
    p[:, :8] = 0.05
    space = space_from(main.astype(np.float32), plug.astype(np.float32))
    made = settled(
        space,
        bounds_of(space),
        p.astype(np.float32),
        np.full((TEXTS, PLUG), 1 / PLUG, np.float32),
        np.zeros(TEXTS, np.float32),
    )
    np.testing.assert_array_equal(made.columns, 1)
    np.testing.assert_array_equal(made.rows, WHOLE)
    assert made.proved.all()


def test_of_many_texts_few_rows_each_would_be_most_of_r():
    space = random_space(0)
    p_l, p_s, alpha = (np.repeat(x, 9, axis=0) for x in said(1, 12.0))
    few = settled(space, bounds_of(space), p_l[:32], p_s[:32], alpha[:32])
    many = settled(space, bounds_of(space), p_l, p_s, alpha)
    np.testing.assert_array_equal(few.rows, 8)
    np.testing.assert_array_equal(many.rows, WHOLE)
    np.testing.assert_array_equal(many.columns[:32], few.columns)


@pytest.mark.parametrize(("dtype", "gap"), [(jnp.float32, 1e-7), (jnp.bfloat16, 3e-3)])
def test_what_rounding_may_have_decided_is_not_proved(dtype, gap):
    main = np.full((TARGET, COMMON), 1e-3)
    main[:, 5], main[:, 6] = 0.4, 0.4 * (1 + gap)
    space = space_from(main.astype(np.float32), main[:PLUG].astype(np.float32), dtype)
    p_l, p_s, alpha = said(3, 12.0)
    made = settled(space, bounds_of(space), p_l, p_s, alpha)
    assert not made.proved.any()
    np.testing.assert_array_equal(made.rows, WHOLE)


def test_end_of_text_as_one_more_anchor_is_certified_too():
    space, ends = random_space(4), (jnp.arange(TARGET) == 9, jnp.arange(PLUG) == 11)
    p_l, p_s, alpha = said(5, 6.0)
    p_l[0, 9], p_s[0, 11], p_s[1, 11] = 5.0, 5.0, 5.0
    p_l, p_s = p_l / p_l.sum(1, keepdims=True), p_s / p_s.sum(1, keepdims=True)
    alpha[:2] = 0.5, 0.9
    voices = (
        Voice(Map(space.main, ends[0]), jnp.asarray(p_l), jnp.asarray(1 - alpha)),
        Voice(Map(space.plug, ends[1]), jnp.asarray(p_s), jnp.asarray(alpha)),
    )
    made = jax.jit(settle)(*voices, bounds_of(space))
    main, plug = (
        np.concatenate([np.where(e[:, None], 0, r), np.asarray(e)[:, None]], 1)
        for r, e in zip((space.main, space.plug), ends, strict=True)
    )
    np.testing.assert_array_equal(made.columns, exact(main, plug, p_l, p_s, alpha).argmax(1))
    assert made.columns[:2].tolist() == [COMMON, COMMON]
    assert (np.asarray(made.rows)[:2] == 8).all()


def test_without_r_it_is_the_same():
    """Rows made from the embeddings when asked for."""
    rng = np.random.default_rng(6)
    anchors = random_space(0).anchors
    embeddings = [rng.normal(size=(v, 16)).astype(np.float32) for v in (TARGET, PLUG)]
    of = functools.partial(make_space, *embeddings, anchors)
    said_now = said(7, 8.0)
    answers = [settled(s, bounds_of(s), *said_now) for s in (of(), of(keep=False))]
    np.testing.assert_array_equal(answers[0].columns, answers[1].columns)
    assert answers[1].proved.all() and (np.asarray(answers[1].rows) > 0).all()
