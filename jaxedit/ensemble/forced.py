"""What an ensemble says at every token of a target whose own tokens it is fed.

At target token t the plug-in reads its own tokenisation of the text of all target ids before t, so
it runs once a position. These texts begin alike: they run as branches of one trunk (see
models/packed.py), and the target model runs once a row.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.ensemble.certificate import Bounds
from jaxedit.ensemble.decode import Parts
from jaxedit.ensemble.fusion import Ends, Fusion, choose
from jaxedit.ensemble.relative import Space
from jaxedit.models.batches import check_lengths, rows_per_device
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params, head
from jaxedit.models.packed import Batch, filled, laid_out, trees
from jaxedit.models.protocol import Row
from jaxedit.models.scoring import BIG, TOKENS, packed_hidden
from jaxedit.models.text import common_prefix
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel

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
    own = np.concatenate(hidden(parts.target, [forced.row for forced in rows]))
    theirs = hidden(parts.plugin.lm, list(_sharing(rows, plug)))
    counts = [len(each) for each in plug]
    said = _Said(
        own,
        np.stack([states[-1] for states in theirs]),  # of the last place: behind the whole text
        np.repeat(np.array([forced.alpha for forced in rows], np.float32), counts),
    )
    target, lm = parts.target, parts.plugin.lm
    run = data_parallel(
        _choose,
        target.mesh,
        chunk=CHUNK,
        target=target.config,
        plug=lm.config,
        fusion=parts.fusion,
        gate=parts.plugin.gate,
        ends=parts.ends,
        each_step=each_step,
    )
    tokens = np.asarray(run(_Heads(_top(target), _top(lm), parts.space, parts.bounds), said))
    return np.split(tokens, np.cumsum(counts)[:-1])


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


def hidden(lm: Transformer, rows: Sequence[Row]) -> list[np.ndarray]:
    """For each (ids, n) the last layer's output where ids[n:] are predicted, [len(ids) - n, D].

    Rows with the same ids[:n] run it once; n is at least 1. Raises UserError if a row is longer
    than the model's positions (its last token is never fed).
    """
    check_lengths([ids[:-1] for ids, _ in rows], lm.config.max_positions)
    made = [np.zeros((0, lm.config.d_model), np.float32) for _ in rows]
    tokens = TOKENS.get(lm.mesh.devices[0].platform, BIG)
    for width, alike in itertools.groupby(filled(trees(rows)), key=lambda row: row[0]):
        each = rows_per_device(width, tokens)
        run = data_parallel(_hidden, lm.mesh, chunk=each, config=lm.config)
        packed = [row for _, row in alike]
        for start in range(0, len(packed), each * lm.mesh.data):
            batch, places = laid_out(packed[start : start + each * lm.mesh.data], width)
            states = np.asarray(run(lm.params, batch))
            for row, first, branch, owners in places:
                for owner in owners:
                    made[owner] = states[row, first : first + len(branch)]
    return made


def _hidden(params: Params, batch: Batch, *, config: ModelConfig) -> jax.Array:
    """[B, W, D] the last layer's output at the columns ``at``, anything where there is none."""
    hidden = packed_hidden(config, params, batch)
    return jnp.take_along_axis(hidden, jnp.maximum(batch.at, 0)[..., None], axis=1)


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
) -> jax.Array:
    """The ensemble's token at each position, [N] int32."""
    own = head(plug, heads.plug, said.plug)
    alpha = jax.nn.sigmoid(own[:, gate]) if each_step else said.alpha
    logits = head(target, heads.target, said.target)
    return choose(
        fusion, heads.space, logits, own, alpha, gate_id=gate, ends=ends, bounds=heads.bounds
    )


def _top(lm: Transformer) -> Params:
    """The parameters of a model's final norm and head."""
    tied = {"embed": lm.params["embed"]} if lm.config.tied else {}
    return {key: lm.params[key] for key in ("norm", "head") if key in lm.params} | tied
