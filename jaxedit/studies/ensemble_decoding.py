"""What an ensemble's options change in what it says, and whether the look-up is the search.

One edited plug-in, one target. Nothing is edited or trained here: the options are of decoding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.ensemble.anchors import Anchors
from jaxedit.ensemble.ensemble import Ensemble
from jaxedit.ensemble.maps import Map
from jaxedit.ensemble.plugin import Plugin
from jaxedit.ensemble.relative import Space
from jaxedit.ensemble.search import exceptions, ties
from jaxedit.ensemble.spaces import open_space
from jaxedit.metrics.generation import gives
from jaxedit.models.transformer import Transformer

STOPPED = "end by themselves"


class Asked(NamedTuple):
    """A question, with what is right."""

    role: str  # "edits", "paraphrases", "neighbours" or a part of one
    prompt: str  # wrapped
    answer: str


class Variant(NamedTuple):
    """One way to decode.

    Attributes:
        title: what it is.
        anchors: rule; see `jaxedit.ensemble.anchors.find_anchors`.
        spelt: whether the target spells the plug-in's words that are no anchors.
        fusion: settings of `jaxedit.ensemble.fusion.Fusion`; None for the target alone.
        ensemble: settings of `Ensemble`.
    """

    title: str
    anchors: str = "deepen"
    spelt: bool = False
    fusion: Mapping[str, Any] | None = {}
    ensemble: Mapping[str, Any] = {}


VARIANTS = (
    Variant("target alone", fusion=None),
    Variant("end-of-text: the target's own"),
    Variant("end-of-text: fused", fusion={"eos": "fuse"}),
    Variant("end-of-text: paired", fusion={"eos": "pair"}),
    Variant("end-of-text: the plug-in's, too", ensemble={"stop_with_plug": 0.5}),
    Variant("byte-exact anchors", "bytes"),
    Variant("guard .5", fusion={"guard": 0.5}),
    Variant("other words spelt", spelt=True),
    Variant("byte-exact, spelt, paired, guard .5", "bytes", True, {"eos": "pair", "guard": 0.5}),
)

# From the target's own logits five steps reach 1.35 nats at DeePEn's rate of .15, 9 at 1, 18 at 2.
SEARCHES = tuple(
    Variant(f"{title}, rate {rate:g}", fusion={"mode": mode, "learning_rate": rate})
    for mode, title in (("deepen", "DEEPEN"), ("dw", "+DW"))
    for rate in (1.0, 2.0)
)


class Line(NamedTuple):
    """What one variant does.

    Attributes:
        title: of the variant.
        right: by role, the share of answers that are right, generated, exact.
        stopped: by role, the share that ended before the limit of tokens.
        same: share of neighbours whose text is the target's own.
    """

    title: str
    right: Mapping[str, float]
    stopped: Mapping[str, float]
    same: float


class LookUp(NamedTuple):
    """How a table compares with the float64 search over all of its columns.

    Attributes:
        title: of the space.
        columns: how many: all anchors, and the pair.
        exceptions: learning rate -> columns from which the search ends elsewhere.
        ties: columns whose two largest entries a float32 search may not tell apart.
        nearest: the closest two of one column, second over largest entry; a column that has
            nothing where the table points (the pair's double) is left out.
        foreign: columns whose table entry is not the anchor's own token.
    """

    title: str
    columns: int
    exceptions: Mapping[float, Sequence[int]]
    ties: Sequence[int]
    nearest: float
    foreign: int


def asked_of(facts: Sequence[Fact], form: str = "{}") -> list[Asked]:
    """Each fact's question, first paraphrase and first neighbour that is no edit."""
    edited = {text for fact in facts for text in (fact.question, *fact.paraphrases)}
    found = []
    for fact in facts:
        others = [q for q in fact.neighbours if q.prompt not in edited][:1]
        found += [("edits", fact.question, fact.target)]
        found += [("paraphrases", text, fact.target) for text in fact.paraphrases[:1]]
        found += [("neighbours", question.prompt, question.answer) for question in others]
    return [Asked(role, form.replace("{}", prompt), answer) for role, prompt, answer in found]


def by_anchors(asked: Sequence[Asked], plugin: Plugin, anchors: Anchors) -> list[Asked]:
    """The same questions, the edits in two roles: does the plug-in say the answer in anchors?

    Where it needs another token, what an ensemble says in its place is the token's neighbour.
    """
    common = set(anchors.plug.tolist())
    found = []
    for one in asked:
        if one.role == "edits":
            ids, start = plugin.lm.tokenizer.encode_pair(one.prompt, one.answer)
            role = "edits in anchors" if common.issuperset(ids[start:]) else "edits in other words"
            one = one._replace(role=role)
        found.append(one)
    return found


def compare(
    target: Transformer,
    plugin: Plugin,
    asked: Sequence[Asked],
    *,
    max_new_tokens: int,
    stop: Sequence[str] = ("\n",),
    variants: Sequence[Variant] = VARIANTS,
    cache: str | Path | None = None,
) -> list[Line]:
    """Every variant's answers to the same questions; ``cache`` is that of the relative spaces."""
    prompts = [one.prompt for one in asked]
    used = dict.fromkeys((one.anchors, one.spelt) for one in variants if one.fusion is not None)
    spaces = {
        (rule, spelt): open_space(target, plugin.lm, rule, cache=cache, spelt=spelt)
        for rule, spelt in used
    }
    alone = target.continuations(prompts, max_new_tokens, stop)
    # A row that ended has its last token for it, or fewer tokens than it might have had.
    final = target.final_ids()
    found = []
    for variant in variants:
        lm = decoder(variant, target, plugin, spaces)
        made = lm.continuations(prompts, max_new_tokens, stop)
        right = [gives(m.text, one.answer) for m, one in zip(made, asked, strict=True)]
        ended = [len(m.ids) < max_new_tokens or m.ids[-1] in final for m in made]
        same = [m.text.strip() == a.text.strip() for m, a in zip(made, alone, strict=True)]
        shares = _shares(asked, right), _shares(asked, ended), _shares(asked, same)
        found.append(Line(variant.title, *shares[:2], shares[2]["neighbours"]))
    return found


def decoder(
    variant: Variant,
    target: Transformer,
    plugin: Plugin,
    spaces: Mapping[tuple[str, bool], Space],
) -> Transformer | Ensemble:
    """The model that a variant asks; ``spaces`` are by the anchors' rule and whether words are
    spelt."""
    if variant.fusion is None:
        return target
    whole = Ensemble(target, plugin, spaces[variant.anchors, variant.spelt], **variant.ensemble)
    return dataclasses.replace(whole, fusion=dataclasses.replace(whole.fusion, **variant.fusion))


def _shares(asked: Sequence[Asked], values: Sequence[bool]) -> dict[str, float]:
    roles = dict.fromkeys(one.role for one in asked)
    return {
        role: float(np.mean([v for v, one in zip(values, asked, strict=True) if one.role == role]))
        for role in roles
    }


def look_up(
    title: str,
    space: Space,
    rates: Sequence[float],
    own: np.ndarray,
    ends: Sequence[int] = (),
) -> LookUp:
    """The table against the search, from every column.

    Args:
        title: of the space.
        space: of a target and a plug-in; only the target's side counts.
        rates: learning rates of the search.
        own: the anchors' ids in the target's vocabulary, [A].
        ends: the target's end-of-text tokens, to pair them; none for no pair.
    """
    target, table = Map(space.main), space.table
    if ends:
        mask = jnp.zeros(space.main.shape[0], bool).at[jnp.asarray(ends)].set(True)
        target = Map(space.main, mask)
        table = jnp.concatenate([table, jnp.asarray(ends[:1], table.dtype)])
    found = {rate: exceptions(target, table, learning_rate=rate).tolist() for rate in rates}
    level = ties(target, table)
    foreign = int((np.asarray(space.table) != np.asarray(own)).sum())
    ratios = ties(target, table, 0.0).ratios
    nearest = float(max(ratios[np.isfinite(ratios)], default=0.0))
    return LookUp(title, len(table), found, level.columns.tolist(), nearest, foreign)


def answers_table(target: str, lines: Sequence[Line]) -> str:
    """Markdown, in %."""
    roles = lines[0].right
    heads = [*(f"{role}, right" for role in roles), "neighbours as the target's"]
    heads += [f"{role}, {STOPPED}" for role in roles]
    rows = [f"| {target} | {' | '.join(heads)} |", f"|{'---|' * (len(heads) + 1)}"]
    for line in lines:
        values = [*line.right.values(), line.same, *line.stopped.values()]
        rows.append(f"| {line.title} | {' | '.join(f'{100 * x:.1f}' for x in values)} |")
    return "\n".join(rows) + "\n"


def look_up_table(found: Sequence[LookUp]) -> str:
    """Markdown."""
    rates = list(found[0].exceptions)
    heads = ["columns", *(f"other end at rate {rate:g}" for rate in rates)]
    heads += ["float32 ties", "closest two", "not the anchor's own token"]
    rows = [f"| space | {' | '.join(heads)} |", f"|{'---|' * (len(heads) + 1)}"]
    for one in found:
        counts = [str(one.columns), *(str(len(one.exceptions[rate])) for rate in rates)]
        counts += [str(len(one.ties)), f"{one.nearest:.4f}", str(one.foreign)]
        rows.append(f"| {one.title} | {' | '.join(counts)} |")
    return "\n".join(rows) + "\n"
