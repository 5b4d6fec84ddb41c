"""Which neurons an answer comes from: integrated gradients over the MLPs' inner activations.

Knowledge neurons (Dai et al. 2022, "Knowledge Neurons in Pretrained Transformers", equations 3
and 4). With a the input of a block's down-projection at the last token of the prompt, and p(v) the
probability of the answer once that input is v,

    IG_i = a_i / m  sum_{j=0}^{m-1} dp/dv_i (j/m a)

a left Riemann sum in which all neurons of the block are scaled together and the blocks above run
on from there. Summed over the neurons it tends to p(a) - p(0) as m grows, with an error of 1/m.

The paper's answers are single tokens; of several tokens p is the product, each given those before
it. Only what stands from the prompt's last token on can change, so the blocks run on these few
tokens, over the keys and values of the others. One program serves every block and every step:
which of them is being scaled is data.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.editors.rows import TargetRows
from jaxedit.models.cache import Cache
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.sites import Set, Tap
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel

NEURONS = "mlp.down.in"
CHUNK = 8  # prompts a device and call
STEPS_AT_ONCE = 20


class Attributions(NamedTuple):
    """Of B prompts, in L blocks of F neurons.

    Attributes:
      scores: integrated gradients, [B, L, F] float32.
      probability: of the answer, [B].
    """

    scores: Any
    probability: Any


def attributions(
    lm: Transformer,
    rows: TargetRows,
    layers: tuple[int, ...],
    *,
    steps: int = 20,
    at_once: int = STEPS_AT_ONCE,
) -> Attributions:
    """Attributes each row's answer to the neurons of some blocks, at the prompt's last token.

    Args:
      lm: the model to read.
      rows: B prompts with their answers; answers must follow their prompts (teacher forcing).
      layers: which blocks, ascending.
      steps: m.
      at_once: steps that are in memory together, for each of 8 prompts a device.
    """
    call = data_parallel(
        _attribute,
        lm.mesh,
        chunk=CHUNK,
        config=lm.config,
        layers=layers,
        steps=steps,
        at_once=min(at_once, steps),
    )
    return call(lm.params, rows)


def integrate(
    p: Callable[[jax.Array], jax.Array], a: jax.Array, steps: int, at_once: int | None = None
) -> jax.Array:
    """a / m times the sum of p's gradients at j/m a, for j from 0 to m - 1.

    Args:
      p: a scalar function; rows of its argument that do not mix may be summed up in it.
      a: where the path from 0 ends, of any shape.
      steps: m.
      at_once: how many gradients are in memory together; all if None.
    """
    gradient = jax.grad(p)
    shares = jnp.arange(steps, dtype=a.dtype) / steps
    each = jax.lax.map(lambda share: gradient(share * a), shares, batch_size=at_once or steps)
    return a / steps * each.sum(0)


def _attribute(
    params: Any,
    rows: TargetRows,
    *,
    config: ModelConfig,
    layers: tuple[int, ...],
    steps: int,
    at_once: int,
) -> Attributions:
    """`attributions` of one device's rows."""
    lookup = rows.predict[:, 0]  # [B], the prompt's last token
    at_lookup = [Tap(layer, NEURONS, lookup[:, None]) for layer in layers]
    whole = forward(
        config,
        params,
        rows.ids,
        rows.mask,
        logits_at=rows.predict,
        taps=[Tap(layers[0], "block.in"), *at_lookup],
    )
    inner = jnp.stack([tap[:, 0] for tap in whole.taps[1:]])  # [L, B, F]
    inner = inner.astype(jnp.promote_types(inner.dtype, jnp.float32))

    window = rows.predict.shape[1]  # an answer of P tokens is predicted at P columns
    columns = lookup[:, None] + jnp.arange(window, dtype=jnp.int32)  # [B, W]
    inside = columns < rows.mask.sum(axis=1, dtype=jnp.int32)[:, None]
    at = jnp.minimum(columns, rows.ids.shape[1] - 1)
    tail = jnp.take_along_axis(whole.taps[0], at[..., None], axis=1)  # [B, W, D]
    positions = jnp.where(rows.mask, jnp.cumsum(rows.mask, axis=1, dtype=jnp.int32) - 1, -1)
    past = Cache.of(whole.kv, positions, config.n_layers).before(lookup)
    predict = jnp.clip(rows.predict - lookup[:, None], 0, window - 1)

    def scaled(place: jax.Array, value: jax.Array) -> jax.Array:
        """Sum of p over the rows, with the neurons of block layers[place] at `value` [B, F]."""
        first = jnp.zeros_like(lookup)
        out = forward(
            config,
            params,
            None,
            inside,
            start=layers[0],
            hidden=tail,
            positions=jnp.where(inside, columns, -1),
            cache=past,
            logits_at=predict,
            sets=[
                Set(layer, NEURONS, jnp.where(place == i, first, -1), value)
                for i, layer in enumerate(layers)
            ],
        )
        return _probability(out.logits, rows).sum()

    def of_block(item: tuple[jax.Array, jax.Array]) -> jax.Array:
        place, a = item  # [], [B, F]
        return integrate(lambda value: scaled(place, value), a, steps, at_once)

    places = jnp.arange(len(layers), dtype=jnp.int32)
    scores = jax.lax.map(of_block, (places, inner))  # [L, B, F]
    return Attributions(jnp.moveaxis(scores, 0, 1), _probability(whole.logits, rows))


def _probability(logits: jax.Array | None, rows: TargetRows) -> jax.Array:
    """Probability of each answer [B], from the logits where its tokens are predicted."""
    assert logits is not None
    log_p = jax.nn.log_softmax(logits, axis=-1)  # [B, P, V]
    gold = jnp.take_along_axis(log_p, rows.target[..., None], axis=-1)[..., 0]
    return jnp.exp(jnp.where(rows.target_mask, gold, 0).sum(-1))
