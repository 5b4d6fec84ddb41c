"""What a relative space costs: operations to make it and to use it, and bytes.

OnceEdit, appendix C, equations (17) to (26), of which the text keeps the words and not the
symbols; Tables 5 and 9 fix what remains. They count R as softmax(cos): DeePEn's division by the
row's length and its factor 100 are `scaling` here and no part of the totals. With an exponential
of 25 operations, and one division a cosine, all three totals of Table 5 come out, cut (not
rounded) to three decimals; no other whole number does. The square root is counted V + A times and
any number from 0 to 100 gives the same.

All counts are exact whole numbers.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import jax

from jaxedit.models import ModelConfig, param_shapes

EXPONENTIAL = 25
SQUARE_ROOT = 25
TERA = 10**12
DECIMALS = 1000  # Table 5 has three


@dataclass(frozen=True)
class Build:
    """Operations that make one model's R, [words, anchors], from embeddings [words, width]."""

    words: int
    anchors: int
    width: int
    exponential: int = EXPONENTIAL
    square_root: int = SQUARE_ROOT

    @property
    def products(self) -> int:
        """Of embeddings with those of the anchors: equation (20)."""
        return self.words * self.anchors * (2 * self.width - 1)

    @property
    def lengths(self) -> int:
        """Of all embeddings and of the anchors': equations (18), (19) and (21)."""
        return (self.words + self.anchors) * (2 * self.width - 1 + self.square_root)

    @property
    def divisions(self) -> int:
        """By the product of two lengths: equation (22)."""
        return self.words * self.anchors

    @property
    def softmax(self) -> int:
        """An exponential and a division an entry, and a sum a row: equations (23) and (24)."""
        return self.words * ((self.exponential + 2) * self.anchors - 1)

    @property
    def scaling(self) -> int:
        """What the tables leave out: the rows' lengths, the division by them, and the factor."""
        return 4 * self.words * self.anchors

    @property
    def total(self) -> int:
        """Equations (25) and (26)."""
        return self.products + self.lengths + self.divisions + self.softmax

    def held(self, bytes_each: int = 4) -> int:
        """Bytes of R; 4 an entry in float32, 2 in bfloat16."""
        return self.words * self.anchors * bytes_each


@dataclass(frozen=True)
class Migration:
    """What it takes to bring a plug-in to one more target: a row of Table 5.

    Attributes:
      target: making the target's R.
      plug: making the plug-in's.
      per_token: operations of the target's forward pass, a token.
    """

    target: Build
    plug: Build
    per_token: int

    @property
    def operations(self) -> int:
        """Of both R."""
        return self.target.total + self.plug.total

    @property
    def tera(self) -> float:
        """The same in TFLOP, cut to three decimals as in Table 5."""
        return self.operations * DECIMALS // TERA / DECIMALS

    @property
    def tera_per_token(self) -> float:
        """TFLOP a token, rounded to three decimals as in Table 5."""
        return float(round(Fraction(self.per_token * DECIMALS, TERA))) / DECIMALS

    @property
    def tokens(self) -> int:
        """Forward passes of one token that cost as much, from the two rounded figures.

        The published table's way; `ceil(operations / per_token)` is the exact number.
        """
        each = round(Fraction(self.per_token * DECIMALS, TERA))
        if not each:  # a model so small that the table's figure would be 0.000
            return math.ceil(Fraction(self.operations, self.per_token))
        return -(-(self.operations * DECIMALS // TERA) // each)

    @property
    def fuse(self) -> int:
        """Operations of both products p R, for each decoded token."""
        return 2 * (self.target.words + self.plug.words) * self.target.anchors

    @property
    def search_step(self) -> int:
        """Operations of one step of the search with its gradient: two products with R_l."""
        return 4 * self.target.words * self.target.anchors

    def held(self, bytes_each: int = 4) -> int:
        """Bytes of both R."""
        return self.target.held(bytes_each) + self.plug.held(bytes_each)


def migration(target: ModelConfig, plug: ModelConfig, anchors: int) -> Migration:
    """The costs of a pair of models, from their shapes.

    Args:
      target: the model to correct.
      plug: the plug-in, the row of its gate counted in `vocab_size`.
      anchors: how many tokens they have in common.
    """
    return Migration(
        Build(target.vocab_size, anchors, target.d_model),
        Build(plug.vocab_size, anchors, plug.d_model),
        forward_operations(target),
    )


def forward_operations(config: ModelConfig) -> int:
    """Operations a token: a product and a sum for each parameter that is no embedding.

    Neither the token embedding nor the LM head is counted, as in Table 5 (counting them would
    give GPT-J 0.012 TFLOP instead of 0.011).
    """
    shapes = param_shapes(config)
    inner = {name: part for name, part in shapes.items() if name not in ("embed", "head")}
    return 2 * sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(inner))
