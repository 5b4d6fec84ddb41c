"""Values do not depend on how their rows are padded, cut into calls or ordered."""

import jax
import numpy as np
import pytest

from jaxedit.editors.pmet import RELAXED, Pmet
from jaxedit.editors.rows import ValueRows, value_rows
from jaxedit.editors.values import BLOCK_OUT, Sites, ValueSettings, optimise_values
from tests.editors.test_editors import CONTEXTS
from tests.tiny import tiny_facts, tiny_model

SETTINGS = ValueSettings(steps=6, learning_rate=0.3, clamp_norm_factor=4.0, relaxed_factor=RELAXED)


def left_padded(rows: ValueRows, extra: int = 3) -> ValueRows:
    """The same rows with their pads on the left, and some more of them."""
    width = rows.ids.shape[-1] + extra
    ids, mask = (np.zeros((*x.shape[:2], width), x.dtype) for x in (rows.ids, rows.mask))
    shift = width - rows.mask.sum(-1)  # [n, R]
    for place in np.ndindex(*shift.shape):
        real = rows.mask[place]
        ids[place][shift[place] :], mask[place][shift[place] :] = rows.ids[place][real], True
    predict = rows.predict + shift[:, :-1, None]
    return rows._replace(
        ids=ids, mask=mask, lookup=(rows.lookup + shift).astype(np.int32), predict=predict
    )


@pytest.mark.parametrize("sites", [Pmet.sites, (BLOCK_OUT,)], ids=["pmet", "block"])
def test_padding_on_either_side_gives_the_same_values(sites: Sites):
    lm = tiny_model()
    rows = value_rows(lm.tokenizer, tiny_facts(3), CONTEXTS)
    right = optimise_values(lm, rows, 1, SETTINGS, sites=sites)
    left = optimise_values(lm, left_padded(rows), 1, SETTINGS, sites=sites)
    assert float(np.abs(right.delta).max()) > 0.1
    for ours, theirs in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_facts_come_back_in_their_order_whatever_the_calls():
    lm = tiny_model()
    rows = value_rows(lm.tokenizer, tiny_facts(6), CONTEXTS)
    whole = optimise_values(lm, rows, 1, SETTINGS, chunk=8)
    cut = optimise_values(lm, rows, 1, SETTINGS, chunk=4)
    np.testing.assert_allclose(whole.initial, cut.initial, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole.delta, cut.delta, rtol=2e-3, atol=2e-4)
