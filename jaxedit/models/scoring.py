"""How probable given tokens are, in batches over all devices."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.models.batches import batches, check_lengths
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params, forward, head
from jaxedit.models.protocol import Advance, Row, TeacherForced
from jaxedit.models.text import pad_batch, round_up
from jaxedit.sharding import Mesh, data_parallel

CHUNK = 8  # positions whose logits are in memory at a time


def score_ids(
    config: ModelConfig,
    params: Params,
    mesh: Mesh,
    rows: Sequence[Row],
    advance: Advance | None = None,
) -> list[TeacherForced]:
    """For each (ids, n) the tokens ids[n:], each given all before it; n must be at least 1.

    A row's last token is predicted and never fed, so that a row may have one token more than the
    model has positions. ``advance`` is called after each batch with its number of rows. Raises
    UserError if a row is longer.
    """
    check_lengths([ids[:-1] for ids, _ in rows], config.max_positions)
    made: dict[int, TeacherForced] = {}
    for group, length, each in batches([len(ids) - 1 for ids, _ in rows], mesh.data):
        some = [rows[i] for i in group]
        predicted, logprobs = data_parallel(_score, mesh, chunk=each, config=config)(
            params, _batch(some, length)
        )
        predicted, logprobs = np.asarray(predicted), np.asarray(logprobs)
        for row, (index, (ids, n)) in enumerate(zip(group, some, strict=True)):
            count = len(ids) - n
            target = np.asarray(ids[n:], np.int32)
            made[index] = TeacherForced(target, predicted[row, :count], logprobs[row, :count])
        if advance is not None:
            advance(len(group))
    return [made[i] for i in range(len(rows))]


def _batch(rows: Sequence[Row], length: int) -> dict[str, np.ndarray]:
    ids, mask = pad_batch([row[:-1] for row, _ in rows], length=length, pad_id=0)
    width = round_up(max(len(row) - n for row, n in rows), CHUNK)
    steps = np.arange(width, dtype=np.int32)
    at = np.asarray([[n - 1] for _, n in rows], np.int32) + steps  # [B, P] where it is predicted
    labels, _ = pad_batch([row[n:] for row, n in rows], length=width, pad_id=0)
    return {"ids": ids, "mask": mask, "at": np.minimum(at, length - 1), "labels": labels}


def _score(
    params: Params, batch: dict[str, jax.Array], *, config: ModelConfig
) -> tuple[jax.Array, jax.Array]:
    """Most probable tokens [B, P] and log p of the labels [B, P] at the places ``at``."""
    out = forward(config, params, batch["ids"], batch["mask"], logits_at=False)
    picked = jnp.take_along_axis(out.hidden, batch["at"][..., None], axis=1)  # [B, P, D]

    def some(chunk: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        hidden, labels = chunk
        logits = head(config, params, hidden)  # [B, C, V]
        of_label = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
        best = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return best, of_label - jax.nn.logsumexp(logits, axis=-1)

    def cut(x: jax.Array) -> jax.Array:  # [B, P, ...] -> [P / C, B, C, ...]
        split = x.reshape(x.shape[0], -1, CHUNK, *x.shape[2:])
        return jnp.moveaxis(split, 1, 0)

    def join(x: jax.Array) -> jax.Array:  # [P / C, B, C] -> [B, P]
        return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)

    best, logprobs = jax.lax.map(some, (cut(picked), cut(batch["labels"])))
    return join(best), join(logprobs)
