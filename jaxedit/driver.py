"""The loop: one update after another, scored right away, on values alone.

Nothing here writes a file or keeps a state of its own: `edits` yields what each update did, and
whoever runs it keeps records and checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from jaxedit.data.fact import Case, Fact
from jaxedit.downstream import Ability, Battery
from jaxedit.editors.editor import Editor, take
from jaxedit.editors.weights import leaves
from jaxedit.errors import NotFinite
from jaxedit.metrics.asking import Advance, questions, workload
from jaxedit.metrics.damage import Damage, damage
from jaxedit.metrics.norms import Norms, weight_norms
from jaxedit.metrics.protocols import ask
from jaxedit.metrics.records import Answer, Asked, Setting
from jaxedit.models.protocol import has_likelihoods
from jaxedit.schedule import Block, Turn
from jaxedit.sharding import fetch


@dataclass(frozen=True)
class Asking:
    """What is asked about the facts, and how.

    Attributes:
        asked: the questions of each fact, in the order of the facts.
        settings: by moment ("immediate", "checkpoint", ...): how the answers are taken.
        generate: moments at which answers are generated, too; at others only teacher forcing.
        heldout: texts whose perplexity the edits should not change.
        protocols: by which answers are taken besides ours, at the moments of `generate`.
        battery: downstream tests that the edits should not change; None if there are none.
    """

    asked: tuple[tuple[Asked, ...], ...]
    settings: Mapping[str, Setting]
    generate: frozenset[str]
    heldout: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    battery: Battery | None = None

    def answers(
        self,
        lm: Any,
        when: str,
        *,
        edits: int,
        start: int,
        stop: int,
        advance: Advance | None = None,
    ) -> list[Answer]:
        """The model's answers about the facts ``start`` to ``stop`` - 1, at a moment."""
        generation = when in self.generate
        return ask(
            lm,
            self.of(start, stop),
            self.settings[when],
            edits=edits,
            generation=generation,
            protocols=self.protocols if generation else (),
            advance=advance,
        )

    def rows(self, lm: Any, when: str, start: int, stop: int) -> int:
        """How many rows `advance` will be told of."""
        return workload(
            self.of(start, stop),
            self.settings[when],
            generation=when in self.generate,
            compared=has_likelihoods(lm),
        )

    def of(self, start: int, stop: int) -> list[Asked]:
        """The questions about the facts ``start`` to ``stop`` - 1."""
        return list(chain.from_iterable(self.asked[start:stop]))


def by_fact(
    cases: Sequence[Case | Fact], formats: Mapping[str, str] | None = None
) -> tuple[tuple[Asked, ...], ...]:
    """Everything that is asked of the facts and their cases, a tuple a fact."""
    count = sum(len(case.facts) if isinstance(case, Case) else 1 for case in cases)
    found: list[list[Asked]] = [[] for _ in range(count)]
    for question in questions(cases, formats=formats):
        found[question.fact].append(question)
    return tuple(map(tuple, found))


@dataclass(frozen=True)
class Update:
    """What one update left.

    Attributes:
        turn: which facts, and what was due after it.
        state: the editor's, after it.
        snapshot: the state's arrays on the host, if a checkpoint was due.
        log: the editor's, a row a fact.
        norms: mean absolute weight of the edited layers and of their deltas.
        damage: to the model as a whole, if an evaluation was due or the run is at its end.
        abilities: scores of downstream tests, likewise; empty if there are none.
        immediate: answers about the facts of this update; empty if not asked for.
        so_far: answers about all facts edited so far, if an evaluation was due.
        prepare_seconds: a fact's share of what was prepared for the block.
        edit_seconds: of the update.
        score_seconds: of the answers.
    """

    turn: Turn
    state: Any
    snapshot: Any
    log: Mapping[str, np.ndarray]
    norms: Mapping[str, Norms]
    damage: Damage | None
    abilities: list[Ability]
    immediate: list[Answer]
    so_far: list[Answer]
    prepare_seconds: float
    edit_seconds: float
    score_seconds: float


