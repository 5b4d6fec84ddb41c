"""What a linear reads and what the loss says of what it gives: keys u, and gradients dL/dh.

Editors that learn from gradients (MEND, MALMEN, UltraEdit) see a weight's gradient as the sum of
outer products dL/dh_i u_i^T over tokens i, h_i = W u_i, and change its factors. A zero is added to
each linear's output, and the gradient is taken with respect to that.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.editors.rows import TargetRows
from jaxedit.editors.weights import leaf
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.sites import Add, Tap
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel

CHUNK = 32  # facts a device and call

Tokens = Literal["answer", "all"]
"""Which tokens of a row: those that predict its target, or every one that is no padding."""


class Captured(NamedTuple):
    """Of n facts, P tokens each; zeros where there is no token.

    Attributes:
      keys: by kernel, its linear's inputs, float32 or wider, [n, P, inputs].
      gradients: by kernel, of the facts' losses for its linear's outputs, [n, P, outputs].
      loss: of each fact, nats, [n].
    """

    keys: dict[str, Any]
    gradients: dict[str, Any]
    loss: Any


def site(name: str) -> tuple[int, str]:
    """Layer and linear of a kernel's name."""
    block, _, linear = name.partition("/")
    return int(block.removeprefix("layers_")), linear


def capture(
    lm: Transformer, rows: TargetRows, names: Sequence[str], tokens: Tokens = "answer"
) -> Captured:
    """Keys and gradients of each fact's summed cross-entropy, at some linears of a model.

    Args:
      lm: the model as it is.
      rows: of n facts.
      names: of kernels.
      tokens: which; P is the targets' width for "answer" and the rows' for "all".
    """
    call = data_parallel(
        _capture,
        lm.mesh,
        chunk=CHUNK,
        config=lm.config,
        places=tuple(map(site, names)),
        outputs=tuple(leaf(lm, name).shape[1] for name in names),
        tokens=tokens,
    )
    keys, gradients, loss = call(lm.params, rows)
    keys, gradients = dict(zip(names, keys, strict=True)), dict(zip(names, gradients, strict=True))
    return Captured(keys, gradients, loss)


def check_losses(loss: np.ndarray) -> None:
    """Refuses losses [n] that are not finite.

    Raises:
      FloatingPointError: naming the fact's row.
    """
    bad = np.flatnonzero(~np.isfinite(loss))
    if len(bad):
        raise FloatingPointError(f"the loss of fact {bad[0]} of this update is not finite")


def _capture(
    params: Any,
    rows: TargetRows,
    *,
    config: ModelConfig,
    places: tuple[tuple[int, str], ...],
    outputs: tuple[int, ...],
    tokens: Tokens,
) -> tuple[list[jax.Array], list[jax.Array], jax.Array]:
    """Keys [n, P, inputs], gradients [n, P, outputs] of each row's summed loss, and that [n]."""
    if tokens == "answer":
        where = at = jnp.where(rows.target_mask, rows.predict, -1)  # [n, P]; -1 is nowhere
    else:
        where, at = rows.mask, None
    wide = jnp.promote_types(jax.tree.leaves(params)[0].dtype, jnp.float32)
    nothing = [jnp.zeros((*where.shape, width), wide) for width in outputs]

    def losses(added: list[jax.Array]) -> tuple[jax.Array, tuple[Any, jax.Array]]:
        sites = list(zip(places, added, strict=True))
        out = forward(
            config,
            params,
            rows.ids,
            rows.mask,
            logits_at=rows.predict,
            taps=[Tap(layer, f"{linear}.in", at) for layer, linear in places],
            add=[Add(layer, f"{linear}.out", where, x) for (layer, linear), x in sites],
        )
        assert out.logits is not None
        each = target_loss(out.logits, rows.target, rows.target_mask)
        return each.sum(), (out.taps, each)

    gradients, (keys, each) = jax.grad(losses, has_aux=True)(nothing)
    if tokens == "all":
        keys = [jnp.where(rows.mask[..., None], key, 0) for key in keys]
    return [key.astype(wide) for key in keys], gradients, each


def target_loss(logits: jax.Array, target: jax.Array, real: jax.Array) -> jax.Array:
    """-log p of the targets' tokens, summed: logits [B, P, V], target and real [B, P] -> [B]."""
    log_p = jax.nn.log_softmax(logits, axis=-1)
    gold = jnp.take_along_axis(log_p, target[..., None], axis=-1)[..., 0]
    return -jnp.where(real, gold, 0).sum(-1)
