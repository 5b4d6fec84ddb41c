"""The best anchor of a fused distribution from a few rows of R, with a proof that it is the best.

P = alpha p_s R_s + (1 - alpha) p_l R_l (OnceEdit, equation 8) reads gigabytes for one argmax. But
language models are mostly sure, and rows of R are distributions: from the k most probable tokens of
each model alone, every P_j is known to within what the others can add to it,

    Phat_j <= P_j <= Phat_j + sum_m w_m min(tail_m peak_mj, next_m sum_mj)

with w the models' shares, tail the probability of the tokens left out, next the least probability
of those taken in (none left out has more), peak and sum the largest entry and the sum of the
column. Where the best Phat_j is above what every other P_j can be, it is the argmax. Eight rows are
tried, then 64, then 512, then all. All bounds include the rounding of float32 sums and, where R is
stored in bfloat16, of its entries: what is certified is the argmax that exact arithmetic on the
unrounded R would give.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.ensemble.implicit import Basis, Relative, project, rows
from jaxedit.ensemble.maps import Map
from jaxedit.ensemble.relative import Space

LADDER = (8, 64, 512)  # rows a model
MOST = (
    4  # a rung gathers at most one part in so many of R: it copies what all of R would be read for
)
WHOLE = 0  # in place of their number, where all rows were needed
UNIT = 2.0**-24  # relative error of one rounding to float32
STORED = 1 / 255  # of the unrounded number against its bfloat16: 2^-8 / (1 - 2^-8)
AGAIN = 2.0**-13  # of an entry that is computed anew, against the same computed before
LEAST = 1e-30  # above all that underflow can lose; the largest P_j is at least 1 / A


class Bounds(NamedTuple):
    """What one token can add to each anchor, and what all tokens together can.

    Attributes:
      peaks: largest entry of each column of either R, [A] float32.
      main_sums: sum of each column of the target's R, [A] float32.
      plug_sums: sum of each column of the plug-in's R, [A] float32.
    """

    peaks: jax.Array
    main_sums: jax.Array
    plug_sums: jax.Array


class Settled(NamedTuple):
    """The best anchors, and how they were found.

    Attributes:
      columns: argmax_j P_j, the lowest where several are equal, [B] int32.
      rows: how many rows of each R proved it; WHOLE if all were multiplied, [B] int32.
      proved: whether rounding cannot have decided it either, [B] bool; True where rows > 0.
    """

    columns: jax.Array
    rows: jax.Array
    proved: jax.Array


class Voice(NamedTuple):
    """One model's part in P.

    Attributes:
      map: its R.
      p: what it says next, [B, V] float32.
      share: its weight, [B].
    """

    map: Map
    p: jax.Array
    share: jax.Array


def bounds_of(space: Space) -> Bounds:
    """Bounds of both R, in one pass over each; to be kept as long as the space."""
    return Bounds(space.peaks, _sums(space.main), _sums(space.plug))


@jax.jit
def _sums(relative: Relative) -> jax.Array:
    return project(relative, jnp.ones((1, relative.shape[0]), jnp.float32))[0]


def mixed(main: Voice, plug: Voice) -> jax.Array:
    """P from all rows of R (equation 8), [B, anchors]."""
    parts = [voice.share[:, None] * voice.map.project(voice.p) for voice in (main, plug)]
    return parts[0] + parts[1]


def settle(main: Voice, plug: Voice, bounds: Bounds, ladder: tuple[int, ...] = LADDER) -> Settled:
    """argmax_j P_j from as few rows as prove it for the whole batch.

    Rows are gathered for each text of the batch by itself, so in large batches high rungs are left
    out.

    Args:
      main: the target.
      plug: the plug-in.
      bounds: of their R.
      ladder: rows a model, rising.
    """
    texts = len(main.p)
    fewest = min(main.p.shape[1], plug.p.shape[1])
    rungs = tuple(k for k in ladder if MOST * texts * k <= fewest)
    nothing = Settled(
        jnp.zeros(texts, jnp.int32), jnp.full(texts, WHOLE, jnp.int32), jnp.zeros(texts, bool)
    )
    return _climb(main, plug, bounds, rungs, nothing)


def _climb(
    main: Voice, plug: Voice, bounds: Bounds, rungs: tuple[int, ...], before: Settled
) -> Settled:
    """The next rung for what is not proved yet; what is proved stays."""
    now = _partial(main, plug, bounds, rungs[0]) if rungs else _whole(main, plug)
    made = jax.tree.map(lambda old, new: jnp.where(before.proved, old, new), before, now)
    if not rungs:
        return made
    return jax.lax.cond(
        made.proved.all(), lambda: made, lambda: _climb(main, plug, bounds, rungs[1:], made)
    )


def _partial(main: Voice, plug: Voice, bounds: Bounds, k: int) -> Settled:
    """From k rows a model."""
    ours = _bracket(main, bounds.peaks, bounds.main_sums, k)
    theirs = _bracket(plug, bounds.peaks, bounds.plug_sums, k)
    low, high = ours[0] + theirs[0], ours[1] + theirs[1]
    columns = jnp.argmax(low, axis=-1).astype(jnp.int32)
    return Settled(columns, jnp.full_like(columns, k), _above(low, high, columns))


def _whole(main: Voice, plug: Voice) -> Settled:
    """From all rows; only roundings are left to doubt."""
    fused = mixed(main, plug)
    columns = jnp.argmax(fused, axis=-1).astype(jnp.int32)
    slack = max(_rounding(voice, voice.p.shape[1]) for voice in (main, plug))
    proved = _above(fused * (1 - slack), fused * (1 + slack), columns)
    return Settled(columns, jnp.full_like(columns, WHOLE), proved)


def _bracket(
    voice: Voice, peaks: jax.Array, sums: jax.Array, k: int
) -> tuple[jax.Array, jax.Array]:
    """What this model adds to P at least and at most, [B, anchors] each."""
    p = voice.map.inner(voice.p)
    best, index = jax.lax.top_k(p, k)  # [B, k]
    taken = rows(voice.map.relative, index)  # [B, k, A]
    head = jnp.einsum("bk,bka->ba", best, taken, precision=jax.lax.Precision.HIGHEST)
    left = p.at[jnp.arange(len(p))[:, None], index].set(0.0).sum(-1, keepdims=True)
    # Not best[:, -1]: XLA would then sort all of p for what it otherwise selects.
    tail = jnp.minimum(left * peaks, best.min(-1, keepdims=True) * sums)
    few, many = _rounding(voice, k), _rounding(voice, p.shape[1])  # terms in head, left and sums
    low, high = head * (1 - few), head * (1 + few) + tail * (1 + 2 * many)
    outer = voice.map.outer(voice.p)
    low = jnp.concatenate([low, outer * (1 - many)], axis=-1)
    high = jnp.concatenate([high, outer * (1 + many)], axis=-1)
    share = voice.share[:, None]
    return share * low, share * high


def _above(low: jax.Array, high: jax.Array, columns: jax.Array) -> jax.Array:
    """Whether the chosen columns are above all that the others can be, [B]."""
    own = jnp.arange(low.shape[1]) == columns[:, None]
    chosen = jnp.where(own, low, 0.0).sum(-1)
    return chosen > jnp.where(own, -jnp.inf, high).max(-1) + LEAST


def _rounding(voice: Voice, terms: int) -> float:
    """Relative error of a sum of so many products, of their weighting and of R's entries."""
    relative = voice.map.relative
    if isinstance(relative, Basis):
        return (terms + 8) * UNIT + AGAIN
    return (terms + 8) * UNIT + (STORED if relative.dtype == jnp.bfloat16 else 0.0)
