"""UltraEdit (Gu et al. 2025): one backward pass and one small system, on keys and gradients.

A turn takes many facts at once. For every token of their answers, at each edited linear, k is the
linear's input and g the gradient of the loss with respect to its output, where the loss is the
mean cross-entropy of the answer tokens of a micro-batch. A lifelong normaliser, which sees every
row before that row is normalised, keeps the mean and the variance of x = [k ; g], so that

    v_i = - lr |k~_i|^2 g~_i,     Delta^T = (K^T K + I)^-1 K^T V = K^T (K K^T + I)^-1 V

with normalised k~, g~ and raw K. The second form is an N x N system, N answer tokens in the turn,
in place of one as wide as the linear's input.

The size of v does not depend on that of the loss: about lr |k~|^2 sqrt(out), with |k~|^2 about
the number of inputs. So a fact that is known already is pushed as hard as a new one, the learning
rate is to be chosen for each width, and a turn needs enough rows for their variance to mean
something: the very first row alone has none, and then nothing is changed.

The published code weights each micro-batch's variance as if it had been divided by one row more
(`legacy_variance`), and keeps one normaliser for each shape of weight, as is done here.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.editors import weights
from jaxedit.editors.captures import Captured, capture, check_losses
from jaxedit.editors.editor import Log
from jaxedit.editors.normaliser import Normaliser, follow, normalise
from jaxedit.editors.rows import TargetRows, target_rows
from jaxedit.editors.weights import DOWN, WritesLeaves, check_layers, leaf_names
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import replicate


class UltraState(NamedTuple):
    """What later turns need.

    Attributes:
      leaves: the edited kernels by name, float32 or wider.
      normalisers: by shape of kernel, "inputs x outputs".
      edits: facts edited so far.
    """

    leaves: dict[str, Any]
    normalisers: dict[str, Normaliser]
    edits: int


@dataclasses.dataclass(frozen=True)
class UltraEdit(WritesLeaves):
    """UltraEdit; one update is one turn.

    Attributes:
      layers: edited blocks, ascending.
      modules: linears that are edited in each of them, such as "mlp.down"; an entry like
        "layers_11/mlp.gate" is that one alone, wherever its block is among `layers` or not.
      learning_rate: lr.
      micro_batch: facts whose answer tokens share one mean loss.
      ridge: what is added to the system's diagonal.
      legacy_variance: weight the variances as the published code does.
    """

    layers: tuple[int, ...]
    modules: tuple[str, ...] = (DOWN,)
    learning_rate: float = 1e-6
    micro_batch: int = 10
    ridge: float = 1.0
    legacy_variance: bool = False
    values_ahead: bool = dataclasses.field(default=False, init=False)

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """The edited kernels, each once."""
        plain = [module for module in self.modules if "/" not in module]
        found = list(leaf_names(lm, self.layers, plain))
        for module in self.modules:
            if "/" in module:
                block, _, linear = module.partition("/")
                layer = int(block.removeprefix("layers_"))
                check_layers(lm, (layer,))
                found += leaf_names(lm, (layer,), (linear,))
        return tuple(dict.fromkeys(found))

    def init(self, lm: Transformer) -> UltraState:
        """The model's own kernels, and normalisers that have seen nothing."""
        check_layers(lm, self.layers)
        leaves = weights.leaves(lm, self.places(lm))
        empty = {_shape(x): Normaliser.empty(sum(x.shape)) for x in leaves.values()}
        return UltraState(leaves, empty, 0)

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> TargetRows:
        """Tokenises the facts."""
        return target_rows(lm.tokenizer, facts)

    def edit(
        self, lm: Transformer, state: UltraState, prepared: TargetRows
    ) -> tuple[UltraState, Log]:
        """One turn with all the facts of `prepared`."""
        captured = self.capture(self.bind(lm, state), prepared)
        check_losses(captured.loss)
        real = np.asarray(prepared.target_mask)
        normalisers = self.normalised(state, captured, real)
        leaves = {}
        for name, kernel in state.leaves.items():
            with jax.enable_x64(True):
                shift = _shift(
                    captured.keys[name],
                    captured.gradients[name],
                    real,
                    normalisers[_shape(kernel)],
                    self.learning_rate,
                    self.ridge,
                )
            if not np.isfinite(shift).all():
                raise FloatingPointError(f"the shift of {name} by this update is not finite")
            leaves[name] = _sum(kernel, replicate(np.asarray(shift), lm.mesh))
        log = {"loss": captured.loss, "probability": np.exp(-captured.loss)}
        return UltraState(leaves, normalisers, state.edits + len(real)), log

    def capture(self, now: Transformer, rows: TargetRows) -> Captured:
        """Keys and gradients, of micro-batches' mean losses, at every edited linear of a model."""
        found = jax.tree.map(np.asarray, capture(now, rows, self.places(now)))
        tokens = np.asarray(rows.target_mask).sum(1)  # [n]
        batch = np.arange(len(tokens)) // self.micro_batch
        shared = np.bincount(batch, tokens)[batch]
        mean = (1 / shared).astype(found.loss.dtype)[
            :, None, None
        ]  # sums to means of micro-batches
        gradients = {name: mean * g for name, g in found.gradients.items()}
        return Captured(found.keys, gradients, found.loss / tokens.astype(found.loss.dtype))

    def normalised(
        self, state: UltraState, captured: Captured, real: np.ndarray
    ) -> dict[str, Normaliser]:
        """The normalisers once they have seen the rows of a turn, micro-batch by micro-batch."""
        by_shape: dict[str, list[str]] = {}
        for name, kernel in state.leaves.items():
            by_shape.setdefault(_shape(kernel), []).append(name)
        found = {}
        for shape, names in by_shape.items():
            pairs = [(captured.keys[name], captured.gradients[name]) for name in names]
            rows = [np.concatenate(pair, axis=-1) for pair in pairs]
            groups = np.stack([_groups(x, self.micro_batch) for x in rows], axis=1)
            places = len(names)
            seen = np.repeat(_groups(real, self.micro_batch)[:, None], places, axis=1)
            with jax.enable_x64(True):
                after = follow(
                    state.normalisers[shape],
                    groups.reshape((-1, *groups.shape[2:])),
                    seen.reshape((-1, seen.shape[-1])),
                    legacy=self.legacy_variance,
                )
            found[shape] = jax.tree.map(np.asarray, after)
        return found

    def snapshot(self, state: UltraState) -> Any:
        """The edited kernels and the normalisers."""
        normalisers = {shape: kept._asdict() for shape, kept in state.normalisers.items()}
        kernels = super().snapshot(state)
        return {**kernels, "normalisers": normalisers}

    def restore(self, lm: Transformer, tree: Any) -> UltraState:
        """Kernels and normalisers as they were kept."""
        kept = super().restore(lm, tree)
        normalisers = {shape: Normaliser(**own) for shape, own in tree["normalisers"].items()}
        return UltraState(kept.leaves, normalisers, kept.edits)


