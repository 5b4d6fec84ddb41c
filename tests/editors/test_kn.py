"""Knowledge neurons: the integral against the whole model, what is kept, and what is written.

Compiling the attribution takes longer than all else: every test calls it with the same shapes.
"""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.data.fact import Fact
from jaxedit.editors.attribution import NEURONS, attributions, integrate
from jaxedit.editors.editor import take
from jaxedit.editors.kn import Kn
from jaxedit.editors.weights import kernel, leaf, with_leaves
from jaxedit.errors import UserError
from jaxedit.models.forward import forward
from jaxedit.models.sites import Set, Tap
from tests.tiny import tiny_facts, tiny_model

LAYERS = (0, 1)
STEPS = 60


def small_model() -> Any:
    return tiny_model(n_layers=2)


def the_facts() -> list[Fact]:
    """Old and new answers of one to three tokens."""
    words = ("in", "was", "of", "born")
    return [
        dataclasses.replace(fact, target=words[i], previous=words[i - 1])
        for i, fact in enumerate(tiny_facts(4))
    ]


@jax.jit(static_argnums=0)
def _probabilities(config: Any, params: Any, rows: Any, shares: Any) -> jax.Array:
    """p [layers, S, n] by the whole model, with a layer's neurons scaled by shares [S, F or 1]."""
    at = rows.predict[:, :1]
    taps = tuple(Tap(layer, NEURONS, at) for layer in LAYERS)
    inner = forward(config, params, rows.ids, rows.mask, taps=taps).taps  # [n, 1, F] each

    def p(layer: int, share: jax.Array) -> jax.Array:
        sets = (Set(layer, NEURONS, at, inner[layer] * share),)
        logits = forward(config, params, rows.ids, rows.mask, sets=sets).logits
        assert logits is not None
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), rows.predict[..., None], axis=1)
        gold = jnp.take_along_axis(log_p, rows.target[..., None], axis=-1)[..., 0]
        return jnp.exp(jnp.where(rows.target_mask, gold, 0).sum(-1))

    return jnp.stack([jax.vmap(lambda share, at=layer: p(at, share))(shares) for layer in LAYERS])


def probabilities(lm: Any, rows: Any, shares: list) -> np.ndarray:
    """The answers that are to go, each behind its fact's first prompt."""
    whole = np.stack([np.broadcast_to(share, lm.config.d_ff) for share in shares])
    return np.asarray(_probabilities(lm.config, lm.params, rows, whole.astype(np.float32)))


def test_attributions_sum_to_what_the_layer_does_for_the_answer():
    """Oracle: completeness, up to the left sum's error of order 1/m."""
    lm = small_model()
    rows = jax.tree.map(lambda x: x[:, 0], Kn().prepare(lm, the_facts()).asked)
    assert set(rows.target_mask.sum(-1)) == {1, 2, 3}
    found = attributions(lm, rows, LAYERS, steps=STEPS)
    h = 0.02
    full, near, low, none = np.moveaxis(probabilities(lm, rows, [1, 1 - h, h, 0]), 1, 0)  # [L, n]
    assert np.allclose(found.probability, full, rtol=1e-4)
    # A left sum is short of the integral by (slope at 1 - slope at 0) / 2m, and little else.
    short = ((full - near) - (low - none)) / h / (2 * STEPS)
    sums = np.asarray(found.scores).sum(-1).T
    scale = np.maximum(full, none)
    assert (np.abs(sums + short - (full - none)) < 2e-3 * scale).all()
    assert (np.abs(full - none) > 0.01 * scale).all()


def test_of_something_linear_any_number_of_steps_is_exact():
    slope = np.linspace(-1, 2, 7).astype(np.float32)
    a = np.linspace(3, -2, 7).astype(np.float32)
    for steps in (1, 3):
        found = integrate(lambda v: (slope * v).sum() + 0.5, jnp.asarray(a), steps)
        assert np.allclose(found, slope * a, rtol=1e-6)


def test_of_a_square_the_left_sum_is_known():
    """d(v^2) at j/m a is 2 j/m a: IG = a^2 (m - 1) / m, not a^2; the batching changes nothing."""
    a = jnp.asarray([2.0, -3.0])
    for at_once in (None, 2):
        found = integrate(lambda v: (v * v).sum(), a, 5, at_once)
        assert np.allclose(found, np.asarray(a) ** 2 * 4 / 5)


