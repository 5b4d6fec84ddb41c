"""Stretches of layers, interventions, masks and dtypes of the forward pass."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.models.cache import Cache
from jaxedit.models.forward import Output, forward, head, init_params, param_shapes
from jaxedit.models.sites import Add, Set, Tap
from tests.models.tiny import CONFIGS, params_of, texts

FAMILIES = ("gptj", "gpt2", "mistral")  # one a block; a window is stricter than none
BATCH = texts("right")
IDS, MASK = jnp.asarray(BATCH.ids), jnp.asarray(BATCH.mask)
REAL = BATCH.mask.astype(bool)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest):
    config = CONFIGS[request.param]
    return config, params_of(config)


@pytest.fixture(scope="module")
def gptj():
    return CONFIGS["gptj"], params_of(CONFIGS["gptj"])


def call(model: Any, ids: Any, mask: Any, **kwargs: Any) -> Output:
    config, params = model
    return forward(config, params, ids, mask, **kwargs)


def close(a: Any, b: Any, tolerance: float = 2e-5) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def test_stretches_of_layers_add_up_to_the_whole(model: Any) -> None:
    whole = call(model, IDS, MASK)
    first = call(model, IDS, MASK, stop=2)
    assert first.logits is None
    assert sorted(first.kv) == [0, 1]
    rest = call(model, None, MASK, start=2, hidden=first.hidden)
    assert sorted(rest.kv) == [2]
    close(rest.logits, whole.logits)
    every = call(model, IDS, MASK, stop=model[0].n_layers)
    assert every.logits is None
    close(every.hidden, whole.hidden)
    close(head(model[0], model[1], every.hidden), whole.logits)


def test_logits_only_where_they_are_wanted(model: Any) -> None:
    at = jnp.asarray([[3, 0], [6, 1], [2, 3]], jnp.int32)
    whole, some = call(model, IDS, MASK), call(model, IDS, MASK, logits_at=at)
    assert whole.logits is not None
    close(some.logits, jnp.take_along_axis(whole.logits, at[..., None], axis=1))
    assert call(model, IDS, MASK, logits_at=False).logits is None


def test_a_suffix_behind_a_cache_is_the_whole(model: Any) -> None:
    config = model[0]
    starts, width, layer = jnp.asarray([6, 4, 1], jnp.int32), 5, 2
    whole = call(model, IDS, MASK, taps=[Tap(layer, "block.in")])
    positions = jnp.where(MASK, BATCH.positions, -1)
    cache = Cache.of(whole.kv, positions, config.n_layers).before(starts)
    columns = starts[:, None] + jnp.arange(width, dtype=jnp.int32)
    mask = jnp.take_along_axis(MASK, columns, axis=1)
    hidden = jnp.take_along_axis(whole.taps[0], columns[..., None], axis=1)
    suffix = call(model, None, mask, start=layer, hidden=hidden, positions=columns, cache=cache)
    assert whole.logits is not None
    expected = jnp.take_along_axis(whole.logits, columns[..., None], axis=1)
    real = np.asarray(mask, bool)
    assert suffix.logits is not None
    close(suffix.logits[real], expected[real])
    # ... and only the layers that run need be kept.
    partial = {i: kv for i, kv in whole.kv.items() if i >= layer}
    kept = Cache.of(partial, positions, config.n_layers).before(starts)
    again = call(model, None, mask, start=layer, hidden=hidden, positions=columns, cache=kept)
    close(again.logits, suffix.logits)
    with pytest.raises(ValueError, match="nothing for layer 1"):
        call(model, None, mask, start=1, hidden=hidden, positions=columns, cache=kept)


def test_taps_show_what_passes(model: Any) -> None:
    config, params = model
    at = jnp.asarray([[10, -1], [6, 2], [3, 0]], jnp.int32)
    taps = [
        Tap(1, "mlp.down.in"),
        Tap(1, "mlp.down.out"),
        Tap(1, "mlp.down.in", at),
        Tap(2, "mlp.down.in", reduce=second_moment),
        Tap(0, "block.out"),
        Tap(1, "block.in"),
        Tap(2, "mlp.down.in"),
    ]
    key, out, some, moment, before, after, all_keys = call(model, IDS, MASK, taps=taps).taps
    down = params["layers_1"]["mlp"]["down"]
    close(key @ down["kernel"] + down.get("bias", 0.0), out)
    close(some[1], key[1, jnp.asarray([6, 2])])
    assert not np.asarray(some)[0, 1].any()  # an index below 0 gives nothing
    real = np.asarray(all_keys)[REAL]
    close(moment[0], real.T @ real, 1e-4)
    assert int(moment[1]) == REAL.sum()
    close(before, after)
    assert key.shape == (*IDS.shape, config.d_ff)


def second_moment(x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    x = jnp.where(mask[..., None], x, 0.0)
    return jnp.einsum("btv,btw->vw", x, x), mask.sum()


def test_a_tap_with_positions_and_a_reduction(gptj: Any) -> None:
    at = jnp.asarray([[10, -1], [6, 2], [3, 0]], jnp.int32)
    (key,) = call(gptj, IDS, MASK, taps=[Tap(1, "mlp.down.in")]).taps
    tap = Tap(1, "mlp.down.in", at, reduce=lambda x, mask: (x.sum((0, 1)), mask.sum()))
    ((total, count),) = call(gptj, IDS, MASK, taps=[tap]).taps
    expected = key[0, 10] + key[1, 6] + key[1, 2] + key[2, 3] + key[2, 0]
    close(total, expected)
    assert int(count) == 5


@pytest.mark.parametrize("site", ["block.out", "mlp.down.out", "attn.o.out", "block.in"])
def test_an_added_value_acts_where_it_should(gptj: Any, site: str) -> None:
    value = jnp.linspace(-1, 1, 96, dtype=jnp.float32).reshape(3, 32)
    rows = jnp.asarray([5, -1, 2], jnp.int32)
    tap = Tap(1, site)
    plain = call(gptj, IDS, MASK, taps=[tap])
    moved = call(gptj, IDS, MASK, taps=[tap], add=[Add(1, site, rows, value)])
    difference = np.asarray(moved.taps[0] - plain.taps[0])
    expected = np.zeros_like(difference)
    expected[0, 5], expected[2, 2] = value[0], value[2]
    close(difference, expected)
    assert plain.logits is not None
    assert moved.logits is not None
    changed = np.asarray(jnp.abs(moved.logits - plain.logits).max(-1) > 1e-6)
    assert not changed[1].any()
    assert not changed[0, :5].any()
    assert changed[0, 5:].all()
    assert changed[2, 2:4].all()


def test_the_gradient_of_an_added_value_is_its_slope(gptj: Any) -> None:
    rows = jnp.asarray([[2, 4], [3, 3], [1, 0]], jnp.int32)

    def loss(value: jax.Array) -> jax.Array:
        # Two sites at once, the second twice in one row.
        added = [Add(1, "mlp.down.out", rows[:, 0], value[:, 0]), Add(1, "attn.o.out", rows, value)]
        logits = call(gptj, IDS, MASK, add=added).logits
        assert logits is not None
        return jnp.where(MASK, jax.nn.log_softmax(logits)[..., 7], 0.0).sum()

    with jax.enable_x64(True):
        value = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 32)) * 0.1)
        params = jax.tree.map(lambda x: x.astype(jnp.float64), gptj[1])
        config = gptj[0]
        gptj = (config, params)
        slope = jax.jit(jax.grad(loss))(value)
        assert slope.dtype == jnp.float64
        direction = jnp.asarray(np.random.default_rng(1).normal(size=value.shape))
        run, step = jax.jit(loss), 1e-5 * direction
        finite = (run(value + step) - run(value - step)) / 2e-5
        close((slope * direction).sum(), finite, 1e-6)


def test_set_values_replace_what_passed(model: Any) -> None:
    value = jnp.full((3, 2, 32), 0.5, jnp.float32)
    rows = jnp.asarray([[5, 1], [-1, 3], [2, -1]], jnp.int32)
    change, tap = Set(2, "block.out", rows, value), Tap(2, "block.out")
    plain = call(model, IDS, MASK, taps=[tap]).taps[0]
    got = np.asarray(call(model, IDS, MASK, taps=[tap], sets=[change]).taps[0])
    expected = np.array(plain)
    expected[0, [5, 1]] = expected[1, 3] = expected[2, 2] = 0.5
    close(got, expected)


def test_a_set_comes_before_an_add(gptj: Any) -> None:
    at, value = jnp.asarray([5, 1, 2], jnp.int32), jnp.ones((3, 32), jnp.float32)
    out = call(
        gptj,
        IDS,
        MASK,
        sets=[Set(1, "block.out", at, 2 * value)],
        add=[Add(1, "block.out", at, value)],
        taps=[Tap(1, "block.out", at[:, None])],
    )
    close(out.taps[0], 3 * value[:, None])


def test_an_adapter_sees_and_changes_its_linear(gptj: Any) -> None:
    def adapter(x: jax.Array, y: jax.Array, context: Any) -> tuple[jax.Array, Any]:
        return 2 * y, (context.layer, context.mask.sum(), x.shape[-1])

    taps = [Tap(1, "mlp.down.out")]
    plain = call(gptj, IDS, MASK, taps=taps)
    got = call(gptj, IDS, MASK, taps=taps, adapters={(1, "mlp.down"): adapter})
    close(got.taps[0], 2 * plain.taps[0])
    layer, real, width = got.aux[(1, "mlp.down")]
    assert (int(layer), int(real), int(width)) == (1, REAL.sum(), 48)
    assert not plain.aux


def test_a_cut_edge_carries_nothing(model: Any) -> None:
    rows, length = IDS.shape
    cut = np.zeros((rows, length, length), bool)
    cut[0, 9, 4] = True
    last = model[0].n_layers - 1
    plain = call(model, IDS, MASK, taps=[Tap(last, "attn.o.out")])
    got = call(model, IDS, MASK, knockout={last: jnp.asarray(cut)}, taps=[Tap(last, "attn.o.out")])
    moved = np.abs(np.asarray(got.taps[0] - plain.taps[0])).max(-1) > 1e-7
    window = model[0].sliding_window
    assert moved.sum() == (0 if window and window <= 9 - 4 else 1)
    # With every edge cut attention gives zeros, whatever the pads hold.
    none = jnp.ones((rows, length, length), bool)
    blind = call(model, IDS, MASK, knockout={last: none}, taps=[Tap(last, "attn.o.in")])
    assert not np.asarray(blind.taps[0]).any()


def test_edges_to_cached_tokens_can_be_cut(gptj: Any) -> None:
    config = gptj[0]
    ones = jnp.ones_like(MASK)
    first = call(gptj, IDS[:, :6], ones[:, :6])
    positions = jnp.broadcast_to(jnp.arange(6, dtype=jnp.int32), (3, 6))
    cache = Cache.of(first.kv, positions, config.n_layers)
    cut_whole = np.zeros((3, 11, 11), bool)
    cut_whole[:, 7, 2] = cut_whole[:, 8, 7] = True
    later = jnp.broadcast_to(jnp.arange(6, 11, dtype=jnp.int32), (3, 5))
    whole = call(gptj, IDS, ones, knockout={1: jnp.asarray(cut_whole)})
    part = call(
        gptj,
        IDS[:, 6:],
        ones[:, 6:],
        positions=later,
        cache=cache,
        knockout={1: jnp.asarray(cut_whole[:, 6:])},
    )
    assert whole.logits is not None
    close(part.logits, whole.logits[:, 6:])


def test_pads_change_nothing_and_stay_finite(model: Any) -> None:
    other = jnp.where(MASK, IDS, 5)
    a, b = call(model, IDS, MASK), call(model, other, MASK)
    assert a.logits is not None
    assert b.logits is not None
    close(a.logits[REAL], b.logits[REAL])
    empty = call(model, IDS, jnp.zeros_like(MASK))
    assert np.isfinite(np.asarray(empty.logits)).all()

    def loss(params: Any) -> jax.Array:
        logits = forward(model[0], params, IDS, MASK).logits
        assert logits is not None
        return jnp.where(MASK[..., None], logits, 0.0).std()

    slopes = jax.jit(jax.grad(loss))(model[1])
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(slopes))


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_everything_follows_the_dtype_of_the_parameters(dtype: str, x64: bool) -> None:
    if dtype == "float64" and not x64:
        pytest.skip("float64 is there only under enable_x64")
    with jax.enable_x64(x64):
        for config in CONFIGS.values():
            shapes = param_shapes(config, jnp.dtype(dtype))
            assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(dtype)}
            out = jax.eval_shape(
                lambda p, config=config: forward(
                    config, p, IDS, MASK, taps=[Tap(0, "mlp.down.in"), Tap(0, "attn.o.in")]
                ),
                shapes,
            )
            stream = jax.tree.leaves((out.hidden, out.kv, out.taps))
            assert {leaf.dtype for leaf in stream} == {jnp.dtype(dtype)}
            assert out.logits is not None
            assert out.logits.dtype == jnp.promote_types(dtype, jnp.float32)


def test_a_float32_leaf_among_bfloat16_ones_keeps_small_changes(gptj: Any) -> None:
    config = gptj[0]
    params = params_of(config, jnp.bfloat16)
    kernel = params["layers_1"]["mlp"]["down"]["kernel"]
    tap = Tap(1, "mlp.down.out")

    def out_with(leaf: jax.Array) -> Output:
        params["layers_1"]["mlp"]["down"]["kernel"] = leaf
        return call((config, params), IDS, MASK, taps=[tap])

    plain = out_with(kernel)
    small = 1e-3 * jnp.abs(kernel.astype(jnp.float32))  # under half a bfloat16 step
    assert (kernel + small.astype(jnp.bfloat16) == kernel).mean() > 0.9
    edited = out_with(kernel.astype(jnp.float32) + small)
    assert edited.hidden.dtype == jnp.bfloat16
    assert edited.taps[0].dtype == jnp.bfloat16
    assert (np.asarray(edited.taps[0] != plain.taps[0])[REAL]).mean() > 0.05


def test_impossible_calls_say_what_is_wrong(gptj: Any) -> None:
    with pytest.raises(ValueError, match=r"no site 'mlp.fc'"):
        call(gptj, IDS, MASK, taps=[Tap(1, "mlp.fc")])
    with pytest.raises(ValueError, match=r"layer 2 .* does not run"):
        call(gptj, IDS, MASK, stop=2, taps=[Tap(2, "block.out")])
    with pytest.raises(ValueError, match=r"no site .mlp.gate.in"):
        call(gptj, IDS, MASK, taps=[Tap(1, "mlp.gate.in")])
    with pytest.raises(ValueError, match="no layers 3 to 2"):
        call(gptj, None, MASK, start=3, stop=2)
    with pytest.raises(ValueError, match="needs hidden"):
        call(gptj, IDS, MASK, start=2)


def test_shapes_are_those_of_fresh_parameters() -> None:
    for config in (CONFIGS["gptj"], CONFIGS["llama"]):
        params = init_params(config, jax.random.key(0), jnp.bfloat16)
        shapes = param_shapes(config, jnp.bfloat16)
        assert jax.tree.structure(params) == jax.tree.structure(shapes)
        pairs = zip(jax.tree.leaves(params), jax.tree.leaves(shapes), strict=True)
        assert all((a.shape, a.dtype) == (b.shape, b.dtype) for a, b in pairs)
