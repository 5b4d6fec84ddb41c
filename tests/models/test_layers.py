"""Single pieces against their formulas."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.models.config import RopeScaling
from jaxedit.models.layers import (
    attention,
    frequencies,
    matmul,
    rotary_tables,
    rotate_half,
    rotate_interleaved,
    visibility,
)
from tests.models.tiny import CONFIGS


def test_rotary_turns_each_pair_by_its_angle() -> None:
    config = dataclasses.replace(CONFIGS["gptj"], rope_theta=100.0)  # 4 of 8 dimensions turn
    positions = jnp.asarray([[0, 3, -1]], jnp.int32)
    tables = rotary_tables(config, positions, jnp.float32)
    assert tables is not None
    x = np.random.default_rng(0).normal(size=(1, 3, 2, 8)).astype(np.float32)
    angle = 3 * np.asarray([1.0, 0.1])
    turn = np.exp(1j * angle)
    for rotate, real, imaginary in (
        (rotate_interleaved, [0, 2], [1, 3]),
        (rotate_half, [0, 1], [2, 3]),
    ):
        got = np.asarray(rotate(jnp.asarray(x), tables))
        turned = (x[..., real] + 1j * x[..., imaginary])[:, 1] * turn
        np.testing.assert_allclose(got[:, 1][..., real], turned.real, atol=1e-6)
        np.testing.assert_allclose(got[:, 1][..., imaginary], turned.imag, atol=1e-6)
        np.testing.assert_array_equal(got[..., 4:], x[..., 4:])
        np.testing.assert_array_equal(got[:, [0, 2]], x[:, [0, 2]])  # position 0, and a pad


def test_learned_positions_do_without_rotary() -> None:
    positions = jnp.zeros((1, 1), jnp.int32)
    assert rotary_tables(CONFIGS["gpt2"], positions, jnp.float32) is None


def test_stretched_frequencies() -> None:
    plain = frequencies(8, 10_000.0, None)
    np.testing.assert_allclose(plain, [1, 0.1, 0.01, 0.001])
    np.testing.assert_allclose(frequencies(8, 1e4, RopeScaling("linear", 4.0)), plain / 4)
    scaling = RopeScaling("llama3", 8.0, 1.0, 4.0, 128)
    got = frequencies(8, 10_000.0, scaling)
    # 128 positions are 20.4, 2.04, 0.2 and 0.02 turns: kept, blended by (2.04 - 1) / 3, divided.
    keep = (128 * 0.1 / (2 * np.pi) - 1) / 3
    blended = 0.1 * (keep + (1 - keep) / 8)
    np.testing.assert_allclose(got, [1, blended, 0.01 / 8, 0.001 / 8])


def test_a_query_sees_its_past_inside_the_window() -> None:
    queries, keys = jnp.asarray([[2, -1, 4]], jnp.int32), jnp.asarray([[0, 3, 2, -1, 4]], jnp.int32)
    np.testing.assert_array_equal(
        visibility(queries, keys, None),
        [[[1, 0, 1, 0, 0], [0] * 5, [1, 1, 1, 0, 1]]],
    )
    np.testing.assert_array_equal(
        visibility(queries, keys, 2), [[[0, 0, 1, 0, 0], [0] * 5, [0, 1, 0, 0, 1]]]
    )


@pytest.mark.parametrize("cut", [0, 2, 5])
def test_attention_over_groups_and_segments(cut: int) -> None:
    rng = np.random.default_rng(0)
    q = rng.normal(size=(2, 3, 4, 8)).astype(np.float32)
    k, v = rng.normal(size=(2, 2, 5, 2, 8)).astype(np.float32)
    visible = rng.random((2, 3, 5)) < 0.6
    visible[0, 1] = False
    expected = np.zeros_like(q)
    for b, t, h in np.ndindex(2, 3, 4):
        seen = visible[b, t]
        if seen.any():
            scores = k[b, seen, h // 2] @ q[b, t, h] / np.sqrt(8)
            weights = np.exp(scores - scores.max())
            expected[b, t, h] = weights / weights.sum() @ v[b, seen, h // 2]
    pieces = [(k[:, :cut], v[:, :cut]), (k[:, cut:], v[:, cut:])]
    kvs = tuple((jnp.asarray(a), jnp.asarray(b)) for a, b in pieces if a.shape[1])
    got = attention(jnp.asarray(q), kvs, jnp.asarray(visible))
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_matmul_is_as_exact_as_its_widest_side() -> None:
    x = jnp.ones((1, 2), jnp.bfloat16)
    kernel = jnp.asarray([[1.0], [1e-4]], jnp.float32)
    assert matmul(x, kernel, x.dtype).dtype == jnp.float32
    np.testing.assert_allclose(matmul(x, kernel, x.dtype), [[1.0001]], rtol=1e-7)
    assert matmul(x, kernel.astype(jnp.bfloat16), x.dtype).dtype == jnp.bfloat16
    assert matmul(x, kernel.astype(jnp.bfloat16), jnp.float32.dtype).dtype == jnp.float32
