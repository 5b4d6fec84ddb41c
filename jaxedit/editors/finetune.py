"""Fine-tuning of a few leaves on the facts themselves: FT, FT-L, FT-M and LocFT-BF.

  FT        (Zhu et al. 2020, as ROME's and MEMIT's authors run it) Adam on one down-projection,
            every token of the target scored at the last token of the prompt ("prompt_last").
  FT-L      the same inside a box: each weight stays within `norm_constraint` of where it was
            before the update.
  FT-M      the usual objective: the target's tokens with the ones before them as input
            ("target_new").
  LocFT-BF  (LocFT, breadth-first) FT-M with the end-of-text token in the target, over a whole set
            of facts in shuffled mini-batches: every epoch sees all of them once, where editing
            one fact to convergence and then the next lets each overwrite the last.

A mini-batch whose loss is under `stop_below` is not stepped; training ends when the mean of an
epoch is. What lies below the first edited block never changes and runs once.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxedit.data.fact import Fact
from jaxedit.editors import weights
from jaxedit.editors.editor import Log, check_finite
from jaxedit.editors.rows import TargetRows, target_rows
from jaxedit.editors.weights import DOWN, EditedLeaves, WritesLeaves, check_layers, leaf_names
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import fetch


@dataclasses.dataclass(frozen=True)
class Ft(WritesLeaves):
    """Fine-tuning, one fact or one batch an update.

    Attributes:
      layers: trained blocks, ascending.
      modules: linears of each that are trained, such as "mlp.down"; "block" is all of it.
      biases: train the linears' biases, too, as the published code does where there are any.
      learning_rate: Adam's.
      steps: epochs over the facts of an update, at most.
      weight_decay: L2, added to the gradient.
      minibatch: facts a step.
      shuffle: a new order of the facts in every epoch.
      norm_constraint: how far each weight may go in one update; None without a limit.
      objective: "prompt_last" or "target_new"; see the module.
      end_of_text: the target ends with the end-of-text token.
      stop_below: loss at which there is nothing more to do.
      seed: of the order.
      legacy_targets: encode targets as the published code does.
    """

    layers: tuple[int, ...]
    modules: tuple[str, ...] = (DOWN,)
    biases: bool = True
    learning_rate: float = 5e-4
    steps: int = 25
    weight_decay: float = 0.0
    minibatch: int = 64
    shuffle: bool = False
    norm_constraint: float | None = None
    objective: Literal["prompt_last", "target_new"] = "prompt_last"
    end_of_text: bool = False
    stop_below: float = 1e-2
    seed: int = 0
    legacy_targets: bool = False
    values_ahead: bool = dataclasses.field(default=False, init=False)

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """The trained leaves."""
        return leaf_names(lm, self.layers, self.modules, biases=self.biases)

    def init(self, lm: Transformer) -> EditedLeaves:
        """The model's own leaves."""
        check_layers(lm, self.layers)
        return EditedLeaves(weights.leaves(lm, self.places(lm)), 0)

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> TargetRows:
        """Tokenises the facts."""
        return target_rows(
            lm.tokenizer,
            facts,
            at_prompt_end=self.objective == "prompt_last",
            end_of_text=self.end_of_text,
            legacy_targets=self.legacy_targets,
        )

    def edit(
        self, lm: Transformer, state: EditedLeaves, prepared: TargetRows
    ) -> tuple[EditedLeaves, Log]:
        """Trains on the facts of `prepared`, starting from `state`."""
        count = len(prepared.ids)
        done = _train(
            self.bind(lm, state).params,
            state.leaves,
            prepared,
            self._order(count, state.edits),
            config=lm.config,
            start=self.layers[0],
            settings=_Settings(
                self.learning_rate, self.weight_decay, self.norm_constraint, self.stop_below
            ),
        )
        log = {
            "loss": fetch(done.loss),
            "updates": np.full(count, int(done.updates), np.int32),
        }
        check_finite(log, self.layers[0])
        return EditedLeaves(dict(done.leaves), state.edits + count), log

    def _order(self, count: int, edits: int) -> np.ndarray:
        """Facts of each mini-batch of each epoch, [epochs, batches, size]; -1 fills up."""
        size = min(self.minibatch, count)
        batches = -(-count // size)
        order = np.full((self.steps, batches * size), -1, np.int32)
        for epoch in range(self.steps):
            draw = np.random.default_rng((self.seed, edits, epoch))
            order[epoch, :count] = draw.permutation(count) if self.shuffle else np.arange(count)
        return order.reshape(self.steps, batches, size)


@dataclasses.dataclass(frozen=True)
class FtL(Ft):
    """FT inside a box."""

    norm_constraint: float | None = 5e-5


@dataclasses.dataclass(frozen=True)
class FtM(Ft):
    """FT with the usual, teacher-forced objective."""

    objective: Literal["prompt_last", "target_new"] = "target_new"


@dataclasses.dataclass(frozen=True)
class LocFtBf(Ft):
    """Breadth-first fine-tuning of one location."""

    biases: bool = False
    minibatch: int = 100
    shuffle: bool = True
    objective: Literal["prompt_last", "target_new"] = "target_new"
    end_of_text: bool = True


class _Settings(NamedTuple):
    learning_rate: float
    weight_decay: float
    norm_constraint: float | None
    stop_below: float


class _Training(NamedTuple):
    """What one step leaves to the next; n facts."""

    epoch: jax.Array  # []
    leaves: dict[str, jax.Array]
    moments: Any  # Adam's
    loss: jax.Array  # [n], of each fact when it was last seen
    updates: jax.Array  # []
    mean: jax.Array  # [], of the last epoch


@jax.jit(static_argnames=("config", "start", "settings"))
def _train(
    params: Any,
    leaves: dict[str, jax.Array],
    rows: TargetRows,
    order: jax.Array,
    *,
    config: ModelConfig,
    start: int,
    settings: _Settings,
) -> _Training:
    """Adam over `order`, [epochs, batches, size]."""
    hidden = forward(config, params, rows.ids, rows.mask, stop=start).hidden  # [n, T, D]
    optimiser = optax.chain(
        optax.add_decayed_weights(settings.weight_decay),
        optax.scale_by_adam(),
        optax.scale_by_learning_rate(settings.learning_rate),
    )

    def losses(leaves: dict[str, jax.Array], at: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean loss of the facts `at`, and of each; -1 stands for none."""
        own, here = jax.tree.map(lambda x: x[jnp.maximum(at, 0)], (rows, hidden))
        out = forward(
            config,
            weights.insert(params, leaves),
            None,
            own.mask,
            start=start,
            hidden=here,
            logits_at=own.predict,
        )
        assert out.logits is not None
        log_p = jax.nn.log_softmax(out.logits, axis=-1)  # [B, P, V]
        gold = jnp.take_along_axis(log_p, own.target[..., None], axis=-1)[..., 0]
        each = -jnp.where(own.target_mask, gold, 0).sum(-1) / own.target_mask.sum(-1)  # [B]
        real = at >= 0
        return jnp.where(real, each, 0).sum() / real.sum(), each

    def step(state: _Training, at: jax.Array) -> tuple[_Training, jax.Array]:
        (mean, each), gradient = jax.value_and_grad(losses, has_aux=True)(state.leaves, at)
        # A loss that is not finite is kept, and nothing is stepped with it.
        learn = mean >= settings.stop_below
        change, moments = optimiser.update(gradient, state.moments, state.leaves)
        moved = optax.apply_updates(state.leaves, change)
        if settings.norm_constraint is not None:
            moved = jax.tree.map(
                lambda new, old: jnp.clip(
                    new, old - settings.norm_constraint, old + settings.norm_constraint
                ),
                moved,
                leaves,
            )
        pick = lambda new, old: jax.tree.map(lambda a, b: jnp.where(learn, a, b), new, old)  # noqa: E731
        real = (at >= 0).sum()
        seen = state.loss.at[jnp.where(at >= 0, at, len(state.loss))].set(each, mode="drop")
        after = _Training(
            state.epoch,
            pick(moved, state.leaves),
            pick(moments, state.moments),
            seen,
            state.updates + learn,
            state.mean + mean * real / len(state.loss),
        )
        return after, mean

    def epoch(state: _Training) -> _Training:
        state, _ = jax.lax.scan(
            step, state._replace(mean=jnp.zeros_like(state.mean)), order[state.epoch]
        )
        return state._replace(epoch=state.epoch + 1)

    zero = jnp.zeros((), hidden.dtype if hidden.dtype == jnp.float64 else jnp.float32)
    first = _Training(
        jnp.asarray(0, jnp.int32),
        leaves,
        optimiser.init(leaves),
        jnp.zeros(len(rows.ids), zero.dtype),
        jnp.asarray(0, jnp.int32),
        zero + jnp.inf,
    )
    return jax.lax.while_loop(
        lambda at: (at.epoch < len(order)) & ~(at.mean < settings.stop_below), epoch, first
    )