def test_a_neuron_that_reaches_nothing_has_no_part():
    lm, only = small_model(), 5
    silent = jnp.zeros_like(kernel(lm, 1)).at[only].set(kernel(lm, 1)[only])
    lm = with_leaves(lm, {"layers_1/mlp.down": silent})
    rows = jax.tree.map(lambda x: x[:, 0], Kn().prepare(lm, the_facts()).asked)
    scores = np.asarray(attributions(lm, rows, LAYERS, steps=STEPS).scores)[:, 1]
    assert (np.delete(scores, only, axis=-1) == 0).all()
    assert (scores[..., only] != 0).all()


def test_kept_neurons_speak_for_the_answer():
    """Oracle: without them it is less likely, doubled more so."""
    lm = small_model()
    kn = Kn(LAYERS, steps=STEPS)
    prepared = kn.prepare(lm, the_facts())
    kept, log = kn.neurons(lm, prepared)
    assert (kept.sum((1, 2)) == log["neurons"]).all()
    assert (log["neurons"] > 0).all()
    assert kept.mean() < 0.5
    rows = jax.tree.map(lambda x: x[:, 0], prepared.asked)
    j = int(kept[0].sum(-1).argmax())
    p = probabilities(lm, rows, [np.where(kept[0, j], factor, 1) for factor in (0, 1, 2)])[j, :, 0]
    assert p[0] < p[1] < p[2]
    assert p[1] == pytest.approx(log["probability"][0], rel=1e-4)


def embedding(lm: Any, text: str | None) -> np.ndarray:
    """Of each token of an answer, [tokens, D]."""
    return np.asarray(lm.params["embed"]["tokens"])[lm.tokenizer.encode(f" {text}")]


def changes(kn: Kn, lm: Any, state: Any) -> list[np.ndarray]:
    edited = kn.bind(lm, state)
    return [np.asarray(kernel(edited, layer)) - np.asarray(kernel(lm, layer)) for layer in LAYERS]


def test_the_simplified_edit_adds_embeddings_and_a_batch_adds_up():
    lm, facts = small_model(), the_facts()
    kn = Kn(LAYERS, steps=STEPS)
    prepared = kn.prepare(lm, facts)
    kept, _ = kn.neurons(lm, prepared)
    state, log = kn.edit(lm, kn.init(lm), prepared)
    assert state.edits == 4
    assert all(len(column) == 4 for column in log.values())
    assert {len(embedding(lm, fact.target)) for fact in facts} == {1, 2, 3}
    part = lambda e: (2 if len(e) == 1 else 1) * e.sum(0)  # noqa: E731
    ends = [(embedding(lm, fact.target), embedding(lm, fact.previous)) for fact in facts]
    moves = [part(new) - part(old) for new, old in ends]
    for j, change in enumerate(changes(kn, lm, state)):
        assert np.allclose(change, kept[:, j].T @ np.stack(moves), atol=1e-6)


def test_the_original_edit_is_in_units_of_the_neuron_s_own_norm():
    """Oracle: |change| = |w_i| |lambda_2 e_new / |e_new| - lambda_1 e_old / |e_old||."""
    lm, facts = small_model(), the_facts()
    kn = Kn(LAYERS, steps=STEPS, rule="original", remove=1.0, add=8.0)
    prepared = kn.prepare(lm, facts)
    kept, _ = kn.neurons(lm, prepared)
    state, _ = kn.edit(lm, kn.init(lm), prepared)
    unit = lambda e: e[0] / np.linalg.norm(e[0])  # noqa: E731, of the first token
    ends = [(embedding(lm, fact.target), embedding(lm, fact.previous)) for fact in facts]
    sizes = np.asarray([np.linalg.norm(8 * unit(new) - unit(old)) for new, old in ends])
    for j, change in enumerate(changes(kn, lm, state)):
        before = np.linalg.norm(np.asarray(kernel(lm, LAYERS[j])), axis=-1)
        alone = kept[:, j].sum(0) == 1
        assert alone.any()
        expected = before * (sizes @ kept[:, j])
        assert np.allclose(np.linalg.norm(change, axis=-1)[alone], expected[alone], rtol=1e-4)
        assert (change[~kept[:, j].any(0)] == 0).all()


def test_output_embeddings_are_columns_of_the_head():
    lm, (fact, *_) = small_model(), the_facts()
    head = np.asarray(lm.params["head"]["kernel"])[:, lm.tokenizer.encode(f" {fact.target}")[0]]
    kn = Kn(LAYERS, rule="original", embeddings="output", add=2.0, remove=0.0)
    found = kn._directions(lm, kn.prepare(lm, [fact]))[0]
    assert np.allclose(found, 2 * head / np.linalg.norm(head), atol=1e-6)
    tied = dataclasses.replace(lm, config=dataclasses.replace(lm.config, tied=True))
    first = embedding(lm, fact.target)[0]
    found = kn._directions(tied, kn.prepare(lm, [fact]))[0]
    assert np.allclose(found, 2 * first / np.linalg.norm(first), atol=1e-6)


