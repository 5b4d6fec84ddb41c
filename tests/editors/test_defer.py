"""DEFER: its gate and its map by hand, and that every row has its own."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.data.fact import Fact
from jaxedit.editors.defer import Defer, Deferral, DeferState, Maps
from jaxedit.editors.editor import take
from jaxedit.errors import UserError
from jaxedit.models.forward import forward
from jaxedit.models.sites import Context, Tap
from tests.tiny import tiny_model

EDITOR = Defer((1,), learning_rate=0.02, steps=40)
NEW = 6
FACTS = [
    Fact("{} was born in", subject, target, id=subject)
    for subject, target in [
        ("Mira Danto a", "of"),
        ("Tolan Verrick b", "is"),
        ("Ester Halloran c", "cap"),
    ]
]


def small_model() -> Any:
    return tiny_model(n_layers=3)


def asked(facts: list[Fact]) -> tuple[list[str], list[str]]:
    return [fact.question for fact in facts], [fact.target for fact in facts]


@pytest.fixture(scope="module")
def edited() -> tuple[DeferState, Any]:
    """All facts in one update."""
    lm = small_model()
    return EDITOR.edit(lm, EDITOR.init(lm), EDITOR.prepare(lm, FACTS))


def same(ours: Any, theirs: Any) -> bool:
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_the_gate_by_hand(seed: int, soft: bool):
    """Batches of rows that end at different tokens, some of them open and some shut."""
    draw = np.random.default_rng(seed)
    g, kernel = draw.normal(size=4), draw.normal(size=(4, 5))
    c, b = draw.normal(), draw.normal(size=5)
    x, y = draw.normal(size=(6, 7, 4)), draw.normal(size=(6, 7, 5))
    lengths = draw.integers(1, 8, size=6)
    mask = np.arange(7) < lengths[:, None]
    prompt = np.arange(7) < np.maximum(lengths - 2, 1)[:, None]
    maps = jax.tree.map(lambda z: jnp.asarray(z, jnp.float32), Maps(g, c, kernel, b))
    adapter = Deferral(maps, jnp.float32(0.5), "all", soft)
    arrays = [jnp.asarray(z) for z in (mask, np.zeros((6, 7), int), prompt)]
    wide = [jnp.asarray(z, jnp.float32) for z in (x, y)]
    made, (a, v) = adapter(wide[0], wide[1], Context(1, *arrays))
    for i in range(6):
        q = x[i, max(lengths[i] - 2, 1) - 1]
        gate, value = 1 / (1 + np.exp(-(g @ q + c))), q @ kernel + b
        np.testing.assert_allclose(a[i], gate, rtol=1e-4)
        np.testing.assert_allclose(v[i], value, rtol=1e-3, atol=1e-4)
        mixed = gate * value + (1 - gate) * y[i]
        expected = mixed if soft else (value if gate >= 0.5 else y[i])
        np.testing.assert_allclose(
            made[i, : lengths[i]], np.broadcast_to(expected, (7, 5))[: lengths[i]], atol=1e-4
        )
        np.testing.assert_array_equal(made[i, lengths[i] :], wide[1][i, lengths[i] :])
        if not soft and gate < 0.5:
            np.testing.assert_array_equal(made[i], wide[1][i])
    # At cached tokens it is what was decided at the prompt, whatever their own input.
    later = Context(1, *(z[:, -1:] for z in arrays), memory=(a, v))._replace(
        mask=jnp.ones((6, 1), bool), prompt=jnp.zeros((6, 1), bool)
    )
    again, memory = adapter(wide[0][:, -1:], wide[1][:, -1:], later)
    assert same(memory, (a, v))
    for i in range(6):
        if not soft:
            expected = v[i] if a[i] >= 0.5 else wide[1][i, -1]
            np.testing.assert_array_equal(again[i, 0], expected)


def test_maps_begin_as_torchs_linear_does():
    lm = small_model()
    maps = EDITOR.init(lm).maps
    most = lm.config.d_ff**-0.5
    assert [x.shape for x in maps] == [(48,), (), (48, 24), (24,)]
    assert all(np.abs(x).max() <= most for x in maps)
    assert np.abs(maps.kernel).max() > 0.98 * most
    assert same(maps, dataclasses.replace(EDITOR).init(lm).maps)
    assert not same(maps, dataclasses.replace(EDITOR, seed=1).init(lm).maps)


def test_edits_are_said_where_the_gate_has_opened(edited: Any):
    """Half shut, it says them in training and not afterwards: the published rule."""
    lm, (state, log) = small_model(), edited
    assert (log["updates"] == 40).all() and state.edits == 3
    opened = log["gate"] >= 0.5
    assert opened.any() and not opened.all(), "the test needs both"
    model = EDITOR.bind(lm, state)
    before, after = (x.teacher_forced(*asked(FACTS)) for x in (lm, model))
    assert (log["loss"] < [-x.logprobs.mean() - 1 for x in before]).all()
    rows = [lm.pair_row(fact.question, fact.target) for fact in FACTS]
    for i, row in enumerate(rows):
        assert (after[i].predicted_ids == after[i].target_ids).all() == opened[i]
        (alone,) = model.score_rows([row])
        np.testing.assert_allclose(alone.logprobs, after[i].logprobs, atol=1e-5)
        if not opened[i]:
            np.testing.assert_allclose(alone.logprobs, before[i].logprobs, atol=1e-5)


def test_what_is_generated_is_what_teacher_forcing_expects(edited: Any):
    lm, (state, _) = small_model(), edited
    model = EDITOR.bind(lm, state)
    questions = asked(FACTS)[0]
    prompts = [model.prompt_row(prompt) for prompt in questions]
    made = model.continuations(questions, NEW)
    rows = [([*prompt, *new.ids], len(prompt)) for prompt, new in zip(prompts, made, strict=True)]
    for forced in model.score_rows(rows):
        np.testing.assert_array_equal(forced.predicted_ids, forced.target_ids)


def test_a_shut_gate_leaves_every_bit(edited: Any):
    """One prompt a call: rows are laid out alike with and without an adapter."""
    lm, (state, _) = small_model(), edited
    shut = EDITOR.bind(lm, state._replace(maps=state.maps._replace(gate_bias=jnp.float32(-1e4))))
    for fact in FACTS:
        row = lm.pair_row(fact.question, fact.target)
        ours, theirs = shut.score_rows([row])[0], lm.score_rows([row])[0]
        np.testing.assert_array_equal(ours.logprobs, theirs.logprobs)


def test_the_first_step_is_adams_on_the_soft_mixture():
    """Its size is the learning rate wherever the gradient, taken by differences, is not 0."""
    lm = small_model()
    one = dataclasses.replace(EDITOR, steps=1, learning_rate=1e-3)
    start, rows = one.init(lm), one.prepare(lm, FACTS)
    after, _ = one.edit(lm, start, rows)

    @jax.jit
    def loss(bias: jax.Array) -> jax.Array:
        """Of the answers, with the mixture put together from taps of the unedited model."""
        run: Any = {"mask": rows.mask, "ids": rows.ids}
        taps = [Tap(1, "mlp.down.in"), Tap(1, "mlp.down.out")]
        x, y = forward(lm.config, lm.params, **run, taps=taps).taps
        q = x[jnp.arange(len(x)), rows.predict[:, 0]]
        a = jax.nn.sigmoid(q @ start.maps.gate + start.maps.gate_bias)[:, None, None]
        mixed = a * (q @ start.maps.kernel + bias)[:, None] + (1 - a) * y
        out = forward(
            lm.config,
            lm.params,
            **run,
            logits_at=rows.predict,
            adapters={(1, "mlp.down"): lambda x, y, context: (mixed, None)},
        )
        assert out.logits is not None
        log_p = jax.nn.log_softmax(out.logits)
        gold = jnp.take_along_axis(log_p, rows.target[..., None], axis=-1)[..., 0]
        return -(jnp.where(rows.target_mask, gold, 0).sum(1) / rows.target_mask.sum(1)).mean()

    bias = start.maps.bias
    slopes = np.asarray(
        [(loss(bias.at[i].add(0.05)) - loss(bias.at[i].add(-0.05))) / 0.1 for i in range(len(bias))]
    )
    step = np.asarray(after.maps.bias - bias)
    clear = np.abs(slopes) > 1e-3
    assert clear.sum() > 12
    np.testing.assert_allclose(step[clear], -1e-3 * np.sign(slopes[clear]), rtol=1e-2)


def test_updates_go_on_from_each_other_and_from_a_snapshot(edited: Any):
    lm, (state, _) = small_model(), edited
    prepared = take(EDITOR.prepare(lm, FACTS), 0, 3)
    kept = jax.tree.map(np.asarray, EDITOR.snapshot(state))
    ways = [EDITOR.edit(lm, way, prepared)[0] for way in (state, EDITOR.restore(lm, kept))]
    assert same(*ways) and ways[0].edits == 6
    assert not same(ways[0].maps, state.maps)


def test_edits_compile_nothing_once_a_shape_was_seen(edited: Any):
    lm, (state, _) = small_model(), edited
    prepared = EDITOR.prepare(lm, FACTS)
    faster = dataclasses.replace(EDITOR, learning_rate=0.03, steps=3, stop_below=0.1)
    traced: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: traced.append(event) if "compile" in event else None
    )
    try:
        state, log = faster.edit(lm, state, prepared)
        faster.bind(lm, state)
    finally:
        jax.monitoring.clear_event_listeners()
    assert not traced and (log["updates"] == 3).all()


def test_training_may_read_the_end_of_the_target_as_published():
    """Then the question itself is not what was trained on; with one token the two are the same."""
    lm = small_model()
    facts = [dataclasses.replace(fact, target=f"{fact.target} a of") for fact in FACTS]
    made = {}
    for where in ("prompt", "target"):
        editor = dataclasses.replace(EDITOR, trained_at=where, steps=1)
        made[where] = editor.edit(lm, editor.init(lm), editor.prepare(lm, facts))[0].maps
    assert not same(made["prompt"], made["target"])


def test_what_cannot_be_is_refused():
    lm = small_model()
    with pytest.raises(UserError, match="one linear; name one layer"):
        dataclasses.replace(EDITOR, layers=(0, 1)).init(lm)
    bad = dataclasses.replace(EDITOR, learning_rate=float("nan"))
    with pytest.raises(FloatingPointError, match=r"layer 1: .*fact 0 .*not finite at step 1"):
        bad.edit(lm, bad.init(lm), bad.prepare(lm, FACTS))
