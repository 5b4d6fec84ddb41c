"""The tokens that an optimisation of values has to run, with nothing between them.

Each fact has a row a template, all of them short from the subject's last token on and of one
length, and the subject's own row, of which that one token is enough. Laid end to end they are one
row a fact, in which a token sees its own row alone: no columns are run for nothing.
"""

from typing import Any, NamedTuple

import numpy as np

from jaxedit.editors.rows import Array, ValueRows
from jaxedit.models.text import round_up

TAILS = (32, 64, 96, 128)  # few sizes, so that little is compiled; then steps of 64
PASTS = 128  # in steps of this


class Packed(NamedTuple):
    """Places of n facts' tokens in their rows; -1 fills up.

    Attributes:
      row: of each token from the subject's last on, [n, W] int32.
      column: [n, W] int32.
      past_row: of each token before, [n, S] int32.
      past_column: [n, S] int32.
      start: where each row's first token stands among the W, [n, R] int32.
      predict: where the tokens that predict the target stand, [n, N, P] int32.
    """

    row: Array
    column: Array
    past_row: Array
    past_column: Array
    start: Array
    predict: Array


class Span(NamedTuple):
    """Of each row: the first real column, the subject's last, one past what runs; [n, R]."""

    first: np.ndarray
    lookup: np.ndarray
    end: np.ndarray

    @property
    def tails(self) -> np.ndarray:
        """Tokens a fact that run, [n]."""
        return (self.end - self.lookup).sum(-1)


def spans(rows: ValueRows) -> Span:
    """What of the rows runs; of the last one, the subject's own, a single token."""
    mask = np.asarray(rows.mask)
    end = mask.shape[-1] - mask[..., ::-1].argmax(-1)
    lookup = np.asarray(rows.lookup)
    end[:, -1] = lookup[:, -1] + 1
    return Span(mask.argmax(-1), lookup, end)


def pack(rows: ValueRows) -> Packed:
    """The places of n facts' tokens, as many columns as the longest needs."""
    span = spans(rows)
    tails = [_laid_out(a, b) for a, b in zip(span.lookup, span.end, strict=True)]
    pasts = [_laid_out(a, b) for a, b in zip(span.first, span.lookup, strict=True)]
    longest = int(span.tails.max())
    width = next((size for size in TAILS if longest <= size), round_up(longest, 64))
    row, column = _filled(tails, width)
    past_row, past_column = _filled(pasts, round_up(max(len(x[0]) for x in pasts) or 1, PASTS))
    lengths = span.end - span.lookup  # [n, R]
    start = (np.cumsum(lengths, axis=-1) - lengths).astype(np.int32)
    behind = np.asarray(rows.predict) - span.lookup[:, :-1, None]  # [n, N, P]
    predict = start[:, :-1, None] + np.clip(behind, 0, lengths[:, :-1, None] - 1)
    return Packed(row, column, past_row, past_column, start, predict.astype(np.int32))


def _laid_out(first: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the tokens `first` to `end` - 1 of each of R rows, end to end."""
    lengths = end - first
    rows = np.repeat(np.arange(len(first)), lengths)
    columns = np.concatenate([np.arange(a, b) for a, b in zip(first, end, strict=True)])
    return rows, columns


def _filled(places: list[tuple[np.ndarray, np.ndarray]], width: int) -> Any:
    filled = np.full((2, len(places), width), -1, np.int32)
    for i, (rows, columns) in enumerate(places):
        filled[0, i, : len(rows)], filled[1, i, : len(columns)] = rows, columns
    return filled
