"""Two models, and which of them a text goes to."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxedit.errors import UserError
from jaxedit.models.forward import forward
from jaxedit.models.routed import Route, Routed, log_mixture
from jaxedit.models.transformer import Transformer
from tests.models.tiny import word_tokenizer
from tests.tiny import tiny_model

EDIT = "Mira Danto was born in Rivella"
NEAR, FAR = "The birthplace of Mira Danto is", "Jovan Osei lives in"
SCOPES = {NEAR: 0.7, FAR: 0.0}


def base_model(devices: int = 1) -> Transformer:
    return tiny_model(devices, n_layers=2)


def other(devices: int = 1) -> Transformer:
    """A counterfactual model: of other depth than the base."""
    return tiny_model(devices, n_layers=1)


def routed(scopes: Mapping[str, float] = SCOPES, devices: int = 1, **changes) -> Routed:
    def route(texts: Sequence[str]) -> Route:
        return Route(np.array([scopes[t] for t in texts], np.float32), (EDIT,) * len(texts))

    return Routed(base_model(devices), other(devices), route, **changes)


def log_p(lm: Transformer, ids: Sequence[int]) -> np.ndarray:
    """[T, V] of a row by itself."""
    row = jnp.asarray([ids])
    run = jax.jit(forward, static_argnums=0)
    logits = run(lm.config, lm.params, row, jnp.ones_like(row)).logits
    assert logits is not None
    return np.asarray(jax.nn.log_softmax(logits[0]), np.float64)


def test_out_of_scope_everything_has_the_bits_of_the_base_model():
    lm, base = routed(), base_model()
    [ours], [alone] = (
        lm.teacher_forced([FAR], ["New Calder"]),
        base.teacher_forced([FAR], ["New Calder"]),
    )
    assert ours.logprobs.tobytes() == alone.logprobs.tobytes()
    assert ours.predicted_ids.tobytes() == alone.predicted_ids.tobytes()
    assert lm.continuations([FAR], 5) == base.continuations([FAR], 5)
    assert lm.loglikelihood([FAR]) == base.loglikelihood([FAR])
    assert lm.score_rows([]) == []


def test_the_soft_mixture_is_that_of_the_probabilities():
    lm = routed()
    [said] = lm.teacher_forced([NEAR], ["Vantor"])
    ids, n = lm.base.pair_row(NEAR, "Vantor")
    given_too = lm.other.prompt_row(f"{EDIT} {NEAR}")
    target = ids[n:]
    base = np.exp(log_p(lm.base, ids)[n - 1 : -1])
    theirs = np.exp(log_p(lm.other, [*given_too, *target])[len(given_too) - 1 : -1])
    mixed = 0.3 * base + 0.7 * theirs
    assert said.target_ids.tolist() == target
    assert said.predicted_ids.tolist() == mixed.argmax(1).tolist()
    expected = np.log(mixed[np.arange(len(target)), target])
    np.testing.assert_allclose(said.logprobs, expected, rtol=2e-5)


def test_one_model_speaks_alone_where_it_must():
    hard, edited = routed(forced="hard"), f"{EDIT} {NEAR}"
    assert hard.generate([NEAR, FAR], 6) == [
        *hard.other.generate([edited], 6),
        *hard.base.generate([FAR], 6),
    ]
    assert hard.generate([NEAR], 6) == routed().generate([NEAR], 6)
    [said], [alone] = (
        hard.teacher_forced([NEAR], ["Vantor"]),
        hard.other.teacher_forced([edited], ["Vantor"]),
    )
    np.testing.assert_allclose(said.logprobs, alone.logprobs, rtol=1e-5)
    below = routed({NEAR: 0.4}, forced="hard")
    [said], [alone] = (
        below.teacher_forced([NEAR], ["Vantor"]),
        hard.base.teacher_forced([NEAR], ["Vantor"]),
    )
    assert said.logprobs.tobytes() == alone.logprobs.tobytes()


def test_a_batch_is_its_rows_one_by_one_on_any_devices():
    scopes = {NEAR: 0.7, FAR: 0.0, "The capital of": 1.0, "Old Tessan is": 0.2}
    pairs = [(prompt, target) for prompt in scopes for target in ("Vantor", "Sarn")]
    lm = routed(scopes)
    prompts, targets = [p for p, _ in pairs], [t for _, t in pairs]
    batch = lm.teacher_forced(prompts, targets)
    spread = routed(scopes, 2).teacher_forced(prompts, targets)
    for (prompt, target), said, there in zip(pairs, batch, spread, strict=True):
        [alone] = lm.teacher_forced([prompt], [target])
        for one in (alone, there):
            assert one.predicted_ids.tolist() == said.predicted_ids.tolist()
            np.testing.assert_allclose(one.logprobs, said.logprobs, rtol=1e-4)
    assert lm.generate(list(scopes), 4) == [lm.generate([p], 4)[0] for p in scopes]


def test_what_is_read_for_the_scope():
    read: list[str] = []

    def route(texts: Sequence[str]) -> Route:
        read.extend(texts)
        return Route(np.zeros(len(texts), np.float32), ("",) * len(texts))

    lm = Routed(base_model(), other(), route)
    lm.teacher_forced([NEAR], ["Vantor"])
    dataclasses.replace(lm, reads="text").teacher_forced([NEAR], ["Vantor"])
    lm.loglikelihood([FAR])
    lm.generate([FAR], 1)
    assert read == [NEAR, f"{NEAR} Vantor", FAR, FAR]


def test_of_a_text_that_is_too_long_the_edit_stays():
    prompt = " ".join(["Sarn"] * 23)
    lm = routed({prompt: 1.0}, forced="hard")
    ids, n = lm.base.pair_row(prompt, "Vantor")
    edit = lm.other.prompt_row(EDIT)
    assert n <= 128 < n + len(edit)
    room = 128 - (len(ids) - n - 1) - len(edit)
    [said] = lm.score_rows([(ids, n)])
    [expected] = lm.other.score_rows([([*edit, *ids[n - room :]], 128 - (len(ids) - n - 1))])
    np.testing.assert_allclose(said.logprobs, expected.logprobs, rtol=1e-5)


def test_models_that_do_not_go_together_are_refused():
    lm = routed()
    with pytest.raises(UserError, match="another vocabulary"):
        dataclasses.replace(lm, other=dataclasses.replace(lm.other, text=word_tokenizer()))
    with pytest.raises(UserError, match="other devices"):
        dataclasses.replace(lm, other=other(2))


@settings(max_examples=20, deadline=None)
@given(
    st.floats(0, 1, width=32),
    arrays(np.float32, (2, 5), elements=st.floats(-20, 20, width=32)),
    arrays(np.float32, (2, 7), elements=st.floats(-20, 20, width=32)),
)
def test_a_mixture_is_a_distribution(scope: float, base: np.ndarray, theirs: np.ndarray):
    both = jnp.full(2, scope, jnp.float32), jnp.asarray(base), jnp.asarray(theirs)
    made = np.exp(np.asarray(log_mixture(*both), np.float64))
    shares = [
        np.pad(np.asarray(jax.nn.softmax(x)), ((0, 0), (0, 7 - x.shape[1]))) for x in both[1:]
    ]
    np.testing.assert_allclose(made.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(made, (1 - scope) * shares[0] + scope * shares[1], atol=1e-5)
