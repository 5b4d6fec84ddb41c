"""Prompts and targets of the editing stage as padded token rows.

A prompt with its target is one row: what stands behind a prompt's last token changes nothing
there. Only where a prompt cannot be read inside that row (a token is appended, or the tokenizer
joins the prompt's end with the target's beginning) is it a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxedit.ensemble.plugin import Plugin, prompt_ids
from jaxedit.models.batches import check_lengths
from jaxedit.models.text import pad_batch, round_up

ROWS = 8  # batches are filled up to a multiple of so many rows


@dataclass(frozen=True)
class Example:
    """A wrapped prompt to train on.

    Attributes:
        prompt: filled and wrapped.
        target: what is to be said behind it; None to leave that untrained.
        edit: whether the plug-in is to answer it: the gate's label.
    """

    prompt: str
    target: str | None
    edit: bool


class Row(NamedTuple):
    """One row of T tokens, on the host."""

    ids: list[int]  # [T], the target's last token is not among them
    first: int  # column that predicts the target's first token
    target: list[int]  # [P], empty if nothing is to be said
    read: int  # column of the gate; -1 where it is not read
    edit: bool


class Rows(NamedTuple):
    """B padded rows; those that fill the batch up have no target and no gate.

    Attributes:
        ids: [B, T] int32.
        mask: [B, T] bool.
        predict: [B, P] int32, columns that predict the target's tokens.
        target: [B, P] int32.
        target_mask: [B, P] bool.
        read: [B] int32, column of the gate.
        gated: [B] bool, whether it is read.
        label: [B] float32, 1 for an edit and 0 for what is unrelated.
    """

    ids: Any
    mask: Any
    predict: Any
    target: Any
    target_mask: Any
    read: Any
    gated: Any
    label: Any


def example_rows(plugin: Plugin, example: Example, end_of_text: bool) -> Iterator[Row]:
    """The row or rows of an example: what is said, and the gate where it must be read apart.

    Raises:
        UserError: the target has no token, or the text is longer than the model's positions.
    """
    tokenizer, bare = plugin.lm.tokenizer, prompt_ids(plugin, example.prompt)
    apart = plugin.reading == "appended" or example.target is None
    if example.target is not None:
        whole, start = tokenizer.encode_pair(example.prompt, example.target)
        if start == 0:  # an empty prompt behind what opens a text
            whole, start = [*bare[:1], *whole], 1
        ending = [tokenizer.eos_id] if end_of_text and tokenizer.eos_id is not None else []
        apart = apart or whole[:start] != bare
        read = -1 if apart else start - 1
        row = Row([*whole, *ending][:-1], start - 1, [*whole[start:], *ending], read, example.edit)
        check_lengths([row.ids], plugin.lm.config.max_positions)
        yield row
    if apart:
        check_lengths([bare], plugin.lm.config.max_positions)
        yield Row(bare, 0, [], len(bare) - 1, example.edit)


def stack(rows: Sequence[Row], *, width: int, least: int = 0, multiple: int = ROWS) -> Rows:
    """Rows padded on the right to the longest one's bucket.

    Args:
        rows: at least one.
        width: P, target tokens a row.
        least: rows of the batch, at least.
        multiple: of the number of rows.
    """
    count = round_up(max(least, len(rows)), multiple)
    filled = [*rows, *([Row([], 0, [], -1, False)] * (count - len(rows)))]
    ids, mask = pad_batch([row.ids for row in filled], pad_id=0)
    target, target_mask = pad_batch([row.target for row in filled], pad_id=0, length=width)
    first = np.asarray([row.first for row in filled], np.int32)
    predict = np.where(target_mask, first[:, None] + np.arange(width, dtype=np.int32), 0)
    read = np.asarray([row.read for row in filled], np.int32)
    label = np.asarray([row.edit for row in filled], np.float32)
    return Rows(ids, mask, predict, target, target_mask, np.maximum(read, 0), read >= 0, label)


def longest_target(rows: Sequence[Row]) -> int:
    """P for `stack`: target tokens of the longest, rounded up; at least one column."""
    return round_up(max(1, *(len(row.target) for row in rows)), 4)
