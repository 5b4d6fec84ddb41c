"""What an edit should do and should not, as a loss of the edited kernels, and its gradient there.

The gradient stops at the kernels: a hyper-network's own is taken from it afterwards (MALMEN, Tan et
al. 2023, section 4.3, for any network). So the language model's graph and the network's are never
in memory together, and rows can be split over devices.

  L = w_edit NLL(edited; what should follow) + w_local KL(unedited || edited; what should not move)

Both are means over the answers' tokens. What lies below the first edited block runs once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.editors import weights
from jaxedit.editors.captures import site, target_loss
from jaxedit.editors.rows import TargetRows
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel_sum, replicate


class Outer(NamedTuple):
    """What the rows of both kinds say of edited kernels; scalars.

    Attributes:
      edit: mean NLL of the answers that should follow.
      local: mean divergence on the others.
      reached: share of the first kind's tokens that are the likeliest.
    """

    edit: Any
    local: Any
    reached: Any


class _Batch(NamedTuple):
    asked: TargetRows
    asked_weight: np.ndarray  # [B], of a token
    local: TargetRows
    local_weight: np.ndarray


def outer(
    lm: Transformer,
    kernels: Mapping[str, jax.Array],
    asked: TargetRows,
    local: TargetRows,
    *,
    edit_weight: float,
    local_weight: float,
    gradient: bool = True,
    remat: bool = False,
) -> tuple[Outer, dict[str, jax.Array]]:
    """The losses of edited kernels, and dL/dkernel for each (none without `gradient`).

    Args:
      lm: the unedited model.
      kernels: the edited ones by name.
      asked: rows where the edit should show, [B, ...].
      local: as many rows where nothing should change.
      edit_weight: w_edit.
      local_weight: w_local.
      gradient: whether it is wanted.
      remat: keep only what enters each block for the backward pass, and run the block again.
    """
    first = min(site(name)[0] for name in kernels)
    call = data_parallel_sum(
        _outer,
        lm.mesh,
        config=lm.config,
        first=first,
        edit_weight=edit_weight,
        local_weight=local_weight,
        gradient=gradient,
        remat=remat,
    )
    batch = _Batch(asked, _share(asked), local, _share(local))
    return call((lm.params, replicate(dict(kernels), lm.mesh)), batch)


def _share(rows: TargetRows) -> np.ndarray:
    """What a token of each row counts in the mean over all, [B]."""
    real = np.asarray(rows.target_mask)
    return np.full(len(real), 1 / real.sum(), np.float32)


def _outer(
    both: tuple[Any, dict[str, jax.Array]],
    batch: _Batch,
    *,
    config: ModelConfig,
    first: int,
    edit_weight: float,
    local_weight: float,
    gradient: bool,
    remat: bool,
) -> tuple[Outer, dict[str, jax.Array]]:
    params, kernels = both

    def logits(params: Any, rows: TargetRows, hidden: jax.Array) -> jax.Array:
        """[B, P, V] from the input of block `first` on."""
        for layer in range(first, config.n_layers):

            def block(params: Any, hidden: jax.Array, layer: int = layer) -> jax.Array:
                some: Any = {"start": layer, "stop": layer + 1}
                return forward(config, params, None, rows.mask, hidden=hidden, **some).hidden

            hidden = (jax.checkpoint(block) if remat else block)(params, hidden)
        end: Any = {"start": config.n_layers, "hidden": hidden, "logits_at": rows.predict}
        found = forward(config, params, None, rows.mask, **end).logits
        assert found is not None
        return found

    def below(rows: TargetRows) -> jax.Array:
        return forward(config, params, rows.ids, rows.mask, stop=first).hidden

    under_asked, under_local = below(batch.asked), below(batch.local)
    base = jax.nn.log_softmax(logits(params, batch.local, under_local), axis=-1)

    def loss(kernels: dict[str, jax.Array]) -> tuple[jax.Array, Outer]:
        edited = weights.insert(params, kernels)
        said = logits(edited, batch.asked, under_asked)
        nll = target_loss(said, batch.asked.target, batch.asked.target_mask)
        right = (said.argmax(-1) == batch.asked.target) & batch.asked.target_mask
        now = jax.nn.log_softmax(logits(edited, batch.local, under_local), axis=-1)
        apart = (jnp.exp(base) * (base - now)).sum(-1)  # [B, P]
        apart = jnp.where(batch.local.target_mask, apart, 0).sum(-1)
        made = Outer(
            (nll * batch.asked_weight).sum(),
            (apart * batch.local_weight).sum(),
            (right.sum(-1) * batch.asked_weight).sum(),
        )
        return edit_weight * made.edit + local_weight * made.local, made

    if not gradient:
        return loss(kernels)[1], {}
    slope, made = jax.grad(loss, has_aux=True)(kernels)
    return made, slope