def _shape(kernel: Any) -> str:
    return f"{kernel.shape[0]}x{kernel.shape[1]}"


def _groups(x: np.ndarray, size: int) -> np.ndarray:
    """Rows of n facts by micro-batch: [n, P, ...] -> [M, size * P, ...], filled up with zeros."""
    size = min(size, len(x))
    fill = np.zeros((-len(x) % size, *x.shape[1:]), x.dtype)
    whole = np.concatenate([x, fill])
    return whole.reshape((-1, size * x.shape[1], *x.shape[2:]))


@jax.jit
def _shift(
    keys: Any, gradients: Any, real: Any, normaliser: Normaliser, rate: Any, ridge: Any
) -> jax.Array:
    """Delta^T [inputs, outputs] float32 of one kernel; keys and gradients [n, P, ...]."""
    inputs = keys.shape[-1]
    raw = keys.reshape((-1, inputs))  # [N, inputs]; zeros where there is no token
    rows = jnp.concatenate([raw, gradients.reshape((-1, gradients.shape[-1]))], axis=-1)
    x = normalise(normaliser, rows)
    size = jnp.square(x[:, :inputs]).sum(-1, keepdims=True)
    wanted = jnp.where(real.reshape((-1, 1)), -rate * size * x[:, inputs:], 0)
    wanted = wanted.astype(raw.dtype)
    exact = jax.lax.Precision.HIGHEST
    gram = jnp.matmul(raw, raw.T, precision=exact)
    # Columns where there is no token add a row of the identity, and nothing is wanted there.
    gram += ridge.astype(gram.dtype) * jnp.eye(len(gram), dtype=gram.dtype)
    solved = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(gram), True), wanted)
    return jnp.matmul(raw.T, solved, precision=exact)


@jax.jit
def _sum(old: jax.Array, change: jax.Array) -> jax.Array:
    return old + change
