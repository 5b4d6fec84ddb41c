"""MEND (Mitchell et al. 2021, "Fast Model Editing at Scale"): a network rewrites gradients.

For the loss of an edit's target, each edited linear h = W u gets from every token i of the text a
key u_i and a gradient delta_i = dL/dh_i, and dL/dW = sum_i delta_i u_i^T. The trained network makes
other factors of them, u~_i and delta~_i, and

    W <- W + lr_W sum_i delta~_i u~_i^T

A row counts where both of its factors are not zero, which leaves out padding and tokens behind the
last that is predicted. With several facts there are more rows in the sum.

The sign is the published code's: plus, with lr_W trained from 1e-4 on. At first the network is the
identity on normalised rows, so an edit climbs the loss, and training turns it round (the gradient
of lr_W alone does so within its first steps, being trained at a rate of its own size). A negative
`rate` begins the right way.

What differs from the published code: the scales of the rows are taken from all training records
once, before training, not gathered along it. Its editing loss asks for the very prompt that is
edited, where the paper asks for other words (`asked`); each update's loss is a mean over all its
tokens, so that facts in a batch weaken each other (`joint`); targets are encoded by themselves,
which on Llama puts BOS before them (`label_bos`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from jaxedit.editors.captures import Captured
from jaxedit.editors.hyper_editor import HyperEditor
from jaxedit.editors.hyper_network import Shift, Trained, rewritten, shifted
from jaxedit.editors.meta_training import MetaTraining

PUBLISHED = MetaTraining(
    steps=10_000,
    batch=1,
    accumulate=10,
    learning_rate=1e-6,
    clip=100.0,
    validate_every=1000,
    patience=3000,
)


@dataclasses.dataclass(frozen=True)
class Mend(HyperEditor):
    """MEND; see `HyperEditor` for its settings.

    The defaults are the published ones. Their steps are counted in updates of ten edits each:
    100,000 edits at most, and an end after 30,000 without improvement.
    """

    rates_learning_rate: float | None = 1e-4
    edit_weight: float = 0.1
    training: MetaTraining = PUBLISHED

    @property
    def shift(self) -> Shift:
        """The sum of outer products."""
        return mend_shift

    def change(self, trained: Trained, parts: Iterator[Captured]) -> dict[str, jax.Array]:
        """The sums over some facts at a time, added up."""
        total: dict[str, jax.Array] | None = None
        for part in parts:
            some = shifted(trained, part, shift=mend_shift)
            total = some if total is None else jax.tree.map(jnp.add, total, some)
        assert total is not None
        return total


def mend_shift(trained: Trained, captured: Captured) -> dict[str, jax.Array]:
    """lr_W sum_i u~_i delta~_i^T of each kernel, [inputs, outputs]."""
    rows = rewritten(trained.network, trained.scales, captured, "mend")
    exact = jax.lax.Precision.HIGHEST
    return {
        name: trained.rates[name] * jnp.matmul(u.T, delta, precision=exact)
        for name, _, u, delta in rows
    }
