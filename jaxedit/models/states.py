"""The hidden states that given tokens are predicted from, in batches over all devices.

For what makes one distribution of two models' (an ensemble, a routed model): it needs more of both
than how probable the given tokens are.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.models.batches import check_lengths, rows_per_device
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params
from jaxedit.models.packed import Batch, filled, laid_out, trees
from jaxedit.models.protocol import Row
from jaxedit.models.scoring import BIG, TOKENS, packed_hidden
from jaxedit.models.sites import ADAPTERS
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel


def predicting(lm: Transformer, rows: Sequence[Row]) -> list[np.ndarray]:
    """For each (ids, n) the last layer's output where ids[n:] are predicted, [len(ids) - n, D].

    Rows with the same ids[:n] run it once (but see `scoring.score_ids`); n is at least 1. Raises
    UserError if a row is longer than the model's positions (its last token is never fed).
    """
    check_lengths([ids[:-1] for ids, _ in rows], lm.config.max_positions)
    made = [np.zeros((0, lm.config.d_model), np.float32) for _ in rows]
    tokens = TOKENS.get(lm.mesh.devices[0].platform, BIG)
    single = ADAPTERS in lm.params
    laid = filled(trees(rows, single=single), single=single)
    for width, alike in itertools.groupby(laid, key=lambda row: row[0]):
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


def top(lm: Transformer) -> Params:
    """The parameters of a model's final norm and head."""
    tied = {"embed": lm.params["embed"]} if lm.config.tied else {}
    return {key: lm.params[key] for key in ("norm", "head") if key in lm.params} | tied


def _hidden(params: Params, batch: Batch, *, config: ModelConfig) -> jax.Array:
    """[B, W, D] the last layer's output at the columns ``at``, anything where there is none."""
    hidden = packed_hidden(config, params, batch)
    return jnp.take_along_axis(hidden, jnp.maximum(batch.at, 0)[..., None], axis=1)
