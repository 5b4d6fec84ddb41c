"""Every token that matters has one place, and nothing else has."""

import numpy as np

from jaxedit.editors.packing import pack
from jaxedit.editors.rows import value_rows
from tests.editors.test_editors import CONTEXTS
from tests.editors.test_values import left_padded
from tests.tiny import tiny_facts, tiny_model


def test_places_of_tails_pasts_and_predictions():
    rows = value_rows(tiny_model().tokenizer, tiny_facts(5), CONTEXTS)
    for padded in (rows, left_padded(rows)):
        packed = pack(padded)
        for i in range(5):
            tokens = [
                (r, c) for r, c in zip(packed.row[i], packed.column[i], strict=True) if r >= 0
            ]
            pasts = list(zip(packed.past_row[i], packed.past_column[i], strict=True))
            before = [(r, c) for r, c in pasts if r >= 0]
            assert not set(tokens) & set(before)
            last = padded.mask.shape[1] - 1
            real = set(zip(*np.nonzero(padded.mask[i]), strict=True))
            behind = {(r, c) for r, c in real if r == last and c > padded.lookup[i, last]}
            assert set(tokens) | set(before) == real - behind  # of the subject's row one is enough
            for r, start in enumerate(packed.start[i]):
                assert tokens[start] == (r, padded.lookup[i, r])
            for r in range(last):
                for p in np.flatnonzero(padded.target_mask[i]):
                    assert tokens[packed.predict[i, r, p]] == (r, padded.predict[i, r, p])
