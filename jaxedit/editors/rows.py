"""Facts as token rows: which tokens to run, where to look, what to predict.

A fact behind N prefix templates gives N rows for its keys and N + 1 for its value. All
padding is on the right, and lengths are rounded up to buckets, so that shapes repeat.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.errors import UserError
from jaxedit.models.text import Tokenizer, bucket, pad_batch, round_up

Array = Any  # numpy on the host, traced inside a compiled function
Contexts = tuple[tuple[str, ...], ...]
"""Groups of prefix templates, each with one ``{}`` for the prompt."""

LegacyTargets = bool | Literal["stripped"]
"""How targets are encoded.

  False       after their prompt, in one piece with it.
  True        as " target" by itself, as most published code does; a Llama-2 tokenizer then puts a
              bare "▁" before it.
  "stripped"  likewise, without that mark; the rows of targets of several tokens are then missing
              the space before them, as in EMMET's code and EasyEdit's PMET.
"""

PLAIN: Contexts = (("{}",),)
"""No prefixes: the prompt alone."""


class KeyRows(NamedTuple):
    """Prompts cut after the subject's last token: what lies behind it cannot matter.

    Attributes:
      ids: [n, N, T] int32.
      mask: [n, N, T] bool.
      lookup: column of the subject's last token, [n, N] int32.
    """

    ids: Array
    mask: Array
    lookup: Array


class ValueRows(NamedTuple):
    """Prompt and target behind every prefix, and the subject's own row for the KL term.

    Attributes:
      ids: [n, N + 1, T] int32; the target's last token is not among the inputs.
      mask: [n, N + 1, T] bool.
      lookup: column of the subject's last token, [n, N + 1] int32.
      predict: columns that predict the target's tokens, [n, N, P] int32.
      target: the target's tokens, [n, P] int32.
      target_mask: [n, P] bool.
    """

    ids: Array
    mask: Array
    lookup: Array
    predict: Array
    target: Array
    target_mask: Array


class TargetRows(NamedTuple):
    """Prompts with targets, a row a fact, for methods that train on them.

    Attributes:
      ids: [n, T] int32.
      mask: [n, T] bool.
      predict: columns that predict the target's tokens, [n, P] int32.
      target: the target's tokens, [n, P] int32.
      target_mask: [n, P] bool.
    """

    ids: Array
    mask: Array
    predict: Array
    target: Array
    target_mask: Array


def context_weights(contexts: Contexts) -> np.ndarray:
    """Weight of each template in a key: mean within each group, then mean of the groups.

    Returns [N]; for MEMIT's ``(("{}",), (five prefixes))`` that is 1/2 and five times 1/10.
    """
    return np.concatenate(
        [np.full(len(group), 1 / (len(contexts) * len(group))) for group in contexts]
    )


def fill(template: str, text: str) -> str:
    """`template` with its ``{}`` replaced; other braces stay as they are."""
    return template.replace("{}", text, 1)


def subject_last(tokenizer: Tokenizer, text: str, end: int) -> tuple[list[int], int]:
    """Tokens of `text`, and the column of the one that holds character `end` - 1."""
    ids, offsets = tokenizer.encode_with_offsets(text)
    column = max(i for i, (start, stop) in enumerate(offsets) if start < end and stop > start)
    return ids, column


def _placed(fact: Fact, template: str) -> tuple[str, int]:
    """The fact's question behind a prefix, and the end of its subject in it."""
    before, _ = fact.prompt.split("{}", 1)
    end = len(template.split("{}", 1)[0]) + len(before) + len(fact.subject)
    return fill(template, fact.question), end


def key_rows(tokenizer: Tokenizer, facts: Sequence[Fact], contexts: Contexts) -> KeyRows:
    """Rows for the keys of `facts` behind every template, in the templates' order."""
    rows, columns = [], []
    for fact in facts:
        for template in (t for group in contexts for t in group):
            ids, column = subject_last(tokenizer, *_placed(fact, template))
            rows.append(ids[: column + 1])
            columns.append(column)
    count = sum(map(len, contexts))
    ids, mask = _pad(tokenizer, rows)
    return KeyRows(
        _per_fact(ids, count),
        _per_fact(mask, count),
        _per_fact(np.asarray(columns, np.int32), count),
    )


