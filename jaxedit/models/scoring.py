"""How probable given tokens are, in batches over all devices."""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.models.batches import check_lengths, rows_per_device
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params, forward, head
from jaxedit.models.packed import Batch, apart, filled, laid_out, prompts, trees
from jaxedit.models.protocol import Advance, Row, TeacherForced
from jaxedit.models.sites import ADAPTERS
from jaxedit.sharding import Mesh, data_parallel

TOKENS = {"cpu": 2048}  # that one device takes in one call, where not as many as BIG
BIG = 8192
CHUNK = 256  # tokens whose logits are in memory at a time


def score_ids(
    config: ModelConfig,
    params: Params,
    mesh: Mesh,
    rows: Sequence[Row],
    advance: Advance | None = None,
) -> list[TeacherForced]:
    """For each (ids, n) the tokens ids[n:], each given all before it; n must be at least 1.

    Rows with the same ids[:n] run it once (see packed.py). A row's last token is predicted and
    never fed, so that a row may have one token more than the model has positions. Where adapters
    travel with the parameters, no two prompts share a row: an adapter may judge by the whole of
    one. ``advance`` is called after each batch with its number of rows. Raises UserError if a row
    is longer.
    """
    check_lengths([ids[:-1] for ids, _ in rows], config.max_positions)
    nothing = np.zeros(0, np.int32)
    made = [TeacherForced(nothing, nothing, np.zeros(0, np.float32)) for _ in rows]
    tokens = TOKENS.get(mesh.devices[0].platform, BIG)
    single = ADAPTERS in params
    laid = filled(trees(rows, single=single), single=single)
    for width, alike in itertools.groupby(laid, key=lambda row: row[0]):
        each = rows_per_device(width, tokens)
        score = data_parallel(_score, mesh, chunk=each, config=config)
        packed = [row for _, row in alike]
        for start in range(0, len(packed), each * mesh.data):
            batch, places = laid_out(packed[start : start + each * mesh.data], width)
            best, logprobs = (np.asarray(x) for x in score(params, batch))
            for row, first, branch, owners in places:
                own = slice(first, first + len(branch))
                target = np.asarray(branch, np.int32)
                forced = TeacherForced(target, best[row, own], logprobs[row, own])
                for owner in owners:
                    made[owner] = forced
            if advance is not None:
                advance(sum(len(place.owners) for place in places))
    return made


def score_texts(
    score: Callable[[Sequence[Row]], Sequence[TeacherForced]],
    rows: Sequence[Sequence[int]],
    most: int,
) -> list[tuple[float, int]]:
    """(sum of log p in nats, number of tokens) over each text's tokens but the first.

    A text of more than ``most`` tokens is scored in windows, each beginning with the last token of
    the one before. ``score`` is a model's ``score_rows``.
    """
    windows: list[Sequence[int]] = []
    owners: list[int] = []
    for text, ids in enumerate(rows):
        for start in range(0, len(ids) - 1, most - 1):
            windows.append(ids[start : start + most])
            owners.append(text)
    made = score([(ids, 1) for ids in windows])
    sums = [(0.0, 0) for _ in rows]
    for text, forced in zip(owners, made, strict=True):
        total, count = sums[text]
        total += float(forced.logprobs.sum(dtype=np.float64))
        sums[text] = (total, count + len(forced.logprobs))
    return sums


def packed_hidden(config: ModelConfig, params: Params, batch: Batch) -> jax.Array:
    """[B, W, D], the last layer's output for rows of packed trees."""
    return forward(
        config,
        params,
        batch.ids,
        batch.positions >= 0,
        positions=batch.positions,
        knockout=dict.fromkeys(range(config.n_layers), apart(batch)),
        logits_at=False,
        prompt=prompts(batch) if ADAPTERS in params else None,
    ).hidden


def _score(params: Params, batch: Batch, *, config: ModelConfig) -> tuple[jax.Array, jax.Array]:
    """Most probable tokens [B, W] and log p of the labels [B, W], whatever where ``at`` is -1."""
    hidden = packed_hidden(config, params, batch)
    rows, width, depth = hidden.shape
    hidden = hidden.reshape(-1, depth)
    start = width * jnp.arange(rows, dtype=jnp.int32)[:, None]
    at, label = (start + batch.at).reshape(-1), batch.label.reshape(-1)
    wanted = batch.at.reshape(-1) >= 0
    order = jnp.argsort(~wanted)  # stable: first all that are wanted
    size = min(CHUNK, rows * width)

    def of(places: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = head(config, params, hidden[at[places]])  # [C, V]
        of_label = jnp.take_along_axis(logits, label[places][:, None], axis=-1)[:, 0]
        best = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return best, of_label - jax.nn.logsumexp(logits, axis=-1)

    def some(i: jax.Array, found: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        places = jax.lax.dynamic_slice(order, (i * size,), (size,))
        return tuple(x.at[places].set(y) for x, y in zip(found, of(places), strict=True))

    empty = [jnp.zeros(rows * width, x.dtype) for x in jax.eval_shape(of, order[:size])]
    # As many turns as there are tokens asked for: how many does not change the program.
    best, logprobs = jax.lax.fori_loop(0, (wanted.sum() + size - 1) // size, some, tuple(empty))
    return best.reshape(rows, width), logprobs.reshape(rows, width)
