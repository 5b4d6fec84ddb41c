"""Facts as token rows for WISE: behind every prefix, unrelated texts beside them, earlier ones."""

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.editors.rows import Contexts, TargetRows, fill, target_rows
from jaxedit.editors.side_memory import Route
from jaxedit.models.text import Tokenizer, bucket, pad_batch


class WiseRows(NamedTuple):
    """Tokens of n facts behind N templates, with L unrelated texts for each.

    Attributes:
      edits: prompts with targets; each leaf is [n, N, ...].
      scope: tokens of them by which they are told apart, [n, N, T] bool.
      other: ids of the unrelated texts, [n, L, U] int32.
      other_mask: [n, L, U] bool.
    """

    edits: TargetRows
    scope: Any
    other: Any
    other_mask: Any


class Replay(NamedTuple):
    """Prompts of earlier edits, whose distances are held.

    Attributes:
      ids: [R, T] int32.
      mask: [R, T] bool.
      side: [R]: 1 must lie inside, as the facts of the current version; -1 outside, as those of
        a stored one; 0 fills up.
    """

    ids: Any
    mask: Any
    side: Any


class Past(NamedTuple):
    """An earlier edit.

    Attributes:
      prompt: its tokens.
      group: merges that came before it.
    """

    prompt: tuple[int, ...]
    group: int


def wise_rows(
    tokenizer: Tokenizer,
    facts: Sequence[Fact],
    contexts: Contexts,
    others: Sequence[Sequence[str]],
    route: Route,
) -> WiseRows:
    """Rows of n facts.

    Args:
      tokenizer: the model's.
      facts: n facts.
      contexts: the prefix templates.
      others: L unrelated texts for each fact.
      route: by which tokens a text is judged: its prompt's, or ("call") the target's, too.
    """
    templates = [t for group in contexts for t in group]
    behind = [
        dataclasses.replace(fact, prompt=fill(template, fact.prompt))
        for fact in facts
        for template in templates
    ]
    rows = target_rows(tokenizer, behind)
    columns = np.arange(rows.ids.shape[1])
    given = columns <= rows.predict[:, :1] if route == "prompt" else rows.mask
    texts = [tokenizer.encode(text) for texts in others for text in texts]
    other, other_mask = pad_batch(texts, pad_id=tokenizer.pad_id)
    n = len(facts)
    return WiseRows(
        TargetRows(*(_by_fact(x, n) for x in rows)),
        _by_fact(rows.mask & given, n),
        _by_fact(np.asarray(other, np.int32), n),
        _by_fact(np.asarray(other_mask, bool), n),
    )


def _by_fact(x: np.ndarray, n: int) -> np.ndarray:
    """[n * k, ...] -> [n, k, ...]."""
    return x.reshape((n, -1, *x.shape[1:]))


def drawn(fact: Fact, pool: list[str], count: int, seed: int) -> list[str]:
    """`count` texts of a pool, the same ones for a fact whatever comes before it."""
    rng = np.random.default_rng((seed, zlib.crc32(f"{fact.question} {fact.target}".encode())))
    order = rng.permutation(len(pool))
    return [pool[order[i % len(pool)]] for i in range(count)]


def remembered(rows: WiseRows, group: int) -> list[Past]:
    """The plain prompts of an update."""
    ids, scope = np.asarray(rows.edits.ids)[:, 0], np.asarray(rows.scope)[:, 0]
    prompts = [tuple(row[here].tolist()) for row, here in zip(ids, scope, strict=True)]
    return [Past(prompt, group) for prompt in prompts]


def replayed(past: Sequence[Past], merges: int, count: int, seed: int, fill: Past) -> Replay:
    """Up to `count` earlier edits of the current version, and as many of stored ones.

    Args:
      past: all of them.
      merges: so far; edits of an earlier group are in a stored version.
      count: of each kind; there are always twice as many rows.
      seed: of the draw, which also depends on how many edits there are.
      fill: a prompt for rows that stand for nothing.
    """
    rng = np.random.default_rng((seed, len(past)))
    rows, sides = [], []
    for side in (1, -1):
        kind = [one for one in past if (one.group == merges) == (side > 0)]
        chosen = [kind[i] for i in rng.permutation(len(kind))[:count]]
        more = count - len(chosen)
        rows += [one.prompt for one in chosen] + [fill.prompt] * more
        sides += [side] * len(chosen) + [0] * more
    ids, mask = pad_batch(rows, pad_id=0, length=bucket(max(map(len, rows))))
    return Replay(ids, mask, np.asarray(sides, np.int32))
