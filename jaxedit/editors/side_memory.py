"""Side memory of one linear: other versions of it, and which of them, if any, answers a prompt.

A version is kept as its difference D from the linear's own kernel: where it answers, the linear's
output is y + x D; where none does, y itself goes on, bit for bit.

The activation distance of a text from a version is the mean over its tokens of
|act(y) - act(y + x D)|, act being the model's activation (Wang et al. 2024, "WISE", equation 3, and
the published code, which has the activation). A version is in question for a prompt whose distance
reaches a share of the smallest distance that the version's own edits had; of several, the one with
the largest distance answers (equation 4 and section 2.3.3).
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.editors.ties import ties
from jaxedit.models.layers import activation, matmul, wide
from jaxedit.models.sites import STATIC, Context

ITSELF, CURRENT = -1, 0  # what answers: the linear itself, the version in training, or a stored one
FIRST = 2  # slots of the first stored version and the next

Route = Literal["prompt", "call"]
"""When it is decided what answers a row.

  "prompt"  once, by the prompt's tokens; what was chosen holds for the whole answer.
  "call"    by the prompt's tokens, and anew by each token that is generated, as the published code
            does, which keeps nothing between two calls of the model. (Its teacher forcing counts
            the answer's tokens in, too; here answers of one prompt share its run.)
"""


class SideMemory(NamedTuple):
    """The versions; M slots for stored ones, of which `count` are taken.

    Attributes:
      current: D of the version that edits are written into, [v, u].
      threshold: the smallest distance that an edit had when it was written; inf before the first.
      stored: D of earlier versions, [M, v, u].
      thresholds: theirs, [M].
      count: how many are stored.
    """

    current: Any
    threshold: Any
    stored: Any
    thresholds: Any
    count: int


def empty(kernel: jax.Array) -> SideMemory:
    """Nothing written, nothing stored, beside a kernel [v, u]."""
    dtype = wide(kernel.dtype)
    return SideMemory(
        jnp.zeros(kernel.shape, dtype),
        jnp.asarray(jnp.inf, dtype),
        jnp.zeros((0, *kernel.shape), dtype),
        jnp.zeros((0,), dtype),
        0,
    )


def push(memory: SideMemory) -> SideMemory:
    """The current version stored, and a new one begun."""
    grown = _with_room(memory)
    at = grown.count
    return SideMemory(
        jnp.zeros_like(grown.current),
        jnp.full_like(grown.threshold, jnp.inf),
        grown.stored.at[at].set(grown.current),
        grown.thresholds.at[at].set(grown.threshold),
        at + 1,
    )


def _with_room(memory: SideMemory) -> SideMemory:
    """With a free slot; slots double, so that shapes seldom change."""
    slots = len(memory.stored)
    if memory.count < slots:
        return memory
    more = FIRST if slots == 0 else slots
    return memory._replace(
        stored=jnp.concatenate(
            [memory.stored, jnp.zeros((more, *memory.stored.shape[1:]), memory.stored.dtype)]
        ),
        thresholds=jnp.concatenate(
            [memory.thresholds, jnp.full(more, jnp.inf, memory.thresholds.dtype)]
        ),
    )


def restored(
    current: jax.Array, threshold: jax.Array, stored: jax.Array, thresholds: jax.Array
) -> SideMemory:
    """From its parts without free slots, as a checkpoint has them."""
    memory = SideMemory(current, threshold, stored[:0], thresholds[:0], 0)
    while len(memory.stored) < len(stored):
        memory = _with_room(memory._replace(count=len(memory.stored)))
    count = len(stored)
    return memory._replace(
        stored=memory.stored.at[:count].set(stored),
        thresholds=memory.thresholds.at[:count].set(thresholds),
        count=count,
    )


def merge_last(
    memory: SideMemory, last: int, density: float, weights: tuple[float, ...] | None = None
) -> SideMemory:
    """The `last` stored versions merged into one by TIES, with the smallest of their thresholds.

    Args:
      memory: with at least as many.
      last: how many.
      density: see `ties`.
      weights: of each of them; equal if None.
    """
    first = memory.count - last
    parts = memory.stored[first : memory.count]
    shares = jnp.asarray(weights or (1 / last,) * last, parts.dtype)
    least = memory.thresholds[first : memory.count].min()
    return memory._replace(
        stored=memory.stored.at[first].set(ties(parts, shares, density)),
        thresholds=memory.thresholds.at[first].set(least),
        count=first + 1,
    )


def distance(
    y: jax.Array, change: jax.Array, tokens: jax.Array, act: str, peak_above: int | None = None
) -> jax.Array:
    """Activation distance [B] of y + change from y [B, T, u], over the tokens of a mask [B, T].

    Args:
      y: a linear's output.
      change: of it, float32 or wider; it is not rounded to y's dtype here.
      tokens: which ones; a row without any has distance 0.
      act: name of the model's activation.
      peak_above: in a row of more tokens than this, the largest distance of one, not the mean.
    """
    gap = activation(act, y.astype(change.dtype)) - activation(act, y + change)
    square = jnp.where(tokens, jnp.square(gap).sum(axis=-1), 0)  # [B, T]
    # The root's slope at 0 is infinite: where nothing has changed yet, there is none.
    each = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    count = tokens.sum(axis=-1)
    mean = each.sum(axis=-1) / jnp.maximum(count, 1)
    return mean if peak_above is None else jnp.where(count > peak_above, each.max(axis=-1), mean)


class Routing(NamedTuple):
    """How it is decided what answers.

    Attributes:
      act: name of the model's activation.
      ratio: share of a version's threshold that a prompt's distance must reach.
      route: when.
      peak_above: see `distance`.
      legacy: the current version's distance is the one to beat even where it does not answer.
    """

    act: str
    ratio: float
    route: Route = "prompt"
    peak_above: int | None = None
    legacy: bool = False


class _Best(NamedTuple):
    """The best version so far, by row."""

    level: jax.Array  # [B], its distance; -1 while it is the linear itself
    chosen: jax.Array  # [B] int32
    output: jax.Array  # [B, T, u]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Router:
    """The adapter of a linear with a side memory; what it remembers of a row is what answers it.

    Attributes:
      memory: the versions.
      shift: [u], what is added to the output of any of them; None adds nothing.
      rule: how it is decided.
    """

    memory: SideMemory
    shift: jax.Array | None
    rule: Routing = dataclasses.field(metadata=STATIC)

    def __call__(self, x: jax.Array, y: jax.Array, context: Context) -> tuple[jax.Array, Any]:
        """x [B, T, v], y [B, T, u] -> the output, and what was chosen, [B] int32."""
        chosen = context.memory if self.rule.route == "prompt" else None
        tokens = context.prompt
        if self.rule.route == "call":  # a call without a prompt goes by its own tokens
            tokens = jnp.where(tokens.any(axis=1, keepdims=True), tokens, context.mask)
        rows = len(x)
        dtype = wide(y.dtype)
        best = _Best(jnp.full(rows, -1, dtype), jnp.full(rows, ITSELF, jnp.int32), y)

        def consider(best: _Best, number: Any, delta: jax.Array, threshold: jax.Array) -> _Best:
            change = matmul(x, delta, delta.dtype)
            change = change if self.shift is None else change + self.shift
            if chosen is not None:
                take, level = chosen == number, best.level
            else:
                far = distance(y, change, tokens, self.rule.act, self.rule.peak_above)
                take = (far >= self.rule.ratio * threshold) & (far > best.level)
                level = jnp.where(take, far, best.level)
                if self.rule.legacy:
                    level = jnp.where(number == CURRENT, far, level)
            return _Best(
                level,
                jnp.where(take, number, best.chosen).astype(jnp.int32),
                jnp.where(take[:, None, None], (y + change).astype(y.dtype), best.output),
            )

        memory = self.memory
        best = consider(best, CURRENT, memory.current, memory.threshold)
        if len(memory.stored):
            # As many turns as there are versions: how many does not change the program.
            best = jax.lax.fori_loop(
                0,
                memory.count,
                lambda i, best: consider(best, i + 1, memory.stored[i], memory.thresholds[i]),
                best,
            )
        return best.output, best.chosen
