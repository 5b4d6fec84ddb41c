"""Causal tracing against runs of the model that are changed by hand, and its averages."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.data.fact import Fact
from jaxedit.errors import UserError
from jaxedit.location.effects import (
    CLASSES,
    LAST_SUBJECT,
    average_effects,
    suggested_layers,
    token_classes,
)
from jaxedit.location.tracing import (
    Recall,
    Trace,
    draw_noise,
    embedding_deviation,
    known,
    recall,
    trace,
)
from jaxedit.location.tracing_program import KINDS, TraceSettings
from jaxedit.models.forward import forward
from jaxedit.models.sites import Add, Set, Tap
from tests.tiny import tiny_model, tiny_tokenizer

SETTINGS = TraceSettings(kinds=KINDS, window=2, samples=3)
SCALE = 0.05
FACTS = (  # of one length, so that little is compiled
    Recall((40, 41, 42, 43, 44, 45), 1, 3, (50, 51)),
    Recall((46, 47, 48, 49, 41, 44), 0, 1, (52,)),
    Recall((60, 61, 62, 63, 64, 65), 5, 6, (53,)),
)
SITES = ("block.out", "mlp.down.out", "attn.o.out")
PLACES = [(site, layer) for site in SITES for layer in range(4)]
NOWHERE = -1


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    return list(trace(tiny_model(2), FACTS, SETTINGS, SCALE, before_subject=True))


def by_hand(fact: Recall, token: int = NOWHERE, **states: Any) -> tuple[np.ndarray, dict]:
    """One clean and three noisy runs: p(o) of each, and what passes the sites, [rows, T, D].

    ``states``: by place such as "mlp.down.out 2", what to put at the token in every run.
    """
    lm, rows = tiny_model(), 1 + SETTINGS.samples
    noise = np.zeros((rows, len(fact.ids), lm.config.d_model), np.float32)
    noise[1:, fact.first : fact.end] = draw_noise(fact, SETTINGS, SCALE, lm.config.d_model)
    at, values = {}, {}
    for site, layer in PLACES:
        name = f"{site} {layer}"
        at[name] = np.full(rows, token if name in states else NOWHERE, np.int32)
        nothing = np.zeros((rows, lm.config.d_model), np.float32)
        values[name] = np.broadcast_to(states.get(name, nothing), nothing.shape)
    ids = np.tile(np.asarray(fact.ids, np.int32), (rows, 1))
    logits, passed = _run(lm.params, ids, noise, at, values)
    p = jax.nn.softmax(logits)[:, fact.answer[0]]
    return np.asarray(p), {name: np.asarray(x) for name, x in passed.items()}


@jax.jit
def _run(params: Any, ids: Any, noise: Any, at: Any, values: Any) -> Any:
    columns = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)
    out = forward(
        tiny_model().config,
        params,
        ids,
        jnp.ones_like(ids),
        add=[Add(0, "block.in", columns, noise)],
        sets=[Set(j, site, at[f"{site} {j}"], values[f"{site} {j}"]) for site, j in PLACES],
        taps=[Tap(j, site) for site, j in PLACES],
    )
    assert out.logits is not None
    passed = {f"{site} {j}": x for (site, j), x in zip(PLACES, out.taps, strict=True)}
    return out.logits[:, -1], passed


def test_clean_and_noisy_probabilities(traces):
    for fact, found in zip(FACTS, traces, strict=True):
        p, _ = by_hand(fact)
        assert found.high == pytest.approx(p[0], rel=1e-5)
        assert found.low == pytest.approx(p[1:].mean(), rel=1e-5)
        assert abs(found.high - found.low) > 1e-5


def test_every_kind_of_cell_against_runs_by_hand(traces):
    fact, found, token, layer = FACTS[0], traces[0], 2, 1
    _, passed = by_hand(fact)
    clean = {name: x[0, token] for name, x in passed.items()}
    own = {name: x[:, token] for name, x in passed.items()}
    block = {"block.out 1": clean["block.out 1"]}
    sets = {
        "none": block,
        "mlp": {f"mlp.down.out {j}": clean[f"mlp.down.out {j}"] for j in (0, 1)},
        "attn": {f"attn.o.out {j}": clean[f"attn.o.out {j}"] for j in (0, 1)},
        "severed_mlp": {f"mlp.down.out {j}": own[f"mlp.down.out {j}"] for j in range(4)} | block,
        "severed_attn": {f"attn.o.out {j}": own[f"attn.o.out {j}"] for j in range(4)} | block,
    }
    values = {kind: by_hand(fact, token, **states)[0][1:].mean() for kind, states in sets.items()}
    assert len({round(float(value), 7) for value in values.values()}) == len(KINDS)
    for kind, value in values.items():
        assert found.cells[kind][token, layer] == pytest.approx(value, rel=1e-5), kind


def test_restoring_every_token_of_a_block_gives_the_clean_run(traces):
    for found in traces:
        np.testing.assert_allclose(found.whole, found.high, rtol=1e-6)
        # The last layer's output at the last token is all that the head reads.
        assert found.cells["none"][-1, -1] == pytest.approx(found.high, rel=1e-6)


def test_restoring_a_token_before_the_subject_changes_nothing(traces):
    for fact, found in zip(FACTS, traces, strict=True):
        for kind in KINDS:
            before, after = np.split(found.effect(kind), [fact.first])
            np.testing.assert_allclose(before, 0, atol=1e-8)
            assert abs(after).max() > 1e-6


def test_tokens_before_the_subject_are_left_out(traces):
    without = list(trace(tiny_model(2), FACTS, SETTINGS, SCALE))
    for fact, some, every in zip(FACTS, without, traces, strict=True):
        assert np.isnan(some.cells["mlp"][: fact.first]).all()
        rest = slice(fact.first, None)
        np.testing.assert_allclose(some.cells["mlp"][rest], every.cells["mlp"][rest], rtol=1e-5)


def test_windows_are_clipped_to_the_model():
    published = TraceSettings()
    assert published.layers("mlp", 20, 48) == range(15, 25)
    assert published.layers("attn", 2, 48) == range(7)
    assert published.layers("mlp", 46, 48) == range(41, 48)
    assert published.layers("none", 46, 48) == range(46, 47)
    assert TraceSettings(window=3).layers("mlp", 5, 8) == range(4, 7)
    with pytest.raises(UserError, match="must be at least 1"):
        TraceSettings(window=0)
    with pytest.raises(UserError, match="'both' of tracing is none of"):
        TraceSettings(kinds=("both",))


def test_noise_is_the_same_for_facts_of_one_shape():
    drawn = draw_noise(Recall((1, 2, 3, 4), 1, 3, (5,)), TraceSettings(), 0.5, 6)
    np.testing.assert_array_equal(drawn, 0.5 * np.random.RandomState(1).randn(10, 2, 6))
    again = draw_noise(Recall((7, 8, 9), 0, 2, (5,)), TraceSettings(), 0.5, 6)
    np.testing.assert_array_equal(drawn, again)


def published_range(ids: tuple[int, ...], subject: str) -> tuple[int, int]:
    """The rule of the published code: decode token by token until the subject is passed."""
    pieces = [tiny_tokenizer().decode([i]) for i in ids]
    begin = "".join(pieces).index(subject)
    ends = np.cumsum([len(piece) for piece in pieces])
    last = int(np.argmax(ends >= begin + len(subject)))
    return int(np.argmax(ends > begin)), last + 1


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [("{} was born in", "Mira Danto"), ("The capital of {} is", "Arden Hollow"), ("So {}", "Osei")],
)
def test_the_tokens_of_a_subject(prompt: str, subject: str):
    found = recall(tiny_tokenizer(), Fact(prompt, subject, "Kesterly", previous="Vantor"))
    assert found is not None
    assert (found.first, found.end) == published_range(found.ids, subject)
    assert tiny_tokenizer().decode(found.answer) == " Vantor"


def test_only_facts_that_the_model_knows():
    """A model that says " in" whatever it is asked."""
    lm = tiny_model()
    (says,) = lm.tokenizer.encode(" in")
    bias = lm.params["head"]["bias"].at[says].set(1e4)
    lm = lm.with_params({**lm.params, "head": {**lm.params["head"], "bias": bias}})
    unknown = Fact("{} was born in", "Mira Danto", "in", previous="Vantor")
    knows = Fact("{} was born", "Mira Danto", "Vantor", previous="in")
    twice = Fact("{} was born", "Mira Danto", "in in")
    found = known(lm, [unknown, knows, twice])
    assert list(found) == [1, 2] and found[1].answer == (says,)
    assert list(known(lm, [unknown, knows, twice], single_token=True)) == [1]


def test_deviation_of_the_subjects_embeddings():
    lm, facts = tiny_model(), [Fact("{} is", name, "x") for name in ("Osei", "Vantor", "Osei")]
    ids = [i for fact in facts for i in lm.tokenizer.encode(fact.subject)]
    table = np.asarray(lm.params["embed"]["tokens"], np.float64)[ids]
    assert embedding_deviation(lm, facts) == pytest.approx(table.std(ddof=1))


def test_classes_of_tokens():
    fact = Recall(tuple(range(10)), 2, 6, (1,))
    assert token_classes(fact) == ((2,), (3, 4), (5,), (6,), (7, 8), (9,))
    one = Recall((1, 2, 3), 1, 2, (1,))
    assert token_classes(one) == ((1,), (), (1,), (2,), (), (2,))
    at_the_end = Recall((1, 2, 3), 1, 3, (1,))
    assert token_classes(at_the_end) == ((1,), (), (2,), (), (), (2,))


def test_averages_over_facts():
    """Two facts: of one subject token, and of four; each token of a class counts once."""
    facts = [Recall((1, 2), 0, 1, (1,)), Recall((1, 2, 3, 4, 5), 0, 4, (1,))]
    grids = [np.array([[0.5], [0.9]]), np.array([[0.2], [0.3], [0.4], [0.7], [0.8]])]
    found = [
        Trace(0.9, low, {"none": np.repeat(grid, 2, axis=1)}, np.full(2, 0.9))
        for grid, low in zip(grids, (0.1, 0.3), strict=True)
    ]
    effects = average_effects(facts, found)
    assert (effects.high, effects.low, effects.total) == pytest.approx((0.9, 0.2, 0.7))
    expected = [(0.5 + 0.2) / 2, (0.3 + 0.4) / 2, (0.5 + 0.7) / 2, (0.9 + 0.8) / 2, np.nan]
    expected += [(0.9 + 0.8) / 2]
    np.testing.assert_allclose(effects.mean["none"][:, 0], np.array(expected) - 0.2)
    np.testing.assert_allclose(effects.margin["none"][1], 1.96 * 0.05 / np.sqrt(2))
    assert effects.tokens == (2, 2, 2, 2, 0, 2)


def test_layers_around_the_peak():
    fact = Recall((1, 2, 3), 0, 2, (1,))
    grid = np.zeros((3, 8))
    grid[1, 3], grid[2, 7] = 0.4, 0.9  # the last token's is larger, but not where facts are kept
    effects = average_effects([fact], [Trace(0.9, 0.0, {"mlp": grid}, np.full(8, 0.9))])
    assert effects.peak("mlp") == (CLASSES[3], 7, 0.9)
    assert effects.peak("mlp", LAST_SUBJECT) == (LAST_SUBJECT, 3, 0.4)
    assert suggested_layers(effects, 2, 8) == (2, 3)
    assert suggested_layers(effects, 5, 8) == (1, 2, 3, 4, 5)
    assert suggested_layers(effects, 8, 8) == tuple(range(8))
