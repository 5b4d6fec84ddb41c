"""MALMEN (Tan, Zhang, Fu 2023): a network's changes of many facts, joined by least squares.

As in MEND a network rewrites a token's key k and gradient g at an edited linear; here of the
tokens that predict the answer. The rewritten k^, g^ say what each token alone would ask of its own
output, and one change of the kernel is to give that to all of them:

    v_i = - lr (k_i . k^_i) g^_i        what k_i^T Delta^T should be, with the raw k_i
    Delta^T = argmin |K Delta^T - V|^2 + e^theta |Delta|^2 = (K^T K + e^theta I)^-1 K^T V
            = K^T (K K^T + e^theta I)^-1 V

lr and theta are trained for each kernel. The second form is the smaller one while there are fewer
tokens than inputs; beyond, K^T K and K^T V are summed over some facts at a time. Both are solved in
float64, and gradients go through them by the adjoint of the linear solve, which is what the paper's
training does by hand: with M = (K^T K + e^theta I)^-1 dL/dDelta^T, dL/dV = K M and
dL/dtheta = - e^theta sum(M * Delta^T).

The published code pools the variances of its rows with a factor too much, and drops a last, smaller
micro-batch; neither is done here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.editors.captures import Captured, Tokens
from jaxedit.editors.hyper_editor import HyperEditor
from jaxedit.editors.hyper_network import Shift, Trained, rewritten
from jaxedit.editors.meta_training import MetaTraining

PUBLISHED = MetaTraining(
    steps=320,
    batch=512,
    learning_rate=1e-5,
    clip=1.0,
    validate_every=20,
    patience=320,
)
EXACT = jax.lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True)
class Malmen(HyperEditor):
    """MALMEN; see `HyperEditor` for its settings.

    The defaults are the published ones: one pass over zsRE's training records, 512 an update.
    """

    modules: tuple[str, ...] = ("mlp.down",)
    rate: float = 1e-6
    tokens: Tokens = "answer"
    training: MetaTraining = PUBLISHED

    @property
    def shift(self) -> Shift:
        """Ridge least squares."""
        return malmen_shift

    def initial_ridges(self, names: Sequence[str]) -> dict[str, Any]:
        """theta = 0: a ridge of 1."""
        return {name: np.float32(0) for name in names}

    def change(self, trained: Trained, parts: Iterator[Captured]) -> dict[str, jax.Array]:
        """Joined over all facts of the update.

        Rows are kept until a kernel has more of them than inputs; from there on their sums are.
        """
        held: dict[str, list[tuple[jax.Array, jax.Array]]] = {}
        sums: dict[str, Sums] = {}
        for part in parts:
            for name, pair in _wanted(trained, part).items():
                own = held.setdefault(name, [])
                own.append(pair)
                if name in sums or sum(len(keys) for keys, _ in own) > pair[0].shape[1]:
                    sums[name] = _added(sums.get(name), own)
                    held[name] = []
        return {
            name: _joined(own, sums.get(name), trained.ridges[name]) for name, own in held.items()
        }


class Sums(NamedTuple):
    """K^T K [inputs, inputs] and K^T V [inputs, outputs], float64."""

    gram: Any
    right: Any


def malmen_shift(trained: Trained, captured: Captured) -> dict[str, jax.Array]:
    """Delta^T of each kernel, [inputs, outputs] float32; to be traced with float64 enabled."""
    return {
        name: ridge_regression(keys, values, trained.ridges[name]).astype(keys.dtype)
        for name, (keys, values) in wanted(trained, captured).items()
    }


def wanted(trained: Trained, captured: Captured) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Of each kernel: K [N, inputs] and V [N, outputs]; zeros where there is no token."""
    found = {}
    for name, rows, key, gradient in rewritten(trained.network, trained.scales, captured, "malmen"):
        alike = (rows.key * key).sum(-1, keepdims=True)
        raw = jnp.where(rows.real[:, None], rows.key, 0)
        found[name] = raw, -trained.rates[name] * alike * gradient
    return found


def ridge_regression(keys: jax.Array, values: jax.Array, theta: jax.Array) -> jax.Array:
    """argmin |K X - V|^2 + e^theta |X|^2, [inputs, outputs] float64, by the smaller system."""
    keys, values = keys.astype(jnp.float64), values.astype(jnp.float64)
    ridge = jnp.exp(theta.astype(jnp.float64))
    if len(keys) > keys.shape[1]:
        return _solved(*_sums(keys, values), ridge)
    solved = _solved(jnp.matmul(keys, keys.T, precision=EXACT), values, ridge)
    return jnp.matmul(keys.T, solved, precision=EXACT)


def _solved(gram: jax.Array, right: jax.Array, ridge: jax.Array) -> jax.Array:
    regular = gram + ridge * jnp.eye(len(gram), dtype=gram.dtype)
    return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(regular), True), right)


def _sums(keys: jax.Array, values: jax.Array) -> Sums:
    keys, values = keys.astype(jnp.float64), values.astype(jnp.float64)
    products = (jnp.matmul(keys.T, x, precision=EXACT) for x in (keys, values))
    return Sums(*products)


_wanted = jax.jit(wanted)


def _added(sums: Sums | None, rows: list[tuple[jax.Array, jax.Array]]) -> Sums:
    """The sums with some rows more."""
    with jax.enable_x64(True):
        for keys, values in rows:
            more = _summed(keys, values)
            sums = more if sums is None else jax.tree.map(jnp.add, sums, more)
    assert sums is not None
    return sums


_summed = jax.jit(_sums)


def _joined(rows: list[tuple[jax.Array, jax.Array]], sums: Sums | None, theta: Any) -> jax.Array:
    """Delta^T from rows, or from sums, float32."""
    with jax.enable_x64(True):
        if sums is not None:
            return _from_sums(sums, theta)
        keys, values = (jnp.concatenate(x) for x in zip(*rows, strict=True))
        return _from_rows(keys, values, theta)


@jax.jit
def _from_rows(keys: jax.Array, values: jax.Array, theta: jax.Array) -> jax.Array:
    return ridge_regression(keys, values, theta).astype(keys.dtype)


@jax.jit
def _from_sums(sums: Sums, theta: jax.Array) -> jax.Array:
    ridge = jnp.exp(theta.astype(jnp.float64))
    return _solved(sums.gram, sums.right, ridge).astype(jnp.float32)
