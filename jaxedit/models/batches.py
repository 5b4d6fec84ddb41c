"""Texts of any number and length, cut into batches of few shapes."""

from collections.abc import Iterator, Sequence

import numpy as np

from jaxedit.errors import UserError
from jaxedit.models.text import bucket

TOKENS = 4096  # that one device takes in one call
MOST_ROWS = 128


def rows_per_device(length: int, tokens: int = TOKENS) -> int:
    """The power of two that fills a call of so many tokens with rows of this padded length."""
    return min(MOST_ROWS, 1 << (max(1, tokens // length).bit_length() - 1))


def batches(
    lengths: Sequence[int], devices: int, *, shortest: int = 0
) -> Iterator[tuple[np.ndarray, int, int]]:
    """(indices of the rows, their padded length, rows a device), the longest first.

    Neighbours in length share a batch; every batch but those that no longer fill one has the
    full number of rows for its length. No length is below ``shortest``: where a program is dear to
    compile and padding cheap to run, that saves shapes.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    done = 0
    while done < len(order):
        length = bucket(max(shortest, lengths[order[done]]))
        each = rows_per_device(length)
        rows = order[done : done + each * devices]
        yield rows, length, each
        done += len(rows)


def check_lengths(rows: Sequence[Sequence[int]], most: int) -> None:
    """Raises UserError for a text with more tokens than the model has positions."""
    for i, row in enumerate(rows):
        if len(row) > most:
            raise UserError(
                f"text {i + 1} has {len(row)} tokens, but the model takes {most}; shorten it"
            )
