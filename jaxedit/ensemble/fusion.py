"""The target's next token from two models' logits: OnceEdit's ensemble stage.

Both models' distributions are carried to the anchors, weighted and added (equation 8),

    P = alpha p_s R_s + (1 - alpha) p_l R_l,

and the target says the token that agrees best. The modes are the paper's ablation:

    deepen   fixed weights; search from the target's logits towards P (Huang et al., 2024)
    dw       weights from the plug-in's gate, alpha (dynamic weight)
    dw_zi    dw, searched from zero logits (equation 10)
    dw_ta    dw, searched towards one-hot at argmax_j P_j (equation 11)
    dw_ee    both, OnceEdit itself; the search then ends at T[argmax_j P_j] (see search.py)

With zero logits only tokens in the image of T can be said, nearly the anchors: where the target
would say another one, its nearest anchor comes out, at any alpha. `guard` lets the target speak
for itself where alpha is low, and `eos` says what becomes of the end of a text.
"""

import typing
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.ensemble.certificate import WHOLE, Bounds, Voice, mixed, settle
from jaxedit.ensemble.maps import Map
from jaxedit.ensemble.relative import Space
from jaxedit.ensemble.search import search, search_column, search_probabilities
from jaxedit.errors import UserError
from jaxedit.typed import suggestion

Mode = Literal["deepen", "dw", "dw_zi", "dw_ta", "dw_ee"]
Decoder = Literal["table", "search"]
Variable = Literal["logits", "probabilities"]
Eos = Literal["bypass", "pair", "fuse"]

FROM_ZERO = ("dw_zi", "dw_ee")
ONE_HOT = ("dw_ta", "dw_ee")
SILENT = 1e-6  # a share below which P is the target's own q, and its gradient rounding noise
NO_COLUMN = -1


@dataclass(frozen=True)
class Fusion:
    """How two models' distributions become one token.

    Attributes:
      mode: see above; the paper's Table 2 has deepen, dw and dw_ee.
      decoder: how the search of dw_ee is done: "table" looks its end up, "search" takes its
        steps. The other modes have no table and are always searched.
      learning_rate: of the search (the paper gives none; DeePEn's example has .15).
      steps: of the search (DeePEn: 5).
      weight: the plug-in's fixed share in deepen.
      guard: an alpha below which the target decodes alone; None for never. deepen has no alpha.
      mask_gate: leave the gate's token out of the plug-in's distribution.
      eos: "bypass": where the target would end the text, it ends (DeePEn). "pair": end-of-text of
        both models is one more anchor. "fuse": R decides, as about any token.
      variable: what is searched: "logits" (DeePEn), or "probabilities" with squared distances,
        equations 9 and 10 to the letter; only with decoder="search".
    """

    mode: Mode = "dw_ee"
    decoder: Decoder = "table"
    learning_rate: float = 0.15
    steps: int = 5
    weight: float = 0.5
    guard: float | None = None
    mask_gate: bool = True
    eos: Eos = "bypass"
    variable: Variable = "logits"

    def __post_init__(self) -> None:
        """Refuses what does not exist."""
        for name, known in (
            ("mode", Mode),
            ("decoder", Decoder),
            ("eos", Eos),
            ("variable", Variable),
        ):
            value, known = getattr(self, name), typing.get_args(known)
            if value not in known:
                raise UserError(f"fusion.{name}={value!r}: no such one{suggestion(value, known)}")
        if self.steps < 1 or self.learning_rate <= 0:
            raise UserError(
                f"fusion.steps={self.steps}, learning_rate={self.learning_rate}: "
                "a search takes at least one step of more than nothing"
            )
        for name in ("weight", "guard"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"fusion.{name}={value} is no share; give 0 to 1")
        if self.variable == "probabilities" and self.looks_up:
            raise UserError("fusion.variable='probabilities' is a search; add decoder='search'")

    @property
    def looks_up(self) -> bool:
        """Whether tokens come from the table."""
        return self.mode == "dw_ee" and self.decoder == "table"


