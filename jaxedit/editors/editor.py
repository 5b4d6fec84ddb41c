"""What an editing method is: pure functions over a state, as in Optax.

The driver makes the loop, so a sequence of edits and a batch of them cannot be confused:
`edit` always makes exactly one update, of one fact or of one batch. `lm` is always the
unedited model. The state is a pytree and is all that a restart needs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.editors.values import Values
from jaxedit.models.transformer import Transformer


class Factors(NamedTuple):
    """What one update adds to each layer: Delta's ingredients, and what undoing it needs.

    Attributes:
      keys: one [n, v] a layer.
      residuals: one [n, u] a layer, float64.
    """

    keys: tuple[np.ndarray, ...]
    residuals: tuple[np.ndarray, ...]


State = Any
Prepared = Any
Log = dict[str, np.ndarray]


@runtime_checkable
class Editor(Protocol):
    """A method with its hyper-parameters and resources, as a frozen dataclass.

    Where `values_ahead` is true, `prepare` should be given many facts at once.
    """

    @property
    def layers(self) -> tuple[int, ...]:
        """The edited layers, ascending; empty if all of them may be."""
        ...

    @property
    def values_ahead(self) -> bool:
        """Whether what is costly in an edit does not depend on the edits before it."""
        ...

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """Names of the leaves that it may change; see `weights.leaf_names`."""
        ...

    def init(self, lm: Transformer) -> State:
        """The state before the first edit."""
        ...

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> Prepared:
        """All that does not depend on history; every leaf has a row a fact."""
        ...

    def edit(self, lm: Transformer, state: State, prepared: Prepared) -> tuple[State, Log]:
        """One update with all the facts of `prepared`; the log has a row a fact.

        Raises:
          FloatingPointError: naming what is not finite; the given state is still good.
        """
        ...

    def bind(self, lm: Transformer, state: State) -> Transformer:
        """The edited model."""
        ...

    def snapshot(self, state: State) -> Any:
        """The arrays to keep in a checkpoint."""
        ...

    def restore(self, lm: Transformer, tree: Any) -> State:
        """The state from a snapshot, with all that can be derived computed afresh.

        A live run goes on from ``restore(lm, snapshot(state))`` at each checkpoint, so that a
        restarted run takes the same numbers from there.
        """
        ...


def take(prepared: Prepared, start: int, stop: int) -> Prepared:
    """The facts `start` to `stop` - 1 of what was prepared."""
    return jax.tree.map(lambda x: x[start:stop], prepared)


def value_log(values: Values) -> Log:
    """How the optimisation of each fact's value went."""
    return {
        "loss": np.asarray(values.loss),
        "probability": np.asarray(values.probability),
        "initial_probability": np.asarray(values.initial_probability),
        "updates": np.asarray(values.updates),
    }


def check_finite(log: Log, layer: int) -> None:
    """Refuses an update with a loss that is not finite.

    Args:
      log: with "loss" and "updates", a row a fact.
      layer: where the value is optimised, or the first one that is trained.

    Raises:
      FloatingPointError: with the fact's row, the layer and the step.
    """
    bad = np.flatnonzero(~np.isfinite(log["loss"]))
    if len(bad):
        row = int(bad[0])
        step = int(log["updates"][row])
        raise FloatingPointError(
            f"layer {layer}: the loss of fact {row} of this update is not finite at step {step}"
        )
