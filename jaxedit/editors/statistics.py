"""Statistics: the uncentred second moment of the keys, C = (1/N) sum k k^T, for each layer.

N counts the tokens of ordinary text, k is the input of a down-projection. One pass serves all
layers, stops at the last, and sums in float64: float32 sums of a real model's activations are
not even positive definite. C times lambda stands for the keys that an edit is to preserve
(MEMIT, Meng et al. 2022b, equation 15).

Which documents are read depends on the budget alone, in their order; batches are formed from
groups of neighbouring documents, always in the same way. So a pass can stop after any batch and
go on from there, and ends with the same sums.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from jaxedit.errors import UserError
from jaxedit.models.batches import batches
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.sites import Tap
from jaxedit.models.text import pad_batch
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel_sum

SITE = "mlp.down.in"
GROUP = 1024  # neighbouring documents that are sorted by length before they are cut into batches
TOKENS_PER_WIDTH = 10  # default number of tokens, in units of d_ff
ROWS_AT_ONCE = 1024  # of a matrix, while it is checked: GPT-J's have 2 GB


class Moments(NamedTuple):
    """Second moments of the keys.

    Attributes:
      matrices: C of each layer, [v, v] float64.
      tokens: N, the number of tokens they were taken over.
    """

    matrices: dict[int, np.ndarray]
    tokens: int


class Budget(NamedTuple):
    """How much text: documents until there are `tokens`, or so many `documents`.

    Attributes:
      tokens: the document that reaches this many is the last; None without such a bound.
      documents: at most so many; None without such a bound.
      length: tokens kept of a document.
    """

    tokens: int | None
    documents: int | None
    length: int


class Pass(NamedTuple):
    """How far a pass has got: all that it needs to go on.

    Attributes:
      sums: sum of k k^T of each layer, [v, v] float64.
      tokens: how many are in the sums.
      documents: how many are in the sums.
      groups: whole groups of documents that are in the sums.
      before: tokens in those.
      batches: batches of the next group that are in the sums as well.
    """

    sums: dict[int, Any]
    tokens: int = 0
    documents: int = 0
    groups: int = 0
    before: int = 0
    batches: int = 0

    @property
    def start(self) -> int:
        """The document from which on a pass that goes on has to read."""
        return self.groups * GROUP


def budget(
    lm: Transformer,
    tokens: int | None = None,
    documents: int | None = None,
    length: int | None = None,
) -> Budget:
    """The budget with its defaults: 10 x d_ff tokens, documents as long as the model takes.

    Raises:
      UserError: both tokens and documents are given, or a number is not positive.
    """
    if tokens is not None and documents is not None:
        raise UserError("statistics: tokens and documents are both given; give one of them")
    for name, value in (("tokens", tokens), ("documents", documents), ("length", length)):
        if value is not None and value < 1:
            raise UserError(f"statistics: {name} must be at least 1, got {value}")
    if documents is None and tokens is None:
        tokens = TOKENS_PER_WIDTH * lm.config.d_ff
    most = lm.config.max_positions
    return Budget(tokens, documents, min(length or most, most))


def second_moments(
    lm: Transformer,
    layers: Sequence[int],
    texts: Iterable[str],
    *,
    tokens: int | None = None,
    documents: int | None = None,
    length: int | None = None,
    source: str = "the corpus",
) -> Moments:
    """Second moments at the down-projections of `layers` over `texts`, in one pass.

    Args:
      lm: the unedited model.
      layers: which blocks.
      texts: ordinary text, one document an item; BOS is counted where the tokenizer adds it.
      tokens: the document that reaches this many is the last; 10 x d_ff by default.
      documents: how many documents instead.
      length: tokens kept of a document; the model's maximum by default.
      source: what to call the texts in a message.

    Raises:
      UserError: the texts hold no token, or a key is not finite.
    """
    wanted = budget(lm, tokens, documents, length)
    state = None
    for state in go_through(lm, layers, texts, wanted):  # noqa: B007 (the last one counts)
        pass
    return finish(state, wanted, source)


def go_through(
    lm: Transformer,
    layers: Sequence[int],
    texts: Iterable[str],
    wanted: Budget,
    begun: Pass | None = None,
) -> Iterator[Pass]:
    """Goes through the texts; gives how far it is after every batch.

    Args:
      lm: the unedited model.
      layers: which blocks.
      texts: the documents from `begun.start` on.
      wanted: the budget.
      begun: where an earlier pass of the same budget got to.

    Raises:
      UserError: a key is not finite.
    """
    layers = tuple(sorted(layers))
    call = data_parallel_sum(_sums, lm.mesh, config=lm.config, layers=layers)
    state = Pass({}) if begun is None else begun
    texts = iter(texts)
    while True:
        rows, last = _group(lm, texts, wanted, state)
        for number, (ids, mask) in enumerate(_batches(lm, rows)):
            if number >= state.batches:
                with jax.enable_x64(True):
                    sums = call(lm.params, {"ids": ids, "mask": mask})
                    state = _added(state, sums, mask)
                yield state
        if last:
            return
        state = state._replace(groups=state.groups + 1, before=state.tokens, batches=0)


def finish(state: Pass | None, wanted: Budget, source: str) -> Moments:
    """The moments from a pass that has come to its end.

    Raises:
      UserError: there was no text.
    """
    if state is None or not state.tokens:
        raise UserError(
            f"{source} holds no text for the statistics; name another corpus, or 'model' for "
            "text that the model writes itself"
        )
    if wanted.tokens is not None and state.tokens < wanted.tokens:
        logging.warning("%s ended after %d of %d tokens", source, state.tokens, wanted.tokens)
    if wanted.documents is not None and state.documents < wanted.documents:
        logging.warning(
            "%s ended after %d of %d documents", source, state.documents, wanted.documents
        )
    matrices = {layer: np.asarray(total) / state.tokens for layer, total in state.sums.items()}
    return Moments(matrices, state.tokens)


def check_moments(
    matrices: Mapping[int, Any], layers: Iterable[int], d_ff: int, source: str
) -> None:
    """Refuses second moments that cannot be those of a model's keys.

    Args:
      matrices: C by layer.
      layers: those that are needed.
      d_ff: width of the keys, v.
      source: a file or an argument, for the message.

    Raises:
      UserError: a layer is missing, or its matrix is not [v, v], not finite, not symmetric, or
        has no positive trace.
    """
    again = "compute them for this model with python -m jaxedit.statistics"
    for layer in layers:
        if layer not in matrices:
            there = ", ".join(str(key) for key in matrices) or "none"
            raise UserError(f"{source}: no statistics of layer {layer} (of {there}); {again}")
        fault = _fault(matrices[layer], d_ff)
        if fault:
            raise UserError(f"{source}: the statistics of layer {layer} {fault}; {again}")


def _fault(matrix: Any, width: int) -> str | None:
    """What is wrong with a matrix, or None."""
    if np.shape(matrix) != (width, width):
        return f"have shape {np.shape(matrix)}, but the model's keys are {width} wide"
    matrix = np.asarray(matrix)
    if matrix.dtype.kind != "f":
        return f"are of type {matrix.dtype}, not of real numbers"
    blocks = [slice(i, i + ROWS_AT_ONCE) for i in range(0, width, ROWS_AT_ONCE)]
    if not all(np.isfinite(matrix[rows]).all() for rows in blocks):
        return "are not finite"
    if np.trace(matrix) <= 0 or np.diagonal(matrix).min() < 0:
        return "are no mean of squares (the diagonal is not positive)"
    # Float32 matrices of other programs are symmetric to their rounding only.
    allowed = 1e-5 * np.diagonal(matrix).max()
    skew = max(np.abs(matrix[rows] - matrix[:, rows].T).max() for rows in blocks)
    return "are not symmetric" if skew > allowed else None


def _group(
    lm: Transformer, texts: Iterator[str], wanted: Budget, state: Pass
) -> tuple[list[list[int]], bool]:
    """Tokens of the next documents, and whether they are the last."""
    left = GROUP if wanted.documents is None else wanted.documents - state.start
    rows, tokens = [], state.before
    for text in islice(texts, min(GROUP, left)):
        rows.append(lm.tokenizer.encode(text)[: wanted.length])
        tokens += len(rows[-1])
        if wanted.tokens is not None and tokens >= wanted.tokens:
            return rows, True
    return rows, len(rows) < GROUP


def _batches(lm: Transformer, rows: list[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Padded batches of the rows that have a token, the longest rows first."""
    rows = [row for row in rows if row]
    for places, length, each in batches([len(row) for row in rows], lm.mesh.data):
        shelf: list[list[int]] = [rows[i] for i in places]
        shelf += [[]] * (each * lm.mesh.data - len(shelf))
        yield pad_batch(shelf, side="right", length=length, pad_id=lm.tokenizer.pad_id)