class Ends(NamedTuple):
    """Tokens that end a text, for each model; empty if it has none."""

    target: tuple[int, ...] = ()
    plug: tuple[int, ...] = ()


NO_ENDS = Ends()


class Decision(NamedTuple):
    """The next tokens, and what they come from.

    Attributes:
      tokens: of the target's vocabulary, [B] int32; of a word that is spelt, the first.
      columns: argmax_j P_j, [B] int32, from A on the words of `space.spelt`, the pair being the
        last; NO_COLUMN in modes with a soft target.
      rows: rows of R that proved the column, WHOLE where all were multiplied, [B] int32.
      fused: whether the token is the ensemble's, not the target's own (guard, bypass), [B] bool.
    """

    tokens: jax.Array
    columns: jax.Array
    rows: jax.Array
    fused: jax.Array


def fuse(space: Space, p_l: jax.Array, p_s: jax.Array, alpha: jax.Array) -> jax.Array:
    """P = alpha p_s R_s + (1 - alpha) p_l R_l (equation 8), [B, A] float32.

    Args:
      space: both R.
      p_l: the target's distribution, [B, V_l].
      p_s: the plug-in's, [B, V_s].
      alpha: the plug-in's share, [B].
    """
    return mixed(
        Voice(Map(space.main), p_l, 1.0 - alpha),
        Voice(Map(space.plug), p_s, alpha),
    )


def choose(
    fusion: Fusion,
    space: Space,
    logits_l: jax.Array,
    logits_s: jax.Array,
    alpha: jax.Array,
    *,
    gate_id: int | None = None,
    ends: Ends = NO_ENDS,
    bounds: Bounds | None = None,
) -> jax.Array:
    """The target's next tokens, [B] int32: `decide` without the reasons."""
    made = decide(
        fusion, space, logits_l, logits_s, alpha, gate_id=gate_id, ends=ends, bounds=bounds
    )
    return made.tokens


def decide(
    fusion: Fusion,
    space: Space,
    logits_l: jax.Array,
    logits_s: jax.Array,
    alpha: jax.Array,
    *,
    gate_id: int | None = None,
    ends: Ends = NO_ENDS,
    bounds: Bounds | None = None,
) -> Decision:
    """The target's next tokens, with their reasons; to be compiled with all but arrays static.

    Args:
      fusion: how.
      space: both R and the table.
      logits_l: the target's, [B, V_l].
      logits_s: the plug-in's, [B, V_s], the gate's among them.
      alpha: what the gate says of each text, [B].
      gate_id: the gate's token, for `mask_gate`.
      ends: tokens that end a text.
      bounds: `certificate.bounds_of(space)`, to find the best anchor from a few rows of R; without
        them all of R is multiplied. The token is the same.

    Raises:
      UserError: end-of-text is to be paired, and one of the models has none.
    """
    own = jnp.argmax(logits_l, axis=-1).astype(jnp.int32)
    alpha = alpha.astype(jnp.float32)
    share = jnp.full_like(alpha, fusion.weight) if fusion.mode == "deepen" else alpha
    logits_l, logits_s = logits_l.astype(jnp.float32), logits_s.astype(jnp.float32)
    if fusion.mask_gate and gate_id is not None:
        logits_s = jnp.where(jnp.arange(logits_s.shape[1]) == gate_id, -jnp.inf, logits_s)
    target, plug, table = _maps(fusion, space, ends)
    voices = (
        Voice(target, jax.nn.softmax(logits_l, axis=-1), 1.0 - share),
        Voice(plug, jax.nn.softmax(logits_s, axis=-1), share),
    )
    made = _fused(fusion, voices, table, logits_l, bounds)
    alone = jnp.zeros(own.shape, bool)
    if fusion.guard is not None and fusion.mode != "deepen":
        alone |= alpha < fusion.guard
    if fusion.eos == "bypass" and ends.target:
        alone |= jnp.isin(own, jnp.asarray(ends.target))
    return made._replace(tokens=jnp.where(alone, own, made.tokens), fused=~alone)


