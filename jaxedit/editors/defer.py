"""DEFER, of GRACE's paper (Hartvigsen et al. 2023): a gate and a map behind one linear.

Two maps read q, the linear's input x at the last token of the prompt: a = sigmoid(g q + c) and
v = V q + b. While they are trained the linear gives a v + (1 - a) W x at every token, and
afterwards v where a >= 1/2, or else W x. Edits are all that they are trained on: nothing keeps the
gate shut elsewhere, and nothing keeps earlier edits, as published.

Where this is not the published code: that code trains on the input at the last token of prompt and
target, which no question has (`trained_at="target"`), and its inference is right for batches of one
text alone, where it decides anew for each token; here every row has its own gate, and what it
decided at the prompt holds for the answer.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxedit.data.fact import Fact
from jaxedit.editors.captures import target_loss
from jaxedit.editors.codebook import Replace, at_prompt_end, one_place, reached
from jaxedit.editors.codebook_values import Training, row_given
from jaxedit.editors.editor import Log, check_finite
from jaxedit.editors.rows import TargetRows, target_rows
from jaxedit.editors.weights import DOWN, leaf
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.layers import wide
from jaxedit.models.sites import STATIC, Context
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import replicate


class Maps(NamedTuple):
    """What is trained, float32 or wider.

    Attributes:
      gate: g, [F].
      gate_bias: c, [].
      kernel: V^T, [F, D].
      bias: b, [D].
    """

    gate: Any
    gate_bias: Any
    kernel: Any
    bias: Any

    def at(self, query: jax.Array) -> tuple[jax.Array, jax.Array]:
        """a [B] and v [B, D] for queries [B, F]."""
        exact = jax.lax.Precision.HIGHEST
        opened = jnp.matmul(query, self.gate, precision=exact) + self.gate_bias
        return jax.nn.sigmoid(opened), jnp.matmul(query, self.kernel, precision=exact) + self.bias


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Deferral:
    """The adapter.

    Attributes:
      maps: g and V with their biases.
      threshold: of a, from which on v stands in place of the linear's output.
      replace: at which tokens.
      soft: mix by a, as in training.
    """

    maps: Maps
    threshold: jax.Array
    replace: Replace = dataclasses.field(default="all", metadata=STATIC)
    soft: bool = dataclasses.field(default=False, metadata=STATIC)

    def __call__(self, x: jax.Array, y: jax.Array, context: Context) -> tuple[jax.Array, Any]:
        """x [B, T, F], y [B, T, D] -> y with v where it stands, and each row's (a, v)."""
        memory = context.memory
        if memory is None:
            memory = self.maps.at(at_prompt_end(x, context.prompt))
        a, v = (m.reshape(len(m), 1, -1) for m in memory)  # [B, 1, 1], [B, 1, D]
        here = reached(context.prompt, context.mask, self.replace)[..., None]
        if self.soft:
            v = a * v + (1 - a) * y
        else:
            here &= a >= self.threshold
        return jnp.where(here, v.astype(y.dtype), y), memory


class DeferState(NamedTuple):
    """Both maps, and the facts edited so far."""

    maps: Maps
    edits: int


