"""GPT-J-6B at full width: loading, editing and evaluation traced from shapes, no weights needed.

Of the layers, which are alike, as many as it takes for some to stand above the edited ones.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.architectures import ARCHITECTURES
from jaxedit.editors import least_squares
from jaxedit.editors.keys import _run_from_hidden, _run_from_text, _run_to_site
from jaxedit.editors.least_squares import Prior, Recursion, Sums
from jaxedit.editors.packing import Packed
from jaxedit.editors.published import GPT_J, PUBLISHED
from jaxedit.editors.rows import ValueRows
from jaxedit.editors.statistics import _sums
from jaxedit.editors.values import BLOCK_OUT, ValueSettings, _optimise
from jaxedit.models.families import read_config, weights
from jaxedit.models.forward import forward, param_shapes
from jaxedit.models.generate import _decode, _Setting
from jaxedit.models.packed import Batch
from jaxedit.models.scoring import _score

WHOLE = read_config(ARCHITECTURES["EleutherAI/gpt-j-6b"])
CONFIG = dataclasses.replace(WHOLE, n_layers=11)
LAYERS = PUBLISHED["memit"][GPT_J]["layers"]
D, V = CONFIG.d_model, CONFIG.d_ff


def shape(dims: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(dims, dtype)


@pytest.fixture(scope="module")
def params() -> Any:
    """bfloat16, with the edited kernels in float32, as an editor leaves them."""
    shapes = param_shapes(CONFIG, jnp.bfloat16)
    for layer in LAYERS:
        shapes[f"layers_{layer}"]["mlp"]["down"]["kernel"] = shape((V, D), jnp.float32)
    return shapes


def test_load():
    stored, params = weights(WHOLE), param_shapes(WHOLE, jnp.bfloat16)
    assert len(stored) == len(jax.tree.leaves(params))
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert total == 6_050_882_784  # EleutherAI/gpt-j-6b


def test_values(params: Any):
    n, rows, length, targets = 16, 7, 40, 4
    inputs = ValueRows(
        shape((n, rows, length), jnp.int32),
        shape((n, rows, length), jnp.bool_),
        shape((n, rows), jnp.int32),
        shape((n, rows - 1, targets), jnp.int32),
        shape((n, targets), jnp.int32),
        shape((n, targets), jnp.bool_),
    )
    packed = Packed(
        *(shape((n, size), jnp.int32) for size in (48, 48, 192, 192)),
        shape((n, rows), jnp.int32),
        shape((n, rows - 1, targets), jnp.int32),
    )
    optimise = functools.partial(
        _optimise,
        config=CONFIG,
        layer=LAYERS[-1],
        settings=ValueSettings(),
        sites=(BLOCK_OUT,),
        trace=False,
    )
    found = jax.eval_shape(optimise, params, (inputs, packed))
    assert found.delta.shape == (n, 1, D)
    assert found.loss.shape == (n,)


def test_keys_walk_up_the_edited_layers(params: Any):
    rows, length = (2, 6), 24
    batch = {
        "ids": shape((*rows, length), jnp.int32),
        "mask": shape((*rows, length), jnp.bool_),
        "lookup": shape(rows, jnp.int32),
    }
    hidden = jax.eval_shape(
        functools.partial(_run_from_text, config=CONFIG, stop=LAYERS[0]), params, batch
    )
    for layer in LAYERS:
        batch["hidden"] = hidden
        key = jax.eval_shape(
            functools.partial(
                _run_to_site, config=CONFIG, start=layer, layer=layer, site="mlp.down.in"
            ),
            params,
            batch,
        )
        assert key.shape == (*rows, V)
        move = functools.partial(_run_from_hidden, config=CONFIG, start=layer, stop=layer + 1)
        hidden = jax.eval_shape(move, params, batch)
        assert hidden.shape == (*rows, length, D)
        assert hidden.dtype == jnp.bfloat16


def test_statistics(params: Any):
    batch = {"ids": shape((32, 256), jnp.int32), "mask": shape((32, 256), jnp.bool_)}
    with jax.enable_x64(True):
        sums = jax.eval_shape(functools.partial(_sums, config=CONFIG, layers=LAYERS), params, batch)
    assert {layer: s.shape for layer, s in sums.items()} == dict.fromkeys(LAYERS, (V, V))
    assert all(s.dtype == jnp.float64 for s in sums.values())


def test_update():
    with jax.enable_x64(True):
        square, flat = shape((V, V), jnp.float64), shape((D, V), jnp.float64)
        state = Recursion(Sums(flat, square), square, flat, shape((), jnp.float64))
        keys, residuals = shape((1, V), jnp.float32), shape((1, D), jnp.float64)
        after, stale = jax.eval_shape(least_squares._append_all, state, keys, residuals)
        inverse, delta = jax.eval_shape(least_squares._invert, square, flat)
        batch = jax.eval_shape(
            least_squares.solve_batch,
            Prior(square, square, 0.0),
            shape((500, V), jnp.float32),
            shape((500, D), jnp.float64),
        )
    assert after == state
    assert stale.shape == ()
    assert (inverse, delta, batch) == (square, flat, flat)


def test_evaluation(params: Any):
    rows, length = 32, 64
    packed = Batch(*(shape((rows, length), jnp.int32) for _ in Batch._fields))
    predicted, logprobs = jax.eval_shape(functools.partial(_score, config=CONFIG), params, packed)
    assert predicted.shape == logprobs.shape == (rows, length)
    assert logprobs.dtype == jnp.float32
    batch = {
        "ids": shape((rows, length), jnp.int32),
        "mask": shape((rows, length), jnp.bool_),
    }
    setting = _Setting(params, np.zeros(CONFIG.vocab_size, bool), np.int32(16), np.float32(1))
    decode = functools.partial(_decode, config=CONFIG, slots=16, sampled=False, top_k=None)
    assert jax.eval_shape(decode, setting, batch).shape == (rows, 16)
    logits = jax.eval_shape(
        functools.partial(forward, CONFIG), params, batch["ids"], batch["mask"]
    ).logits
    assert logits is not None
    assert logits.shape == (rows, length, CONFIG.vocab_size)
