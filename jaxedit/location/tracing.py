"""Causal tracing (Meng et al. 2022a, section 2): which hidden states carry a fact to its answer.

The prompt of a known fact is run clean, and with noise on its subject's token embeddings, which
makes the model forget the answer o. Then one state of the clean run at a time is put back into
the noisy runs:

    high = p(o) clean,  low = mean p(o) over the noisy runs,
    IE(token, layer) = mean p(o) over the noisy runs with that state put back  -  low.

The state is a block's output ("none"), or the output of the MLP or of attention in a window of
layers around it ("mlp", "attn"). "severed_mlp" and "severed_attn" put back a block's output while
every MLP (attention) at that token gives what it gave in the noisy run: what is lost against
"none" went through these modules. effects.py averages over facts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.location.tracing_program import EVERY, KINDS, Cell, Plan, TraceSettings, trace_facts
from jaxedit.models.text import Tokenizer, pad_batch, round_up
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel, fetch


class Recall(NamedTuple):
    """A fact as tokens.

    Attributes:
      ids: the prompt's.
      first: index of the subject's first token.
      end: index behind its last.
      answer: the tokens that are expected after the prompt; o is the first of them.
    """

    ids: tuple[int, ...]
    first: int
    end: int
    answer: tuple[int, ...]


class Trace(NamedTuple):
    """What tracing one fact gave; probabilities of o.

    Attributes:
      high: of the clean run.
      low: mean over the noisy runs.
      cells: by kind, mean over the noisy runs with a state put back, [T, L]; NaN where nothing
        was traced (before the subject).
      whole: the same with every token of a block's output put back, [L]: equals `high`, up to
        rounding.
    """

    high: float
    low: float
    cells: dict[str, np.ndarray]
    whole: np.ndarray

    def effect(self, kind: str) -> np.ndarray:
        """IE, [T, L]."""
        return self.cells[kind] - self.low


def expected(fact: Fact) -> str:
    """What an unedited model should answer: the answer to be replaced, or the only one named."""
    return fact.previous or fact.target


def recall(tokenizer: Tokenizer, fact: Fact) -> Recall | None:
    """The fact as tokens; None if its subject has none of its own in the prompt."""
    begin = fact.prompt.index("{}")
    end = begin + len(fact.subject)
    whole, start = tokenizer.encode_pair(fact.question, expected(fact))
    _, spans = tokenizer.encode_with_offsets(fact.question)
    inside = [i for i, (a, b) in enumerate(spans[:start]) if a < end and b > max(a, begin)]
    if not inside:
        return None
    return Recall(tuple(whole[:start]), inside[0], inside[-1] + 1, tuple(whole[start:]))


def known(
    lm: Transformer, facts: Sequence[Fact], *, single_token: bool = False
) -> dict[int, Recall]:
    """Those facts whose answer is what the model greedily says, by their place.

    Args:
      lm: the model.
      facts: what it is asked.
      single_token: keep only answers of one token, as the published code does.
    """
    found = {i: recall(lm.tokenizer, fact) for i, fact in enumerate(facts)}
    asked = {i: fact for i, fact in found.items() if fact is not None}
    forced = lm.teacher_forced(
        [facts[i].question for i in asked], [expected(facts[i]) for i in asked]
    )
    return {
        i: fact
        for (i, fact), said in zip(asked.items(), forced, strict=True)
        if np.array_equal(said.predicted_ids, said.target_ids)
        and (len(fact.answer) == 1 or not single_token)
    }


def embedding_deviation(lm: Transformer, facts: Sequence[Fact]) -> float:
    """Standard deviation over all coordinates of the token embeddings of all subjects.

    Subjects are tokenised alone, without BOS; a subject counts as often as it occurs.
    """
    ids: list[int] = []
    for fact in facts:
        tokens, spans = lm.tokenizer.encode_with_offsets(fact.subject)
        ids += [token for token, (a, b) in zip(tokens, spans, strict=True) if b > a]
    table = lm.params["embed"]["tokens"][np.asarray(ids)]
    return float(fetch(table).astype(np.float64).std(ddof=1))


def draw_noise(fact: Recall, settings: TraceSettings, scale: float, width: int) -> np.ndarray:
    """What is added to the subject's tokens, [samples, subject tokens, width] float64."""
    random = np.random.RandomState(settings.seed)
    return scale * random.randn(settings.samples, fact.end - fact.first, width)


def trace(
    lm: Transformer,
    facts: Sequence[Recall],
    settings: TraceSettings,
    scale: float,
    *,
    before_subject: bool = False,
) -> Iterator[Trace]:
    """Traces facts, as many at a time as there are devices; yields in their order.

    Args:
      lm: the model.
      facts: all of them known to it.
      settings: how.
      scale: standard deviation of the noise (settings.noise times `embedding_deviation`).
      before_subject: trace tokens before the subject, too; nothing can come of them.
    """
    length = round_up(max(len(fact.ids) for fact in facts), 4)
    plan = Plan.of(settings, lm.config.n_layers, length)
    call = data_parallel(trace_facts, lm.mesh, chunk=1, config=lm.config, plan=plan)
    for start in range(0, len(facts), lm.mesh.data):
        some = facts[start : start + lm.mesh.data]
        cells = [
            plan.cells(range(0 if before_subject else fact.first, len(fact.ids))) for fact in some
        ]
        high, low, scores = call(lm.params, _batch(lm, some, plan, cells, scale))
        for i, fact in enumerate(some):
            mine = [np.asarray(stage[i]) for stage in scores]
            yield _assemble(fact, plan, float(high[i]), float(low[i]), cells[i], mine)


def _batch(
    lm: Transformer,
    facts: Sequence[Recall],
    plan: Plan,
    cells: Sequence[list[list[Cell]]],
    scale: float,
) -> dict[str, Any]:
    """Arrays with a row a fact."""
    ids, mask = pad_batch(
        [fact.ids for fact in facts], length=plan.length, pad_id=lm.tokenizer.pad_id
    )
    shape = (len(facts), plan.settings.samples, plan.length, lm.config.d_model)
    noise = np.zeros(shape, np.float32)
    for row, fact in zip(noise, facts, strict=True):
        row[:, fact.first : fact.end] = draw_noise(fact, plan.settings, scale, shape[-1])
    stages = []
    for stage in range(len(plan.starts)):
        what = np.zeros((len(facts), plan.room(stage), 3), np.int32)
        for row, mine in zip(what, cells, strict=True):
            row[: len(mine[stage])] = np.asarray(mine[stage], np.int32).reshape(-1, 3)
        count = np.asarray([len(mine[stage]) for mine in cells], np.int32)
        stages.append({"what": what, "count": count})
    answer = np.asarray([fact.answer[0] for fact in facts], np.int32)
    return {"ids": ids, "mask": mask, "noise": noise, "answer": answer, "stages": stages}


def _assemble(
    fact: Recall,
    plan: Plan,
    high: float,
    low: float,
    cells: list[list[Cell]],
    scores: list[np.ndarray],
) -> Trace:
    """Puts the scores of the cells where they belong."""
    shape = (len(fact.ids), plan.n_layers)
    grids = {kind: np.full(shape, np.nan) for kind in plan.settings.kinds}
    whole = np.full(plan.n_layers, np.nan)
    for stage, values in zip(cells, scores, strict=True):
        for cell, value in zip(stage, values, strict=False):
            if cell.token == EVERY:
                whole[cell.layer] = value
            else:
                grids[KINDS[cell.kind]][cell.token, cell.layer] = value
    return Trace(high, low, grids, whole)