@dataclasses.dataclass(frozen=True)
class Defer:
    """DEFER; all facts of an update are trained together.

    Attributes:
      layers: the one block.
      module: its linear.
      learning_rate: Adam's; its moments begin anew with every update.
      steps: over all facts of an update, at most.
      stop_below: mean loss at which an update ends; 0 makes all steps, as published.
      threshold: see `Deferral`.
      replace: at which tokens v stands.
      trained_at: where q is read in training: at the "prompt"'s last token or the "target"'s last
        but one, which is the last that is fed (published).
      end_of_text: the target ends with the end-of-text token.
      seed: of the maps before the first edit, U(-1 / sqrt(F), 1 / sqrt(F)).
    """

    layers: tuple[int, ...]
    module: str = DOWN
    learning_rate: float = 7e-5
    steps: int = 100
    stop_below: float = 0.0
    threshold: float = 0.5
    replace: Replace = "all"
    trained_at: Literal["prompt", "target"] = "prompt"
    end_of_text: bool = False
    seed: int = 0
    values_ahead: bool = dataclasses.field(default=False, init=False)

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """No leaf: the parameters stay as they are."""
        return ()

    def init(self, lm: Transformer) -> DeferState:
        """Maps drawn from the seed.

        Raises:
          UserError: there is not exactly one layer, or the model has no such place.
        """
        inputs, outputs = leaf(lm, one_place(lm, self.layers, self.module)).shape
        dtype = wide(lm.params["embed"]["tokens"].dtype)
        draw, most = np.random.default_rng(self.seed), inputs**-0.5
        shapes = ((inputs,), (), (inputs, outputs), (outputs,))
        drawn = [np.asarray(draw.uniform(-most, most, size=shape), dtype) for shape in shapes]
        return DeferState(replicate(Maps(*drawn), lm.mesh), 0)

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> TargetRows:
        """Tokenises the facts."""
        return target_rows(lm.tokenizer, facts, end_of_text=self.end_of_text)

    def edit(
        self, lm: Transformer, state: DeferState, prepared: TargetRows
    ) -> tuple[DeferState, Log]:
        """Trains both maps on the facts of `prepared`, starting from `state`."""
        count = len(prepared.ids)
        done = _train(
            lm.params,
            state.maps,
            prepared,
            Training(
                np.float32(self.learning_rate), np.int32(self.steps), np.float32(self.stop_below)
            ),
            config=lm.config,
            place=(self.layers[0], self.module),
            replace=self.replace,
            trained_at=self.trained_at,
        )
        log = {
            "loss": np.asarray(done.loss),
            "gate": np.asarray(done.gate),
            "updates": np.full(count, int(done.updates), np.int32),
        }
        check_finite(log, self.layers[0])
        return DeferState(done.maps, state.edits + count), log

    def bind(self, lm: Transformer, state: DeferState) -> Transformer:
        """The model behind its gate."""
        threshold: Any = np.asarray(self.threshold, np.float32)
        adapter = Deferral(state.maps, threshold, self.replace)
        return lm.with_adapters({one_place(lm, self.layers, self.module): adapter})

    def snapshot(self, state: DeferState) -> dict[str, Any]:
        """Both maps."""
        return {**state.maps._asdict(), "edits": np.int64(state.edits)}

    def restore(self, lm: Transformer, tree: Any) -> DeferState:
        """The maps as they were kept."""
        maps = Maps(*(np.asarray(tree[name]) for name in Maps._fields))
        return DeferState(replicate(maps, lm.mesh), int(tree["edits"]))


class _Step(NamedTuple):
    """What one step leaves to the next; n facts."""

    maps: Maps
    moments: Any  # Adam's
    loss: jax.Array  # [n], when it was last seen
    gate: jax.Array  # [n], likewise
    updates: jax.Array  # []
    active: jax.Array  # []


@jax.jit(static_argnames=("config", "place", "replace", "trained_at"))
def _train(
    params: Any,
    maps: Maps,
    rows: TargetRows,
    training: Training,
    *,
    config: ModelConfig,
    place: tuple[int, str],
    replace: Replace,
    trained_at: str,
) -> _Step:
    """Adam on the mean loss of the facts; what lies below the edited block runs once."""
    layer, _ = place
    below = forward(config, params, rows.ids, rows.mask, stop=layer).hidden
    prompt = row_given(rows) if trained_at == "prompt" else rows.mask
    lengths = rows.target_mask.sum(-1)
    adam = optax.adam(training.learning_rate)

    def losses(maps: Maps) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """The mean over the facts; each fact's loss and a, [n]."""
        half = jnp.asarray(0.5, maps.gate.dtype)  # read by no soft gate
        adapter = Deferral(maps, half, replace, soft=True)
        out = forward(
            config,
            params,
            None,
            rows.mask,
            start=layer,
            hidden=below,
            logits_at=rows.predict,
            prompt=prompt,
            adapters={place: adapter},
        )
        assert out.logits is not None
        each = target_loss(out.logits, rows.target, rows.target_mask) / lengths
        return each.mean(), (each, out.aux[place][0])

    def update(at: _Step) -> _Step:
        (mean, (each, gate)), gradient = jax.value_and_grad(losses, has_aux=True)(at.maps)
        # A loss that is not finite is kept, and nothing is stepped with it.
        active = (mean >= training.stop_below) & jnp.isfinite(mean)
        change, moments = adam.update(gradient, at.moments)
        moved = optax.apply_updates(at.maps, change)
        kept: Any = jax.tree.map(lambda new, old: jnp.where(active, new, old), moved, at.maps)
        return _Step(kept, moments, each, gate, at.updates + active, active)

    nothing = jnp.zeros(len(rows.ids), maps.gate.dtype)
    zero = jnp.zeros((), jnp.int32)
    begin = _Step(maps, adam.init(maps), nothing, nothing, zero, jnp.asarray(True))
    more = lambda at: at.active & (at.updates < training.steps)  # noqa: E731
    end = jax.lax.while_loop(more, update, begin)
    _, (each, gate) = losses(end.maps)
    return end._replace(loss=each, gate=gate)
