"""WISE: what it trains, what it leaves alone, and how its versions come and go."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.data.fact import Fact
from jaxedit.editors.editor import take
from jaxedit.editors.rows import PLAIN
from jaxedit.editors.weights import kernel, leaf, with_leaves
from jaxedit.editors.wise import SideEdited, Wise
from jaxedit.editors.wise_rows import Past, replayed
from jaxedit.editors.wise_training import Margins, margin_loss, replay_loss, trained_share
from jaxedit.ensemble.prompts import Unrelated
from jaxedit.errors import UserError
from jaxedit.models.forward import forward
from jaxedit.models.transformer import Transformer
from tests import tiny
from tests.tiny import SENTENCES, tiny_facts

LAYER = 0
PLACE = f"layers_{LAYER}/mlp.down"


def tiny_model() -> Transformer:
    """Two layers: one that is edited and one above it."""
    return tiny.tiny_model(n_layers=2)


OTHERS = tuple(Unrelated(text, "it") for text in SENTENCES)
BOX = 0.2
EDITOR = Wise(
    layers=(LAYER,),
    contexts=(("{}",), ("The old harbour. {}",)),
    unrelated=OTHERS,
    unrelated_rows=2,
    learning_rate=0.3,
    steps=12,
    alpha=0.2,
    beta=2.0,
    gamma=1.0,
    mask_ratio=0.4,
    norm_constraint=BOX,
    save_freq=2,
    merge_freq=4,
    replay=2,
)
PROMPTS = [fact.question for fact in tiny_facts(6)] + list(SENTENCES)


def run(editor: Wise, state: Any, start: int, stop: int) -> SideEdited:
    lm = tiny_model()
    prepared = editor.prepare(lm, tiny_facts(12))
    state = editor.init(lm) if state is None else state
    for i in range(start, stop):
        state, _ = editor.edit(lm, state, take(prepared, i, i + 1))
    return state


def bits(tree: Any) -> list[bytes]:
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def scores(lm: Transformer, prompts: list[str], target: str = "Vantor") -> list[np.ndarray]:
    return [x.logprobs for x in lm.teacher_forced(prompts, [target] * len(prompts))]


@pytest.fixture(scope="module")
def three() -> SideEdited:
    return run(EDITOR, None, 0, 3)


def everywhere(state: SideEdited) -> SideEdited:
    """The current version answers every prompt."""
    memory = state.memory._replace(threshold=jnp.float32(0))
    return state._replace(memory=memory)


def test_margins_by_hand():
    inside, outside = jnp.asarray([[6.0, 1.0]]), jnp.asarray([[3.0]])
    # 3 - 6 + 2 is below 0 and 3 - 1 + 2 = 4; 3 - 2 = 1; 5 - 6 is below 0 and 5 - 1 = 4.
    assert margin_loss(inside, outside, Margins(2, 5, 2)) == pytest.approx(4 + 1 + 4)
    assert margin_loss(inside + 9, outside - 3, Margins(2, 5, 2)) == 0
    far, side = jnp.asarray([3.0, 1.0, 1.0, 9.0]), jnp.asarray([-1, -1, 1, 0])
    assert replay_loss(far, side, Margins(2, 5, 2)) == pytest.approx(1 + 4)


def test_a_step_is_one_of_gradient_descent_on_the_kernel():
    lm = tiny_model()
    editor = dataclasses.replace(
        EDITOR, contexts=PLAIN, steps=1, mask_ratio=1.0, margin_weight=0.0, weight_decay=0.01
    )
    fact = tiny_facts(1)[0]
    prepared = editor.prepare(lm, [fact])
    made, log = editor.edit(lm, editor.init(lm), prepared)
    ids, start = lm.tokenizer.encode_pair(fact.question, fact.target)

    def loss(weight: jax.Array) -> jax.Array:
        params = with_leaves(lm, {PLACE: weight}).params
        mask = jnp.ones((1, len(ids)), bool)
        logits = forward(lm.config, params, jnp.asarray([ids]), mask).logits
        assert logits is not None
        log_p = jax.nn.log_softmax(logits[0, start - 1 : -1])
        return -log_p[np.arange(len(ids) - start), np.asarray(ids[start:])].mean()

    old = kernel(lm, LAYER)
    value, gradient = jax.jit(jax.value_and_grad(loss))(old)
    np.testing.assert_allclose(log["loss"], [value], rtol=1e-5)
    expected = -0.3 * (gradient + 0.01 * old)
    np.testing.assert_allclose(made.memory.current, expected, rtol=1e-3, atol=1e-6)


def test_a_share_of_the_entries_is_trained_within_a_box():
    share = np.asarray(trained_share(0, jnp.int32(0), 0.4, (300, 200)))
    assert share.mean() == pytest.approx(0.4, abs=0.01)
    state = run(EDITOR, None, 0, 1)
    own = np.asarray(trained_share(0, jnp.int32(0), 0.4, state.memory.current.shape))
    delta = np.asarray(state.memory.current)
    assert not delta[~own].any()
    assert np.abs(delta[own]).max() == pytest.approx(BOX)
    later = run(EDITOR, None, 0, 3)  # in the second version, with a share of its own
    second = np.asarray(trained_share(0, jnp.int32(1), 0.4, delta.shape))
    assert not np.asarray(later.memory.current)[~second].any()
    assert (second != own).any()


def test_the_version_answers_as_its_kernel_would(three: SideEdited):
    lm = tiny_model()
    state = everywhere(three)
    whole = with_leaves(lm, {PLACE: kernel(lm, LAYER) + three.memory.current})
    found = scores(EDITOR.bind(lm, state._replace(memory=state.memory._replace(count=0))), PROMPTS)
    for ours, theirs in zip(found, scores(whole, PROMPTS), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)

    legacy = dataclasses.replace(EDITOR, legacy=True)
    found = scores(legacy.bind(lm, state._replace(memory=state.memory._replace(count=0))), PROMPTS)
    bias = leaf(lm, f"{PLACE}.bias")
    without = with_leaves(whole, {f"{PLACE}.bias": jnp.zeros_like(bias)})
    for ours, theirs in zip(found, scores(without, PROMPTS), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_edits_are_learnt_and_the_rest_is_left_alone():
    lm = tiny_model()
    prepared, unedited = EDITOR.prepare(lm, tiny_facts(1)), bits(lm.params)
    state, log = EDITOR.edit(lm, EDITOR.init(lm), prepared)
    assert all(len(column) == 1 for column in log.values())
    assert log["outside"] < EDITOR.act_ratio * log["inside"]
    fact, edited = tiny_facts(1)[0], EDITOR.bind(lm, state)
    before, after = (scores(x, [fact.question], fact.target)[0].sum() for x in (lm, edited))
    assert after > before + 1
    empty = EDITOR.bind(lm, EDITOR.init(lm))
    same = [
        (ours == theirs).all()
        for ours, theirs in zip(scores(edited, PROMPTS), scores(empty, PROMPTS), strict=True)
    ]
    assert not same[0]
    assert all(same[6:])  # the unrelated ones, bit for bit
    assert bits(lm.params) == unedited
    assert EDITOR.places(lm) == ()


def test_a_batch_of_questions_equals_its_rows_one_by_one(three: SideEdited):
    edited = EDITOR.bind(tiny_model(), three)
    for prompt, whole in zip(PROMPTS, scores(edited, PROMPTS), strict=True):
        np.testing.assert_allclose(scores(edited, [prompt])[0], whole, rtol=1e-5, atol=1e-5)


def test_generation_says_what_teacher_forcing_of_it_says(three: SideEdited):
    edited = EDITOR.bind(tiny_model(), three)
    prompts = PROMPTS[:8]
    for prompt, made in zip(prompts, edited.continuations(prompts, 5), strict=True):
        row = edited.prompt_row(prompt)
        (forced,) = edited.score_rows([([*row, *made.ids], len(row))])
        assert tuple(forced.predicted_ids) == made.ids


def test_a_restored_state_goes_on_bit_for_bit(three: SideEdited):
    """Across a version that is stored, one that is merged, and a replay of both."""
    lm = tiny_model()
    snapshot = jax.tree.map(np.asarray, EDITOR.snapshot(three))
    restored = EDITOR.restore(lm, snapshot)
    assert restored.past == three.past
    kept = bits(three.memory)
    live, again = run(EDITOR, three, 3, 7), run(EDITOR, restored, 3, 7)
    assert bits(three.memory) == kept  # the old state is still good
    assert bits(EDITOR.snapshot(live)) == bits(EDITOR.snapshot(again))
    assert (live.edits, live.begun, live.pending, live.merges) == (7, 3, 1, 1)
    assert live.memory.count == 2  # edits 1 to 4, merged, and 5 and 6
    assert [one.group for one in live.past] == [0] * 4 + [1] * 3


def test_replay_draws_of_both_kinds():
    past = [Past((i,), int(i >= 4)) for i in range(7)]
    drawn = replayed(past, 1, 4, 0, past[0])
    assert drawn.side.tolist() == [1, 1, 1, 0, -1, -1, -1, -1]
    firsts = drawn.ids[:, 0].tolist()
    assert sorted(firsts[:3]) == [4, 5, 6]
    assert sorted(firsts[4:]) == [0, 1, 2, 3]


def test_a_batch_is_one_update():
    lm = tiny_model()
    state, log = EDITOR.edit(lm, EDITOR.init(lm), EDITOR.prepare(lm, tiny_facts(3)))
    assert state.edits == 3
    assert state.memory.count == 1  # stored once, if late
    assert all(len(column) == 3 for column in log.values())


def test_without_retrieval_all_is_one(three: SideEdited):
    lm = tiny_model()
    editor = dataclasses.replace(EDITOR, retrieve=False, density=1.0)
    kept = bits(three.memory)
    router = editor.bind(lm, three).params["adapters"][PLACE]
    assert router.memory.count == 1
    assert not router.memory.current.any()
    assert np.isfinite(router.memory.threshold)
    assert bits(three.memory) == kept
    state = run(editor, three, 3, 8)
    assert state.merges == 2
    assert state.memory.count == 1


def test_thirty_edits_compile_nothing_once_each_length_has_come():
    lm = tiny_model()
    editor = dataclasses.replace(EDITOR, save_freq=100, merge_freq=100)
    prepared = editor.prepare(lm, tiny_facts(30))
    state = editor.init(lm)
    traced: list[str] = []
    try:
        for i in range(30):
            if i == 20:
                jax.monitoring.register_event_duration_secs_listener(
                    lambda event, *_, **__: traced.append(event) if "compile" in event else None
                )
            state, _ = editor.edit(lm, state, take(prepared, i, i + 1))
            editor.bind(lm, state)
    finally:
        jax.monitoring.clear_event_listeners()
    assert not traced


def test_bad_settings_are_named():
    lm = tiny_model()
    with pytest.raises(UserError, match="edits one layer"):
        dataclasses.replace(EDITOR, layers=(0, 1)).init(lm)
    with pytest.raises(UserError, match="no multiple of save_freq=3"):
        dataclasses.replace(EDITOR, save_freq=3).init(lm)
    fact = Fact("{} is in", "Vantor", "Sarn")
    with pytest.raises(UserError, match="neighbours"):
        dataclasses.replace(EDITOR, unrelated=(), contexts=PLAIN).prepare(lm, [fact])
    prepared = dataclasses.replace(EDITOR, unrelated=()).prepare(lm, [fact])
    assert prepared.other_mask.any()  # the prefix alone
    nothing = EDITOR.init(lm)
    broken = nothing._replace(memory=nothing.memory._replace(current=jnp.full((48, 24), jnp.nan)))
    with pytest.raises(FloatingPointError, match=r"layer 0: .*fact 0 .*not finite"):
        EDITOR.edit(lm, broken, EDITOR.prepare(lm, tiny_facts(1)))