def _maps(fusion: Fusion, space: Space, ends: Ends) -> tuple[Map, Map, jax.Array]:
    """Both R with the columns beyond them, and the table of what all columns begin with."""
    target, plug, table = Map(space.main), Map(space.plug), space.table
    if fusion.looks_up and space.spelt is not None:
        words, tokens = (jnp.asarray(x) for x in space.spelt)
        # The target has none of these words: their columns take nothing of what it says.
        target = target._replace(words=jnp.full_like(words, space.main.shape[0]))
        plug = plug._replace(words=words)
        table = jnp.concatenate([table, tokens[:, 0]])
    return _paired(target, plug, table, ends) if fusion.eos == "pair" else (target, plug, table)


def _paired(target: Map, plug: Map, table: jax.Array, ends: Ends) -> tuple[Map, Map, jax.Array]:
    """Both with end-of-text as one more column, and the table with the target's end-of-text."""
    for name, found in (("target", ends.target), ("plug-in", ends.plug)):
        if not found:
            raise UserError(
                f"fusion.eos='pair': the {name} has no end-of-text token; use 'bypass' or 'fuse'"
            )
    maps = [
        m._replace(ends=jnp.zeros(m.relative.shape[0], bool).at[jnp.asarray(ids)].set(True))
        for m, ids in ((target, ends.target), (plug, ends.plug))
    ]
    return maps[0], maps[1], jnp.concatenate([table, jnp.asarray(ends.target[:1], table.dtype)])


def _fused(
    fusion: Fusion,
    voices: tuple[Voice, Voice],
    table: jax.Array,
    logits: jax.Array,
    bounds: Bounds | None,
) -> Decision:
    """What the ensemble says, whatever the target would."""
    target, everything = voices[0].map, jnp.full(len(logits), WHOLE, jnp.int32)
    fused, columns, rows = None, jnp.full(len(logits), NO_COLUMN, jnp.int32), everything
    if fusion.mode in ONE_HOT and bounds is not None:
        columns, rows, _ = settle(*voices, bounds)
    else:
        fused = mixed(*voices)
        if fusion.mode in ONE_HOT:
            columns = jnp.argmax(fused, axis=-1).astype(jnp.int32)
    if fusion.looks_up:
        tokens = table[columns]
    else:
        tokens = jnp.argmax(_searched(fusion, target, voices, logits, fused, columns), axis=-1)
    return Decision(tokens.astype(jnp.int32), columns, rows, jnp.ones(len(logits), bool))


def _searched(
    fusion: Fusion,
    target: Map,
    voices: tuple[Voice, Voice],
    logits: jax.Array,
    fused: jax.Array | None,
    columns: jax.Array,
) -> jax.Array:
    """Logits (or probabilities) over the target's vocabulary after the search, [B, V]."""
    settings = {"learning_rate": fusion.learning_rate, "steps": fusion.steps}
    literal = fusion.variable == "probabilities"
    start = voices[0].p if literal else logits
    start = jnp.zeros_like(start) if fusion.mode in FROM_ZERO else start
    if fusion.mode in ONE_HOT and not literal:
        return search_column(target.columns(columns), target.anchors, start, **settings).values
    if fusion.mode in ONE_HOT:
        fused = jax.nn.one_hot(columns, target.anchors, dtype=jnp.float32)
    assert fused is not None
    found = (search_probabilities if literal else search)(target, start, fused, **settings).values
    if fusion.mode in FROM_ZERO or fusion.mode in ONE_HOT:
        return found
    # Without a plug-in's share P is what the target says already.
    return jnp.where((voices[1].share < SILENT)[:, None], start, found)
