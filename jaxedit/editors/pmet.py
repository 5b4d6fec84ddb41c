"""PMET (Li et al. 2023, "Precise Model Editing in a Transformer").

MEMIT with two values at the last edited layer, one for its attention's output and one for its
MLP's, optimised together; only the MLP's is written. What a layer is to reach is the residual
of that MLP output, shared by the square root of the number of layers left:

    R_j = (Z_mlp - current) / sqrt(m - j + 1)

Once every token of the target is the likeliest, its loss counts a tenth, and the optimisation
stops when the divergence is small.
"""

import dataclasses
import math
from typing import ClassVar

from jaxedit.editors.memit import Memit
from jaxedit.editors.values import ATTENTION_OUT, MLP_OUT, Sites, ValueSettings

RELAXED = 0.1


@dataclasses.dataclass(frozen=True)
class Pmet(Memit):
    """PMET, in batches of any size, one after another."""

    values: ValueSettings = dataclasses.field(
        default_factory=lambda: ValueSettings(relaxed_factor=RELAXED)
    )

    sites: ClassVar[Sites] = (MLP_OUT, ATTENTION_OUT)

    def share(self, left: int) -> float:
        """The root of the number of layers left."""
        return math.sqrt(left)
