"""What an ensemble says at every token of a target whose own tokens it is fed.

At target token t the plug-in reads its own tokenisation of the text of all target ids before t, so
it runs once a position. These texts begin alike: they run as branches of one trunk (see
models/packed.py), and the target model runs once a row.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxedit.ensemble.certificate import Bounds
from jaxedit.ensemble.decode import Parts
from jaxedit.ensemble.fusion import Decision, Ends, Fusion, decide
from jaxedit.ensemble.relative import Space
from jaxedit.ensemble.spelling import said_when_forced
from jaxedit.models.batches import check_lengths
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params, head
from jaxedit.models.protocol import Row
from jaxedit.models.states import predicting, top
from jaxedit.models.text import common_prefix
from jaxedit.sharding import Mesh, data_parallel

CHUNK = 256  # positions whose distributions are in memory at a time
_ASKED = 0  # stands for the token that is asked for; what it is has no effect


class Forced(NamedTuple):
    """A row of the target's ids, and how its text begins for the plug-in."""

    row: Row
    opening: str  # text of ids[:n]
    alpha: float


class _Heads(NamedTuple):
    target: Params
    plug: Params
    space: Space
    bounds: Bounds | None


class _Said(NamedTuple):
    target: Any  # [N, D_l] hidden states that predict a target token
    plug: Any  # [N, D_s]
    alpha: Any  # [N]


def predict(parts: Parts, rows: Sequence[Forced], *, each_step: bool = False) -> list[np.ndarray]:
    """For each (ids, n) the tokens that the ensemble says in the place of ids[n:], int32.

    Raises UserError if a row is longer than the positions of one of the models.
    """
    plug = [list(_readings(parts, forced)) for forced in rows]
    check_lengths([ids for each in plug for ids in each], parts.plugin.lm.config.max_positions)
    own = np.concatenate(predicting(parts.target, [forced.row for forced in rows]))
    theirs = predicting(parts.plugin.lm, list(_sharing(rows, plug)))
    counts = [len(each) for each in plug]
    said = _Said(
        own,
        np.stack([states[-1] for states in theirs]),  # of the last place: behind the whole text
        np.repeat(np.array([forced.alpha for forced in rows], np.float32), counts),
    )
    target, lm = parts.target, parts.plugin.lm
    run = data_parallel(
        _choose,
        # An R that is shared out takes part as one array of all devices: no copies of the program.
        Mesh(target.mesh.devices[:1]) if parts.space.sharded else target.mesh,
        chunk=CHUNK,
        target=target.config,
        plug=lm.config,
        fusion=parts.fusion,
        gate=parts.plugin.gate,
        ends=parts.ends,
        each_step=each_step,
    )
    made = run(_Heads(top(target), top(lm), parts.space, parts.bounds), said)
    free = np.asarray(made.tokens).tolist()
    runs = parts.speller.runs(made.columns, made.fused)
    places = itertools.pairwise(np.cumsum([0, *counts]).tolist())
    return [
        np.asarray(said_when_forced(ids[n:], free[start:stop], runs[start:stop]), np.int32)
        for ((ids, n), _, _), (start, stop) in zip(rows, places, strict=True)
    ]


def _readings(parts: Parts, forced: Forced) -> Iterator[list[int]]:
    """The plug-in's ids before each of the tokens that are asked for."""
    ids, n = forced.row
    for stop in range(n, len(ids)):
        yield parts.sync.plug_ids(forced.opening + parts.sync.added(ids[n:stop]))


def _sharing(rows: Sequence[Forced], plug: Sequence[Sequence[list[int]]]) -> Iterator[Row]:
    """(ids, n) of every reading, those of one opening with the same n: what they begin with."""
    shared: dict[str, list[int]] = {}
    for forced, readings in zip(rows, plug, strict=True):
        for ids in readings:
            start = shared.setdefault(forced.opening, ids)
            shared[forced.opening] = start[: common_prefix(start, ids)]
    for forced, readings in zip(rows, plug, strict=True):
        for ids in readings:
            yield (*ids, _ASKED), max(1, len(shared[forced.opening]))


def _choose(
    heads: _Heads,
    said: _Said,
    *,
    target: ModelConfig,
    plug: ModelConfig,
    fusion: Fusion,
    gate: int,
    ends: Ends,
    each_step: bool,
) -> Decision:
    """The ensemble's token at each position, [N], if no word were begun before it."""
    own = head(plug, heads.plug, said.plug)
    alpha = jax.nn.sigmoid(own[:, gate]) if each_step else said.alpha
    logits = head(target, heads.target, said.target)
    return decide(
        fusion, heads.space, logits, own, alpha, gate_id=gate, ends=ends, bounds=heads.bounds
    )