def test_shared_neurons_are_those_of_enough_prompts():
    lm, (first, *_) = small_model(), the_facts()
    texts = tuple(f"{start} {first.subject}" for start in ("Home of", "City of", "Of"))
    whole = dataclasses.replace(first, paraphrases=texts)
    asked = [dataclasses.replace(whole, prompt="{}", subject=text) for text in texts]
    alone = Kn(LAYERS, steps=STEPS, threshold=0.1)
    votes = alone.neurons(lm, alone.prepare(lm, [whole, *asked]))[0].sum(0)
    for share, needed in ((0.5, 3), (1.0, 4)):  # max(0.5 of 4, 3)
        shared = dataclasses.replace(alone, refine=True, share=share)
        kept, log = shared.neurons(lm, shared.prepare(lm, [whole]))
        assert np.array_equal(kept[0], votes >= needed)
        assert 0 < log["neurons"][0] == kept.sum() < (votes > 0).sum()
    few = [dataclasses.replace(fact, paraphrases=texts[:1]) for fact in (first, first)]
    prepared = shared.prepare(lm, [few[0], dataclasses.replace(few[1], paraphrases=())])
    assert prepared.real.tolist() == [[True, True], [True, False]]
    kept, _ = shared.neurons(lm, prepared)
    assert kept[1].sum() > kept[0].sum() > 0  # of two prompts both must agree


def test_a_restored_state_goes_on_bit_for_bit_and_leaves_model_and_states_alone():
    lm, facts = small_model(), the_facts()
    before = jax.tree.map(np.asarray, lm.params)
    kn = Kn((), steps=STEPS)  # all layers
    assert kn.places(lm) == ("layers_0/mlp.down", "layers_1/mlp.down")
    prepared = kn.prepare(lm, facts)
    start = kn.init(lm)
    first, _ = kn.edit(lm, start, take(prepared, 0, 2))
    kept = kn.restore(lm, jax.tree.map(np.asarray, kn.snapshot(first)))
    live, _ = kn.edit(lm, first, take(prepared, 2, 4))
    again, _ = kn.edit(lm, kept, take(prepared, 2, 4))
    alone, _ = kn.edit(lm, start, take(prepared, 2, 4))
    assert live.edits == again.edits == 4
    assert all(np.array_equal(live.leaves[name], again.leaves[name]) for name in live.leaves)
    assert any(not np.allclose(live.leaves[name], alone.leaves[name]) for name in live.leaves)
    assert all(np.array_equal(x, leaf(lm, name)) for name, x in start.leaves.items())
    same = jax.tree.map(np.array_equal, before, jax.tree.map(np.asarray, lm.params))
    assert all(jax.tree.leaves(same))


def test_without_a_previous_answer_the_model_s_own_goes():
    lm = small_model()
    asked: list = []

    def generate(prompts: list[str], count: int) -> list[str]:
        asked.append((prompts, count))
        return [" Rivella" if "Mira" in prompt else " " for prompt in prompts]

    speaking: Any = SimpleNamespace(tokenizer=lm.tokenizer, generate=generate)
    facts = [Fact("{} was born in", name, "Vantor", id=name) for name in ("Mira", "Tolan")]
    known = dataclasses.replace(facts[0], previous="Rivella")
    ours, theirs = (Kn(LAYERS).prepare(speaking, [one]) for one in (facts[0], known))
    assert np.array_equal(ours.asked.target, theirs.asked.target)
    assert asked == [(["Mira was born in"], len(lm.tokenizer.encode(" Vantor")))]
    with pytest.raises(UserError, match=r"fact Tolan: the model answers nothing.*previous answer"):
        Kn(LAYERS).prepare(speaking, facts)


def test_attributions_that_are_not_finite_name_fact_and_layer():
    lm = small_model()
    broken = with_leaves(lm, {"layers_1/mlp.down": kernel(lm, 1).at[0].set(jnp.nan)})
    kn = Kn(LAYERS, steps=STEPS)
    with pytest.raises(FloatingPointError, match=r"fact 0 .*not finite at layer 0"):
        kn.edit(broken, kn.init(broken), kn.prepare(lm, the_facts()))