def _added(state: Pass, sums: dict[int, jax.Array], mask: np.ndarray) -> Pass:
    """The state with one batch more; reading the traces waits for the device."""
    total = jax.tree.map(jnp.add, state.sums, sums) if state.sums else sums
    for layer, matrix in total.items():
        if not np.isfinite(float(jnp.trace(matrix))):
            raise UserError(
                f"statistics: layer {layer} has keys that are not finite, in one of the "
                f"documents {state.start} to {state.start + GROUP - 1}; is the model whole, and "
                "its dtype wide enough?"
            )
    return state._replace(
        sums=total,
        tokens=state.tokens + int(mask.sum()),
        documents=state.documents + int(mask.any(axis=1).sum()),
        batches=state.batches + 1,
    )


def _sums(
    params: Any, batch: Any, *, config: ModelConfig, layers: tuple[int, ...]
) -> dict[int, jax.Array]:
    taps = tuple(Tap(layer, SITE, reduce=_outer) for layer in layers)
    out = forward(config, params, batch["ids"], batch["mask"], stop=layers[-1] + 1, taps=taps)
    return dict(zip(layers, out.taps, strict=True))


def _outer(keys: jax.Array, mask: jax.Array) -> jax.Array:
    """Sum of k k^T over the real tokens; keys [B, T, v] -> [v, v] float64."""
    real = jnp.where(mask[..., None], keys, 0).astype(jnp.float64)
    return jnp.einsum("btv,btw->vw", real, real)
