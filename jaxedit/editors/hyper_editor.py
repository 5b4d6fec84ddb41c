"""What MEND and MALMEN share: gradients are captured, a network rewrites them, kernels move.

A method says how the rewritten rows become a change of each kernel (`change`, for a whole update,
and `shift`, the same as one function that can be differentiated), and what is trained besides the
network. Training edits a few records on the unedited model, looks at what followed, and moves the
network; see `meta_losses` and `meta_training`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

from jaxedit.data.fact import Fact
from jaxedit.editors import weights
from jaxedit.editors.captures import CHUNK, Captured, Tokens, capture, check_losses
from jaxedit.editors.editor import Log, take
from jaxedit.editors.hyper_network import (
    Blocks,
    Scales,
    Shift,
    Trained,
    follow_rows,
    initial_network,
    multiplications,
    no_rows,
    pulled,
    shifted,
)
from jaxedit.editors.hyper_rows import Asked, Exercises, edit_rows, exercises, fill_up
from jaxedit.editors.meta_losses import Outer, outer
from jaxedit.editors.meta_training import MetaTraining, Problem, TrainedOnce
from jaxedit.editors.rows import TargetRows
from jaxedit.editors.weights import EditedLeaves, WritesLeaves, check_layers, leaf_names
from jaxedit.errors import UserError
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import replicate


@dataclasses.dataclass(frozen=True)
class HyperEditor(TrainedOnce, WritesLeaves):
    """An editor with a hyper-network.

    Attributes:
      layers: edited blocks, ascending.
      modules: linears that are edited in each of them.
      rank: of the network's blocks.
      blocks: of the network.
      rate: how far kernels move, at first; the sign counts, see the methods.
      rates_learning_rate: of the rates and ridges; None is the network's.
      edit_weight: of the loss where an edit should show.
      local_weight: of the divergence where nothing should change.
      tokens: whose keys and gradients count.
      asked: where an edit should show in training; see `hyper_rows`.
      joint: the captured loss is the mean over all tokens of an update, as in the published code,
        so that a fact moves kernels less in company; else each fact's own mean.
      label_bos: ask for BOS before targets, where there is one, as the published code does.
      remat: run blocks again in the backward pass of training; slower, and takes less memory.
      training: how the network is trained.
      trained: what training gave; None before.
    """

    layers: tuple[int, ...]
    modules: tuple[str, ...] = ("mlp.up", "mlp.down")
    rank: int = 1920
    blocks: int = 2
    rate: float = 1e-4
    rates_learning_rate: float | None = None
    edit_weight: float = 1.0
    local_weight: float = 1.0
    tokens: Tokens = "all"
    asked: Asked = "paraphrase"
    joint: bool = False
    label_bos: bool = False
    remat: bool = True
    training: MetaTraining = dataclasses.field(default_factory=MetaTraining)
    trained: Trained | None = dataclasses.field(default=None, repr=False, compare=False)
    values_ahead: bool = dataclasses.field(default=False, init=False)

    @property
    def shift(self) -> Shift:
        """(trained, captured) -> the change of each kernel [inputs, outputs]; a pure function."""
        raise NotImplementedError

    def change(self, trained: Trained, parts: Iterator[Captured]) -> dict[str, jax.Array]:
        """The change of each kernel by one update, captured some facts at a time."""
        raise NotImplementedError

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """The edited kernels."""
        return leaf_names(lm, self.layers, self.modules)

    def init(self, lm: Transformer) -> EditedLeaves:
        """The model's own kernels."""
        check_layers(lm, self.layers)
        return EditedLeaves(weights.leaves(lm, self.places(lm)), 0)

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> TargetRows:
        """Tokenises the facts."""
        return edit_rows(lm.tokenizer, facts, label_bos=self.label_bos)

    def edit(
        self, lm: Transformer, state: EditedLeaves, prepared: TargetRows
    ) -> tuple[EditedLeaves, Log]:
        """One update with all the facts of `prepared`, on the model as it is by now.

        Raises:
          UserError: the network is not trained.
          FloatingPointError: naming what is not finite.
        """
        if self.trained is None:
            raise UserError(
                f"{type(self).__name__} edits with a network that is trained once; call fit(lm, "
                "facts) first, or name training records (--config.fit)"
            )
        now, losses = self.bind(lm, state), []
        change = self.change(self.trained, self._parts(now, prepared, losses))
        loss = np.concatenate(losses)[: len(prepared.ids)]
        check_losses(loss)
        leaves = {}
        for name, kernel in state.leaves.items():
            if not np.isfinite(np.asarray(change[name])).all():
                raise FloatingPointError(f"the change of {name} by this update is not finite")
            leaves[name] = _sum(kernel, replicate(change[name], lm.mesh))
        log = {"loss": loss, "probability": np.exp(-loss)}
        return EditedLeaves(leaves, state.edits + len(loss)), log

    def captured(self, lm: Transformer, rows: TargetRows, tokens: int | None = None) -> Captured:
        """Keys, gradients of the facts' losses as `joint` says, and their mean losses.

        Args:
          lm: the model as it is.
          rows: of n facts.
          tokens: target tokens of the whole update; None if these are all.
        """
        found = capture(lm, rows, self.places(lm), self.tokens)
        count = np.asarray(rows.target_mask).sum(1)
        mean = (1 / np.maximum(count, 1)).astype(np.float32)  # [n]
        share = np.full_like(mean, 1 / (tokens or count.sum())) if self.joint else mean
        gradients = {name: g * share[:, None, None] for name, g in found.gradients.items()}
        return Captured(found.keys, gradients, found.loss * mean)

    def _parts(
        self, lm: Transformer, rows: TargetRows, losses: list[np.ndarray]
    ) -> Iterator[Captured]:
        """Captures of some facts at a time, filled up so that few shapes are compiled.

        The facts' losses are appended to `losses` on the way.
        """
        count = len(rows.ids)
        tokens = int(np.asarray(rows.target_mask).sum())
        step = min(CHUNK, 1 << (count - 1).bit_length())
        for start in range(0, count, step):
            some = fill_up(take(rows, start, start + step), step)
            part = self.captured(lm, some, tokens)
            losses.append(np.asarray(part.loss))
            yield part

    def problem(self, lm: Transformer, facts: Sequence[Fact]) -> Problem:
        """Training of the network on these records."""
        check_layers(lm, self.layers)
        made = exercises(lm.tokenizer, facts, self.asked, label_bos=self.label_bos)
        initial = self.initial(lm, made.edit)
        name = type(self).__name__.upper()
        return Problem(
            title=f"{name} for {lm.name}",
            initial=initial,
            optimiser=self._optimiser(initial),
            gradient=partial(self._gradient, lm, made),
            losses=partial(self._losses, lm, made),
            records=len(facts),
            operations=self._operations(lm, made),
        )

    def initial(self, lm: Transformer, rows: TargetRows) -> Trained:
        """A network that is the identity, with the scales of the training records' rows."""
        shapes = self._shapes(lm)
        seen = no_rows(shapes)
        for part in self._parts(lm, rows, []):
            seen = follow_rows(seen, part)
        made = Trained(
            initial_network(shapes, self.rank, self.blocks, self.training.seed),
            {name: np.float32(self.rate) for name in shapes},
            self.initial_ridges(tuple(shapes)),
            {shape: Scales.of(rows) for shape, rows in seen.items()},
        )
        return replicate(made, lm.mesh)

    def _shapes(self, lm: Transformer) -> dict[str, tuple[int, ...]]:
        return {name: weights.leaf(lm, name).shape for name in self.places(lm)}

    def initial_ridges(self, names: Sequence[str]) -> dict[str, Any]:
        """Of each kernel, where there is one."""
        return {}

    def pack(self, trained: Trained) -> dict[str, Any]:
        """As nested dictionaries."""
        return {
            **trained._asdict(),
            "network": {shape: own._asdict() for shape, own in trained.network.items()},
            "scales": {shape: own._asdict() for shape, own in trained.scales.items()},
        }

    def unpack(self, lm: Transformer, tree: Mapping[str, Any]) -> Trained:
        """From what `pack` made."""
        named = {
            "network": {shape: Blocks(**own) for shape, own in tree["network"].items()},
            "scales": {shape: Scales(**own) for shape, own in tree["scales"].items()},
        }
        return replicate(Trained(**{**tree, **named}), lm.mesh)

    def _optimiser(self, initial: Trained) -> optax.GradientTransformation:
        own = self.rates_learning_rate
        rates = self.training.rate if own is None else own
        kinds: dict[Any, optax.GradientTransformation] = {
            "network": optax.adam(self.training.rate),
            "rates": optax.adam(rates),
            "set": optax.set_to_zero(),
        }
        labels = Trained("network", "rates", "rates", "set")  # type: ignore[arg-type]
        return optax.multi_transform(kinds, labels)

    def _gradient(
        self, lm: Transformer, made: Exercises, trained: Trained, places: Any, rng: Any
    ) -> tuple[Trained, Mapping[str, Any]]:
        edit, asked, local = made.draw(places, rng)
        captured = self.captured(lm, edit)
        said, slope = self._outer(lm, trained, captured, asked, local, gradient=True)
        return pulled(trained, captured, slope, shift=self.shift), self._numbers(said)

    def _losses(
        self, lm: Transformer, made: Exercises, trained: Trained, places: Any, rng: Any
    ) -> Mapping[str, Any]:
        edit, asked, local = made.draw(places, rng)
        captured = self.captured(lm, edit)
        said, _ = self._outer(lm, trained, captured, asked, local, gradient=False)
        return self._numbers(said)

    def _outer(
        self,
        lm: Transformer,
        trained: Trained,
        captured: Captured,
        asked: TargetRows,
        local: TargetRows,
        *,
        gradient: bool,
    ) -> tuple[Outer, dict[str, jax.Array]]:
        """What the edited model says, and the gradient at its kernels."""
        change = shifted(trained, captured, shift=self.shift)
        kernels = weights.leaves(lm, self.places(lm))
        return outer(
            lm,
            {name: _sum(kernel, change[name]) for name, kernel in kernels.items()},
            asked,
            local,
            edit_weight=self.edit_weight,
            local_weight=self.local_weight,
            gradient=gradient,
            remat=self.remat,
        )

    def _numbers(self, said: Outer) -> dict[str, Any]:
        loss = self.edit_weight * said.edit + self.local_weight * said.local
        return {"loss": loss, **said._asdict()}

    def _operations(self, lm: Transformer, made: Exercises) -> float:
        """Of one gradient: runs of the blocks below the first edited one, and of the rest."""
        size = sum(leaf.size for leaf in jax.tree.leaves(lm.params))
        above = 1 - self.layers[0] / lm.config.n_layers
        runs = (
            (made.edit, 1 + above),  # forward, and back for activations alone
            (made.asked, 1 + (2 + self.remat) * above),
            (made.local, 1 + (3 + self.remat) * above),
        )
        model = sum(2 * size * rows.ids.shape[1] * share for rows, share in runs)
        network = multiplications(self._shapes(lm), self.rank, self.blocks)
        seen = made.edit.ids.shape[1] if self.tokens == "all" else made.edit.target.shape[1]
        return self.training.batch * (model + 2 * 4 * network * seen)  # forward twice, and back


@jax.jit
def _sum(old: jax.Array, change: jax.Array) -> jax.Array:
    return old + change.astype(old.dtype)
