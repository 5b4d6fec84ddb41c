"""What edits cost the model beside the facts: condition of its matrices, held-out perplexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.metrics.perplexity import heldout_perplexity
from jaxedit.metrics.records import Setting
from jaxedit.metrics.score import Score

if TYPE_CHECKING:
    from jaxedit.models.protocol import LanguageModel


class Damage(NamedTuple):
    """Taken of one edited model.

    Attributes:
        condition: largest over smallest singular value of each edited matrix, by name.
        perplexity: of text that has nothing to do with the edits; None if there is none.
    """

    condition: dict[str, float]
    perplexity: Score | None

    def to_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        score = None if self.perplexity is None else self.perplexity.to_dict()
        return {"condition": self.condition, "perplexity": score}


def damage(
    lm: LanguageModel,
    weights: Mapping[str, Any],
    texts: Sequence[str],
    setting: Setting,
    *,
    edits: int,
    seed: int = 0,
) -> Damage:
    """Measures the edited model.

    Args:
        lm: the edited model.
        weights: its edited leaves by name; vectors are passed over.
        texts: held out; may be empty.
        setting: when.
        edits: that the model has received.
        seed: of the bootstrap over texts.
    """
    condition = {name: condition_number(w) for name, w in weights.items() if np.ndim(w) == 2}
    perplexity = heldout_perplexity(lm, texts, setting, edits=edits, seed=seed) if texts else None
    return Damage(condition, perplexity)


def condition_number(matrix: Any) -> float:
    """Largest over smallest singular value, in float64; infinite for a singular matrix.

    From the smaller Gram matrix, so numbers above 1e7 are only known to be large.
    """
    with jax.enable_x64(True):
        squares = np.asarray(_gram_values(jnp.asarray(matrix, jnp.float64)))
    if not np.isfinite(squares).all() or squares[0] <= 0:
        return float("inf")
    return float(np.sqrt(squares[-1] / squares[0]))


@jax.jit
def _gram_values(matrix: jax.Array) -> jax.Array:
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    return jnp.linalg.eigvalsh(tall.T @ tall)
