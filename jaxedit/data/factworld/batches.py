"""Training rows as padded token batches that know where subjects and answers stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxedit.data.factworld.rows import TrainingRow, training_rows
from jaxedit.data.factworld.world import World
from jaxedit.models.text import Tokenizer

NO_SUBJECT = -1


class Encoded(NamedTuple):
    """One row of T tokens, the end of text among them.

    Attributes:
        ids: [T] int32.
        subject: [T] int32, which of the row's subjects a token belongs to, or -1.
        subject_last: [T] bool, whether it is its subject's last token.
        answer: [T] bool, whether it belongs to an answer (the end of text counts as one).
    """

    ids: np.ndarray
    subject: np.ndarray
    subject_last: np.ndarray
    answer: np.ndarray


class Batch(NamedTuple):
    """Rows padded on the right: `Encoded` with a leading row axis, and their mask [B, T] bool."""

    ids: np.ndarray
    mask: np.ndarray
    subject: np.ndarray
    subject_last: np.ndarray
    answer: np.ndarray


def encode(tokenizer: Tokenizer, row: TrainingRow) -> Encoded:
    """A row's tokens with its marked pieces found among them, and the end of text behind them."""
    ids, spans = tokenizer.encode_with_offsets(row.text)
    assert tokenizer.eos_id is not None
    ids = [*ids, tokenizer.eos_id]
    subject = np.full(len(ids), NO_SUBJECT, np.int32)
    subject_last = np.zeros(len(ids), bool)
    answer = np.zeros(len(ids), bool)
    for number, (_, start, end) in enumerate(row.subjects):
        inside = _tokens(spans, start, end)
        subject[inside] = number
        subject_last[inside[-1:]] = True
    for _, start, end in row.answers:
        answer[_tokens(spans, start, end)] = True
    answer[-1] = True
    return Encoded(np.asarray(ids, np.int32), subject, subject_last, answer)


def _tokens(spans: Sequence[tuple[int, int]], start: int, end: int) -> list[int]:
    """The tokens that hold some of the characters [start, end)."""
    return [i for i, (a, b) in enumerate(spans) if a < end and b > start]


def stack(rows: Sequence[Encoded], length: int) -> Batch:
    """Rows of at most `length` tokens as one batch."""
    shape = (len(rows), length)
    batch = Batch(
        ids=np.zeros(shape, np.int32),
        mask=np.zeros(shape, bool),
        subject=np.full(shape, NO_SUBJECT, np.int32),
        subject_last=np.zeros(shape, bool),
        answer=np.zeros(shape, bool),
    )
    for i, row in enumerate(rows):
        place = (i, slice(0, len(row.ids)))
        batch.mask[place] = True
        for name in Encoded._fields:
            getattr(batch, name)[place] = getattr(row, name)
    return batch


def batches(
    tokenizer: Tokenizer, world: World, seed: int, tokens: int, lengths: Sequence[int]
) -> Iterator[Batch]:
    """An endless stream of batches of about `tokens` places each.

    Rows are collected on one shelf a length, the shortest that fits, and a shelf that is full
    becomes a batch: there are as many shapes as `lengths`. Longer rows are left out.
    """
    shelves: dict[int, list[Encoded]] = {length: [] for length in sorted(lengths)}
    for row in training_rows(world, seed):
        encoded = encode(tokenizer, row)
        length = next((n for n in shelves if len(encoded.ids) <= n), None)
        if length is None:
            continue
        shelf = shelves[length]
        shelf.append(encoded)
        if len(shelf) == tokens // length:
            yield stack(shelf, length)
            shelf.clear()