def edits(
    lm: Any,
    editor: Editor,
    facts: Sequence[Fact],
    state: Any,
    blocks: Sequence[Block],
    asking: Asking,
    *,
    alone: bool = False,
) -> Iterator[Update]:
    """Goes through the blocks from ``state`` on and yields after every update.

    Args:
        lm: the unedited model.
        editor: the method.
        facts: of the whole run, in the order of the edits.
        state: the editor's, before the first block.
        blocks: what is still to do (`schedule.schedule`).
        asking: what is asked after the updates.
        alone: every update starts from the unedited model; only ``immediate`` means anything.

    Raises:
        NotFinite: a loss or weight is not; names the fact, the layer or the step.
    """
    unedited = editor.init(lm) if alone else None
    for block in blocks:
        begun = time.perf_counter()
        prepared = editor.prepare(lm, facts[block.start : block.stop])
        preparing = (time.perf_counter() - begun) / (block.stop - block.start)
        for turn in block.turns:
            begun = time.perf_counter()
            state = unedited if alone else state
            own = take(prepared, turn.start - block.start, turn.stop - block.start)
            state, log = _edit(lm, editor, state, own, facts[turn.start : turn.stop], turn)
            snapshot = None
            if turn.checkpoint:
                # A restarted run goes on from these arrays; so does this one.
                snapshot = fetch(editor.snapshot(state))
                state = editor.restore(lm, snapshot)
            edited = editor.bind(lm, state)
            norms = edited_norms(editor, edited, lm)
            _check_norms(norms, facts[turn.stop - 1], turn)
            done = time.perf_counter()
            immediate = _immediate(edited, asking, turn)
            so_far = [] if alone else _so_far(edited, asking, turn)
            harm, scored = None, []
            if turn.evaluate or turn.stop == len(facts):
                harm = edited_damage(editor, edited, lm, asking, turn.stop)
                scored = [] if alone else edited_abilities(edited, asking)
            yield Update(
                turn,
                state,
                snapshot,
                log,
                norms,
                harm,
                scored,
                immediate,
                so_far,
                prepare_seconds=preparing,
                edit_seconds=done - begun,
                score_seconds=time.perf_counter() - done,
            )


def edited_norms(editor: Editor, edited: Any, lm: Any) -> dict[str, Norms]:
    """Norms of every leaf that the method may change."""
    names = editor.places(lm)
    return weight_norms(leaves(edited, names), leaves(lm, names))


def edited_damage(editor: Editor, edited: Any, lm: Any, asking: Asking, edits: int) -> Damage:
    """What the edits have cost the model; `edited` may be the unedited one, with 0 edits."""
    names = editor.places(lm)
    setting = asking.settings["checkpoint" if edits else "before"]
    return damage(edited, leaves(edited, names), asking.heldout, setting, edits=edits)


def edited_abilities(edited: Any, asking: Asking) -> list[Ability]:
    """Downstream tests of a model; none where it does not say how probable given tokens are."""
    if asking.battery is None or not has_likelihoods(edited):
        return []
    return asking.battery.abilities(edited)


def _edit(
    lm: Any, editor: Editor, state: Any, prepared: Any, facts: Sequence[Fact], turn: Turn
) -> tuple[Any, Mapping[str, np.ndarray]]:
    try:
        return editor.edit(lm, state, prepared)
    except FloatingPointError as error:
        names = ", ".join(fact.id for fact in facts[:3]) + (" ..." if len(facts) > 3 else "")
        raise NotFinite(
            f"edit {turn.stop} (fact {names}): {error}; stopped, the last checkpoint is kept; "
            "try a smaller learning rate or a larger moment_weight"
        ) from None


def _check_norms(norms: Mapping[str, Norms], fact: Fact, turn: Turn) -> None:
    for name, values in norms.items():
        if not np.isfinite(np.asarray(values, np.float64)).all():
            raise NotFinite(
                f"edit {turn.stop} (fact {fact.id}): {name} has weights that are not finite; "
                "stopped, the last checkpoint is kept; try a larger moment_weight"
            )


def _immediate(edited: Any, asking: Asking, turn: Turn) -> list[Answer]:
    if "immediate" not in asking.settings:
        return []
    return asking.answers(edited, "immediate", edits=turn.stop, start=turn.start, stop=turn.stop)


def _so_far(edited: Any, asking: Asking, turn: Turn) -> list[Answer]:
    if not turn.evaluate:
        return []
    return asking.answers(edited, "checkpoint", edits=turn.stop, start=0, stop=turn.stop)
