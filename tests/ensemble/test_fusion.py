import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.ensemble.certificate import bounds_of
from jaxedit.ensemble.fusion import NO_COLUMN, NO_ENDS, Ends, Fusion, choose, decide, fuse
from jaxedit.errors import UserError
from tests.ensemble.random_space import COMMON, PLUG, TARGET, logits, random_space

TEXTS = 4
ALPHA = np.asarray([0.0, 0.3, 0.7, 1.0], np.float32)
EOS, GATE = 390, PLUG - 1  # no anchor's word
ENDS = Ends((EOS,), (370,))


@functools.cache
def models(scale: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return logits(rng, TEXTS, TARGET, scale), logits(rng, TEXTS, PLUG, scale)


@functools.partial(jax.jit, static_argnames=("fusion", "ends", "gate_id"))
def decided(fusion, space, logits_l, logits_s, alpha, ends=NO_ENDS, gate_id=None, bounds=None):
    return decide(
        fusion, space, logits_l, logits_s, alpha, gate_id=gate_id, ends=ends, bounds=bounds
    )


def test_the_plug_in_has_the_share_that_alpha_gives_it():
    space = random_space(0)
    p_l, p_s = (jax.nn.softmax(x) for x in models())
    found = fuse(space, p_l, p_s, ALPHA)
    np.testing.assert_allclose(found[0], p_l[0] @ space.main, atol=1e-6)
    np.testing.assert_allclose(found[3], p_s[3] @ space.plug, atol=1e-6)
    middle = 0.3 * (p_s[1] @ space.plug) + 0.7 * (p_l[1] @ space.main)
    np.testing.assert_allclose(found[1], middle, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_onceedit_looks_up_what_the_search_would_find():
    space = random_space(0)
    table = decided(Fusion(), space, *models(), ALPHA)
    found = decided(Fusion(decoder="search"), space, *models(), ALPHA)
    few = decided(Fusion(), space, *models(), ALPHA, bounds=bounds_of(space))
    np.testing.assert_array_equal(table.tokens, found.tokens)
    np.testing.assert_array_equal(table.tokens, few.tokens)
    np.testing.assert_array_equal(table.tokens, space.table[table.columns])
    assert few.rows.max() > 0 and not table.rows.any() and table.fused.all()


def test_a_soft_target_has_no_column():
    made = decided(Fusion("dw"), random_space(0), *models(), ALPHA)
    np.testing.assert_array_equal(made.columns, NO_COLUMN)


def test_a_plug_in_without_a_share_leaves_the_target_as_it_is():
    """There the gradient is rounding noise, which AdamW would follow."""
    own = models(0.01)[0].argmax(1)  # nearly level: noise would change it
    for fusion, alpha in ((Fusion("dw"), 0 * ALPHA), (Fusion("deepen", weight=0.0), ALPHA)):
        made = decided(fusion, random_space(0), *models(0.01), alpha)
        np.testing.assert_array_equal(made.tokens, own)


def test_deepen_knows_no_alpha():
    guarded = Fusion("deepen", guard=1.0)
    made = [decided(f, random_space(0), *models(), ALPHA) for f in (Fusion("deepen"), guarded)]
    flat = decided(Fusion("dw"), random_space(0), *models(), np.full(TEXTS, 0.5, np.float32))
    np.testing.assert_array_equal(made[0].tokens, flat.tokens)
    np.testing.assert_array_equal(made[1].tokens, flat.tokens)


def test_below_the_guard_the_target_speaks_for_itself():
    own = models()[0].argmax(1)
    free = decided(Fusion(), random_space(0), *models(), ALPHA)
    made = decided(Fusion(guard=0.5), random_space(0), *models(), ALPHA)
    np.testing.assert_array_equal(made.tokens, [*own[:2], *free.tokens[2:]])
    np.testing.assert_array_equal(made.fused, [False, False, True, True])
    assert (own[:2] >= COMMON).any()  # words that no anchor stands for


def ending() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The target ends two texts, the plug-in the second and third."""
    ours, theirs = (x.copy() for x in models())
    ours[[0, 1], EOS] = 30
    theirs[[1, 2], ENDS.plug[0]] = 30
    theirs[0, 5] = 30  # an anchor's word
    return ours, theirs, np.asarray([0.8, 0.8, 0.8, 0.8], np.float32)


@pytest.mark.parametrize(
    ("eos", "ended"),
    [
        ("bypass", [True, True, False, False]),  # the target alone decides
        ("pair", [False, True, True, False]),  # the heavier one
        ("fuse", [False, False, False, False]),  # no anchor leads there
    ],
)
@pytest.mark.parametrize("few_rows", [False, True])
def test_who_ends_a_text(eos, ended, few_rows):
    space = random_space(0)
    bounds = bounds_of(space) if few_rows else None
    made = decided(Fusion(eos=eos), space, *ending(), ENDS, bounds=bounds)
    np.testing.assert_array_equal(made.tokens == EOS, ended)
    np.testing.assert_array_equal(made.fused, np.asarray([eos != "bypass"] * 2 + [True] * 2))


@pytest.mark.parametrize("mode", ["dw_zi", "dw_ta", "dw_ee"])
def test_the_pair_is_searched_for_too(mode):
    fusion = Fusion(mode, "search", eos="pair", steps=8, learning_rate=2.0)
    made = decided(fusion, random_space(0), *ending(), ENDS)
    np.testing.assert_array_equal((made.tokens == EOS)[1:], [True, True, False])


def test_the_gates_token_has_no_say():
    space, (ours, theirs) = random_space(0), models()
    loud = theirs.copy()
    loud[:, GATE] = 50
    masked = decided(Fusion(), space, ours, loud, ALPHA, gate_id=GATE)
    quiet = loud.copy()
    quiet[:, GATE] = -1e9
    np.testing.assert_array_equal(
        masked.tokens, decided(Fusion(), space, ours, quiet, ALPHA).tokens
    )
    kept = decided(Fusion(mask_gate=False), space, ours, loud, ALPHA, gate_id=GATE)
    assert kept.columns[3] == space.plug_table[GATE]


def test_the_literal_reading_agrees_with_the_table_at_its_first_step():
    space = random_space(0)
    fusion = Fusion(decoder="search", variable="probabilities", steps=1)
    made = decided(fusion, space, *models(), ALPHA)
    np.testing.assert_array_equal(
        made.tokens, choose(Fusion(), space, *map(jnp.asarray, models()), jnp.asarray(ALPHA))
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "dw_e"}, "fusion.mode='dw_e': no such one; did you mean dw_ee"),
        ({"decoder": "beam"}, "fusion.decoder='beam'"),
        ({"steps": 0}, "at least one step"),
        ({"guard": 1.5}, "fusion.guard=1.5 is no share"),
        ({"variable": "probabilities"}, "add decoder='search'"),
    ],
)
def test_what_does_not_exist_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(Fusion(), **settings)


def test_a_pair_needs_two():
    with pytest.raises(UserError, match="the plug-in has no end-of-text"):
        decided(Fusion(eos="pair"), random_space(0), *models(), ALPHA, Ends((EOS,)))
