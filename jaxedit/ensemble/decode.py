"""Greedy decoding with two models of different tokenizers.

A step chooses one token of the target's for every row: the plug-in runs on what its ids became,
from where they differ from the last ones on (its cache keeps the rest: what stands behind it is
forgotten by position), both distributions are fused, and the target runs on the token chosen. That
last call is under way while the host fetches the token and tokenises the new text.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.ensemble import steps
from jaxedit.ensemble.certificate import Bounds
from jaxedit.ensemble.fusion import Decision, Ends, Fusion
from jaxedit.ensemble.plugin import Plugin
from jaxedit.ensemble.relative import Space
from jaxedit.ensemble.spelling import Run, Speller
from jaxedit.ensemble.steps import How, Tail
from jaxedit.ensemble.sync import Reading, Sync
from jaxedit.models.batches import batches, check_lengths
from jaxedit.models.cache import Cache
from jaxedit.models.generate import NOTHING, SHORTEST
from jaxedit.models.protocol import Advance
from jaxedit.models.text import bucket, pad_batch
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import DATA, Mesh, fetch, put

WIDTHS = (1, 4, SHORTEST)  # of the plug-in's calls: mostly one new token follows one
SLACK = 16  # slots of the plug-in's cache beyond one a new target token
NEVER = 2.0  # an alpha that no row reaches

Put = Callable[[Any], Any]
Watch = Callable[[Decision, np.ndarray], object]


class Parts(NamedTuple):
    """The models of an ensemble and what joins them.

    ``bounds`` let the best anchor be found from a few rows of R (see certificate.py).
    """

    target: Transformer
    plugin: Plugin
    space: Space
    fusion: Fusion
    sync: Sync
    bounds: Bounds | None = None

    @property
    def speller(self) -> Speller:
        """What columns of P stand for; of no words where none are spelt."""
        spelt = self.space.spelt if self.fusion.looks_up else None
        tokens = np.zeros((0, 1), np.int32) if spelt is None else np.asarray(spelt.tokens)
        return Speller(len(self.space.table), tokens)

    @property
    def ends(self) -> Ends:
        """The tokens that end a text."""
        both = (tuple(sorted(lm.final_ids())) for lm in (self.target, self.plugin.lm))
        return Ends(*both)


class Rules(NamedTuple):
    """How long rows go on.

    Attributes:
      ends: target ids after which a row ends (they are kept).
      max_new_tokens: most of them.
      stop_with_plug: alpha from which on a row also ends where the plug-in alone would; an
        end-of-text token of the target's then stands for it, if it has one. None: never.
      each_step: the plug-in's gate is read at every step instead of alpha being kept.
    """

    ends: Sequence[int]
    max_new_tokens: int
    stop_with_plug: float | None = None
    each_step: bool = False


class _Rows(NamedTuple):
    """Some rows of a call."""

    prompts: Sequence[str]
    ids: Sequence[Sequence[int]]  # of the target
    alpha: np.ndarray  # [n] float32


def decode_ids(
    parts: Parts,
    prompts: Sequence[str],
    rows: Sequence[Sequence[int]],
    alpha: np.ndarray,
    rules: Rules,
    advance: Advance | None = None,
    watch: Watch | None = None,
) -> list[list[int]]:
    """New target ids for each prompt.

    A row ends after a token of ``rules.ends`` (which is kept), after ``max_new_tokens``, or when
    the positions of either model are used up.

    Args:
      parts: the models.
      prompts: N texts.
      rows: the target's ids of each.
      alpha: [N] the weight of the plug-in in each.
      rules: how long to go on.
      advance: called after each batch with its number of rows.
      watch: called after each step with its decision and which rows went on before it, [B].

    Raises:
      UserError: a prompt is longer than the positions of one of the models.
    """
    check_lengths(rows, parts.target.config.max_positions)
    check_lengths([parts.sync.plug_ids(p) for p in prompts], parts.plugin.lm.config.max_positions)
    if rules.max_new_tokens < 1:
        return [[] for _ in prompts]
    made: dict[int, list[int]] = {}
    mesh = parts.target.mesh
    for group, length, each in batches([len(row) for row in rows], mesh.data, shortest=SHORTEST):
        places: list[int] = group.tolist()
        own = _Rows([prompts[i] for i in places], [rows[i] for i in places], alpha[group])
        size = min(each * mesh.data, _filled(len(places), mesh.data))
        made |= zip(places, _run(parts, own, length, size, rules, watch), strict=True)
        if advance is not None:
            advance(len(places))
    return [made[i] for i in range(len(rows))]


def _run(
    parts: Parts, rows: _Rows, length: int, size: int, rules: Rules, watch: Watch | None
) -> list[list[int]]:
    """One batch: rows of at most ``length`` target ids, filled up to ``size``."""
    target, plug, mesh = parts.target, parts.plugin.lm, parts.target.mesh
    how = How(parts.fusion, parts.plugin.gate, parts.ends, rules.each_step)
    put = functools.partial(_put, mesh)
    n = len(rows.ids)
    count = np.array([len(ids) for ids in rows.ids])
    live = np.arange(size) < n
    new: list[list[int]] = [[] for _ in rows.ids]
    readings = parts.sync.read_all(rows.prompts, new, [()] * n)
    ends = frozenset(rules.ends)
    limit = NEVER if rules.stop_with_plug is None else rules.stop_with_plug
    alpha = put(_fill(np.asarray(rows.alpha, np.float32), size))
    logits, cache = steps.begin(
        target.params,
        *map(put, _left_padded(rows.ids, length, size)),
        config=target.config,
        slots=length + bucket(rules.max_new_tokens),
    )
    past = None
    speller = parts.speller
    words: list[Run] = [()] * n  # what rows have still to say of words that they have begun
    for step in range(rules.max_new_tokens):
        for i, reading in enumerate(readings):
            live[i] &= len(reading.ids) <= plug.config.max_positions
        if not live.any():
            break
        tail = _tail(readings, live)
        past = _roomy(past, plug, size, int(tail.start.max()) + tail.ids.shape[1], rules, put)
        heard, past = steps.hear(plug.params, Tail(*map(put, tail)), past, config=plug.config)
        both = logits, heard
        begun = np.full(size, NOTHING, np.int32)
        begun[:n] = [word[0] if word else NOTHING for word in words]
        said = steps.choose_next(
            (parts.space, parts.bounds), both, alpha, put(begun), np.float32(limit), how=how
        )
        at = _fill(count + step, size)
        if step + 1 < rules.max_new_tokens:
            more = live & (at < target.config.max_positions)
            logits, cache = steps.go_on(
                target.params, said.tokens, put(more), put(at), cache, config=target.config
            )
        chosen = fetch(said.tokens)
        if watch is not None:
            watch(said, live.copy())
        for i in np.flatnonzero(live):
            if chosen[i] != NOTHING:
                new[i].append(int(chosen[i]))
            over = chosen[i] == NOTHING or int(chosen[i]) in ends
            live[i] = not over and at[i] < target.config.max_positions
        words = speller.behind(said.columns, said.fused, words)
        readings = _read(parts.sync, rows.prompts, new, readings, live)
    return new


def _read(
    sync: Sync,
    prompts: Sequence[str],
    new: Sequence[Sequence[int]],
    before: Sequence[Reading],
    live: np.ndarray,
) -> list[Reading]:
    """The next reading of the rows that go on; the last one of the others."""
    found = list(before)
    going = [i for i in range(len(prompts)) if live[i]]
    read = sync.read_all(
        [prompts[i] for i in going], [new[i] for i in going], [before[i].ids for i in going]
    )
    for i, reading in zip(going, read, strict=True):
        found[i] = reading
    return found


def _tail(readings: Sequence[Reading], live: np.ndarray) -> Tail:
    """What the rows that go on have to run, in one of few widths."""
    size = len(live)
    start, count = np.zeros(size, np.int32), np.zeros(size, np.int32)
    tails = [
        reading.ids[reading.kept :] if on else ()
        for reading, on in zip(readings, live, strict=False)  # some rows only fill up
    ]
    most = max(map(len, tails))
    ids = np.zeros((size, next((w for w in WIDTHS if most <= w), bucket(most))), np.int32)
    for i, tail in enumerate(tails):
        ids[i, : len(tail)] = tail
        start[i], count[i] = (readings[i].kept if tail else 0), len(tail)
    return Tail(ids, start, count)


def _roomy(
    past: Cache | None, plug: Transformer, rows: int, needed: int, rules: Rules, put: Put
) -> Cache:
    """A cache with at least ``needed`` slots: a new one, the same one, or it with more of them."""
    if past is None:
        slots = bucket(needed + rules.max_new_tokens + SLACK)
        dtype = plug.params["embed"]["tokens"].dtype
        # Copies: its layers are one array as long as they are empty, and each will be given away.
        empty = Cache.empty(plug.config, rows, slots, dtype)
        return jax.tree.map(lambda x: put(jnp.copy(x)), empty)
    more = bucket(needed + SLACK) - past.positions.shape[1]
    return past if needed <= past.positions.shape[1] else steps.longer(past, more=more)


def _left_padded(
    rows: Sequence[Sequence[int]], length: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """ids and mask [size, length]; rows that fill up are the last one again."""
    ids, mask = pad_batch(rows, side="left", length=length, pad_id=0)
    return _fill(ids, size), _fill(mask, size)


def _fill(x: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([x, np.repeat(x[-1:], size - len(x), axis=0)])


def _filled(count: int, devices: int) -> int:
    """Rows that ``count`` are filled up to: 1, 4, 16, 32, 64, ... on every device."""
    bits = (-(-count // devices) - 1).bit_length()
    return devices << (bits if bits > 4 else 2 * -(-bits // 2))


def _put(mesh: Mesh, x: Any) -> Any:
    """Rows shared out among the devices; where there is one, it takes what it is given."""
    return x if len(mesh.devices) == 1 else put(x, mesh, DATA)
