"""Slots of the key-value cache."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.models.cache import Cache
from tests.models.tiny import CONFIGS

CONFIG = CONFIGS["llama"]


def some_kv(rows: int, length: int, value: float) -> tuple:
    x = jnp.full((rows, length, CONFIG.n_kv_heads, CONFIG.head_dim), value, jnp.float32)
    return x, -x


def test_tokens_are_written_where_they_are_told() -> None:
    cache = Cache.empty(CONFIG, 2, 6, jnp.bfloat16)
    positions = jnp.asarray([[0, 1], [5, -1]], jnp.int32)
    same = cache.write({0: some_kv(2, 2, 3.0)}, positions, 3)
    np.testing.assert_array_equal(same.positions, [[-1, -1, -1, 0, 1, -1], [-1, -1, -1, 5, -1, -1]])
    k, v = same.layer(0)
    assert k.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(k[:, :, 0, 0], np.float32), [[0, 0, 0, 3, 3, 0]] * 2)
    np.testing.assert_array_equal(np.asarray(v[:, :, 1, 2], np.float32), [[0, 0, 0, -3, -3, 0]] * 2)
    assert not np.asarray(same.layer(1)[0], np.float32).any()

    by_row = cache.write({0: some_kv(2, 2, 3.0)}, positions, jnp.asarray([0, 4], jnp.int32))
    np.testing.assert_array_equal(by_row.positions, [[0, 1, -1, -1, -1, -1], [-1] * 4 + [5, -1]])
    np.testing.assert_array_equal(
        np.asarray(by_row.layer(0)[0][:, :, 0, 0], np.float32),
        [[3, 3, 0, 0, 0, 0], [0, 0, 0, 0, 3, 3]],
    )


def test_a_suffix_is_forgotten() -> None:
    positions = jnp.asarray([[0, 1, 2, 3], [-1, 0, 1, 2]], jnp.int32)
    cache = Cache.of({1: some_kv(2, 4, 1.0)}, positions, 3).before(jnp.asarray([2, 0], jnp.int32))
    np.testing.assert_array_equal(cache.positions, [[0, 1, -1, -1], [-1, -1, -1, -1]])
    assert cache.positions.dtype == jnp.int32
    assert cache.layer(1)[0].shape == (2, 4, CONFIG.n_kv_heads, CONFIG.head_dim)
    with pytest.raises(ValueError, match="nothing for layer 0"):
        cache.layer(0)