def value_rows(
    tokenizer: Tokenizer,
    facts: Sequence[Fact],
    contexts: Contexts,
    *,
    legacy_targets: LegacyTargets = False,
) -> ValueRows:
    """Rows for the values of `facts`.

    Args:
      tokenizer: the model's.
      facts: n facts.
      contexts: the prefix templates.
      legacy_targets: see `LegacyTargets`.
    """
    templates = [t for group in contexts for t in group]
    rows, lookup, predict, targets = [], [], [], []
    for fact in facts:
        for template in templates:
            question, end = _placed(fact, template)
            if legacy_targets:
                target = tokenizer.encode_pair(question, fact.target, legacy_targets=True)
                target = target[0][target[1] :]
                if legacy_targets == "stripped" and not tokenizer.decode(target[:1]):
                    target = target[1:]
                seen = question + tokenizer.decode(target[:-1])
                ids, column = subject_last(tokenizer, seen, end)
            else:
                whole, start = tokenizer.encode_pair(question, fact.target)
                target, ids = whole[start:], whole[:-1]
                column = subject_last(tokenizer, question, end)[1]
            rows.append(ids)
            lookup.append(column)
            predict.append(range(len(ids) - len(target), len(ids)))
            if template == templates[0]:
                targets.append(target)
        ids, column = subject_last(tokenizer, f"{fact.subject} is a", len(fact.subject))
        rows.append(ids)
        lookup.append(column)
    width = round_up(max(map(len, targets)), 4)
    count = len(templates)
    ids, mask = _pad(tokenizer, rows)
    target = np.zeros((len(facts), width), np.int32)
    target_mask = np.zeros((len(facts), width), bool)
    columns = np.zeros((len(facts) * count, width), np.int32)
    for i, tokens in enumerate(targets):
        target[i, : len(tokens)] = tokens
        target_mask[i, : len(tokens)] = True
    for i, places in enumerate(predict):
        columns[i, : len(places)] = places
    return ValueRows(
        _per_fact(ids, count + 1),
        _per_fact(mask, count + 1),
        _per_fact(np.asarray(lookup, np.int32), count + 1),
        _per_fact(columns, count),
        target,
        target_mask,
    )


def target_rows(
    tokenizer: Tokenizer,
    facts: Sequence[Fact],
    *,
    at_prompt_end: bool = False,
    end_of_text: bool = False,
    legacy_targets: bool = False,
) -> TargetRows:
    """Rows of the facts' questions and targets.

    Args:
      tokenizer: the model's.
      facts: n facts.
      at_prompt_end: the prompts alone; every token of the target is predicted at the last.
      end_of_text: the target ends with the end-of-text token.
      legacy_targets: at the prompt's end, encode " target" by itself with its special tokens,
        as the published code does.

    Raises:
      UserError: the tokenizer has no end-of-text token.
    """
    ending = ending_ids(tokenizer) if end_of_text else []
    rows, places, targets = [], [], []
    for fact in facts:
        whole, start = tokenizer.encode_pair(fact.question, fact.target)
        target = [*whole[start:], *ending]
        if at_prompt_end:
            if legacy_targets:
                target = [*tokenizer.encode(f" {fact.target}"), *ending]
            rows.append(tokenizer.encode(fact.question))
            places.append([len(rows[-1]) - 1] * len(target))
        else:
            rows.append([*whole, *ending][:-1])
            places.append(list(range(start - 1, start - 1 + len(target))))
        targets.append(target)
    ids, mask = _pad(tokenizer, rows, least=8)
    width = round_up(max(map(len, targets)), 4)
    target, target_mask = pad_batch(targets, side="right", length=width, pad_id=0)
    predict, _ = pad_batch(places, side="right", length=width, pad_id=0)
    return TargetRows(
        ids,
        mask,
        np.asarray(predict, np.int32),
        np.asarray(target, np.int32),
        np.asarray(target_mask, bool),
    )


def ending_ids(tokenizer: Tokenizer) -> list[int]:
    """The end-of-text token; UserError if there is none."""
    if tokenizer.eos_id is None:
        raise UserError("the tokenizer has no end-of-text token; set end_of_text=False")
    return [tokenizer.eos_id]


def _pad(
    tokenizer: Tokenizer, rows: list[list[int]], *, least: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Padded on the right; short rows to `least` columns, longer ones to a bucket."""
    longest = max(map(len, rows))
    length = least if longest <= least else bucket(longest)
    ids, mask = pad_batch(rows, side="right", length=length, pad_id=tokenizer.pad_id)
    return np.asarray(ids, np.int32), np.asarray(mask, bool)


def _per_fact(x: np.ndarray, count: int) -> np.ndarray:
    """[n * count, ...] -> [n, count, ...]."""
    return x.reshape((-1, count, *x.shape[1:]))
