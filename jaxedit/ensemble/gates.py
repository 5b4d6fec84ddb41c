"""The gate alone: taught to a plug-in that was edited by a method that knows nothing of it.

Everything but the [WEIGHT] row stays as it is, so the gate is a logistic regression on the hidden
states behind the final norm at the prompts' ends, which are computed once. It is solved by Newton's
method in float64: convex, and with an L2 penalty strictly so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.data.fact import SLOT, Fact
from jaxedit.ensemble.plugin import Plugin, Prompts, last_hidden, prompt_batches
from jaxedit.ensemble.prompts import Unrelated, format_of
from jaxedit.errors import UserError
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params, head
from jaxedit.models.placement import put_params
from jaxedit.sharding import data_parallel

STEPS = 100
CONVERGED = 1e-9


@dataclasses.dataclass(frozen=True)
class Gate:
    """How the gate is taught.

    Attributes:
        penalty: L2, on the row's entries times their features' size, a share of the mean loss.
        balanced: edits and unrelated questions weigh the same in all, however many there are.
        format: what prompts are wrapped in, by name or with one ``{}``.
    """

    penalty: float = 1e-3
    balanced: bool = True
    format: str = SLOT


def fit_gate(
    plugin: Plugin,
    edits: Sequence[Fact],
    unrelated: Sequence[Unrelated],
    gate: Gate | None = None,
) -> tuple[Plugin, float]:
    """The plug-in with a taught gate, and the mean loss that it ends with.

    Raises:
        UserError: there are no edits or nothing unrelated.
    """
    gate = gate or Gate()
    if not edits or not unrelated:
        raise UserError("a gate needs edits and unrelated questions to tell apart; give both")
    form = format_of(gate.format)
    asked = [*(fact.question for fact in edits), *(item.prompt for item in unrelated)]
    found = features(plugin, [form.replace(SLOT, prompt) for prompt in asked])
    label = np.repeat([1.0, 0.0], [len(edits), len(unrelated)])
    shares = np.repeat([0.5 / len(edits), 0.5 / len(unrelated)], [len(edits), len(unrelated)])
    shares = shares if gate.balanced else np.full(len(asked), 1 / len(asked))
    has_bias = "bias" in plugin.lm.params.get("head", {})
    row, bias, loss = regress(found, label, shares, gate.penalty, intercept=has_bias)
    return with_row(plugin, row, bias), loss


def features(plugin: Plugin, prompts: Sequence[str]) -> np.ndarray:
    """[N, D] float64: what the gate's row is multiplied with at the end of each prompt."""
    found = np.zeros((len(prompts), plugin.lm.config.d_model))
    for rows, batch, each in prompt_batches(plugin, prompts):
        read = data_parallel(_normed, plugin.lm.mesh, chunk=each, config=plugin.lm.config)
        found[rows] = read(plugin.lm.params, batch)
    return found


def _normed(params: Params, prompts: Prompts, *, config: ModelConfig) -> jax.Array:
    """The head's input: its output with the identity in the place of its matrix."""
    hidden = last_hidden(config, params, prompts)
    square = jnp.eye(config.d_model, dtype=jnp.float32)
    own = {"norm": params["norm"], "head": {"kernel": square}}
    plain = dataclasses.replace(config, vocab_size=config.d_model, tied=False, head_bias=False)
    return head(plain, own, hidden)


def regress(
    features: np.ndarray, label: np.ndarray, shares: np.ndarray, penalty: float, *, intercept: bool
) -> tuple[np.ndarray, float, float]:
    """Logistic regression by damped Newton steps.

    Args:
        features: [N, D]; label: [N] of 0 and 1; shares: [N], each one's weight in the mean loss.
        penalty: times half the mean square of the row's logits on the features.
        intercept: whether there is one; it is not penalised.

    Returns:
        The row [D], the intercept (0 without one) and the mean loss.
    """
    x = np.concatenate([features, np.ones((len(features), 1))], axis=1) if intercept else features
    ridge = np.full(x.shape[1], penalty * float(np.mean(features**2)) * features.shape[1])
    if intercept:
        ridge[-1] = 1e-12
    row = np.zeros(x.shape[1])

    def loss(row: np.ndarray) -> float:
        z = x @ row
        each = np.logaddexp(0, z) - label * z
        return float(shares @ each + 0.5 * ridge @ row**2)

    now = loss(row)
    for _ in range(STEPS):
        p = 0.5 * (1 + np.tanh(0.5 * (x @ row)))
        slope = x.T @ (shares * (p - label)) + ridge * row
        curve = (x * (shares * p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        step, size = np.linalg.solve(curve, slope), 1.0
        while loss(row - size * step) > now and size > 1e-6:
            size /= 2
        row = row - size * step
        before, now = now, loss(row)
        if before - now < CONVERGED:
            break
    weights, bias = (row[:-1], float(row[-1])) if intercept else (row, 0.0)
    return weights, bias, now


def with_row(plugin: Plugin, row: np.ndarray, bias: float = 0.0) -> Plugin:
    """The plug-in with this row [D] for its gate, in its embedding where that is the head."""
    params, gate = plugin.lm.params, plugin.gate
    placed = plugin.lm.config, plugin.lm.mesh
    if plugin.lm.config.tied:
        table = params["embed"]["tokens"]
        embed = {**params["embed"], "tokens": table.at[gate].set(jnp.asarray(row, table.dtype))}
        return plugin.with_params(put_params({**params, "embed": embed}, *placed))
    kernel = params["head"]["kernel"]
    own = {**params["head"], "kernel": kernel.at[:, gate].set(jnp.asarray(row, kernel.dtype))}
    if "bias" in own:
        own["bias"] = own["bias"].at[gate].set(bias)
    return plugin.with_params(put_params({**params, "head": own}, *placed))


def shut(plugin: Plugin, prompts: Sequence[str], penalty: float = 1e-3) -> Plugin:
    """The plug-in with a gate that says no to all of these prompts (as they are read, wrapped).

    What an untrained gate should say, and says of itself in models that put a token they never
    saw far below all others: the method without L_weight is then the target model alone.
    """
    found = features(plugin, prompts)
    label, shares = np.zeros(len(prompts)), np.full(len(prompts), 1 / len(prompts))
    has_bias = "bias" in plugin.lm.params.get("head", {})
    row, bias, _ = regress(found, label, shares, penalty, intercept=has_bias)
    return with_row(plugin, row, bias)
