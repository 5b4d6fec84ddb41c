"""What asking a model costs an accelerator: by itself, or with a plug-in; see `gpu_work`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from jaxedit.batches.gpu_work import ANSWER, PROMPT, ROWS, TEXT, Costs, Work
from jaxedit.config import ArmConfig, EnsembleConfig, RunConfig
from jaxedit.downstream.tasks import WORLD, known_tasks, names_of
from jaxedit.ensemble.costs import migration

QUESTIONS: Mapping[str, float] = {  # of a fact, all roles together, by source
    "counterfact": 16,
    "counterfact-edit": 3,
    "counterfact-portability": 17,
    "zsre": 3,
    "zsre-knowedit": 5,
    "mquake": 9,
    "elken": 9,
    "ckd": 12,
    "20q-probe": 33,
    "pep3k-probe": 33,
    "embedded": 18,
}
OTHER_QUESTIONS = 6
TASKS: Mapping[str, tuple[int, int, int]] = {  # items; tokens of an item as it is shown; requests
    "arc_challenge": (1172, 40, 4),
    "hellaswag": (10_042, 90, 4),
    "mmlu": (14_042, 90, 4),
    "truthfulqa_mc1": (817, 200, 5),
    "truthfulqa_mc2": (817, 200, 7),
    "winogrande": (1267, 30, 2),
    "gsm8k": (1319, 150, 1),
    "wikitext": (62, 5000, 1),
    "world": (400, 20, 4),
}
WRITTEN = 256  # tokens of a worked answer


def questions_of(source: str) -> float:
    """Asked of a fact of a source, on average."""
    return QUESTIONS.get(source, QUESTIONS.get(source.partition("-")[0], OTHER_QUESTIONS))


def arm_scoring(
    config: RunConfig,
    arm: ArmConfig,
    model: Costs,
    settings: Mapping[str, Any],
    edits: int,
) -> Iterator[Work]:
    """All answers of an arm: right after each update, along the run, after all edits."""
    each, ev = questions_of(config.facts.source), config.eval
    shown = settings.get("shown", settings.get("most", 0))  # facts before a question
    batch = arm.cases or arm.batch
    if ev.immediate:
        calls = math.ceil(edits / batch) * math.ceil(batch * each / ROWS)
        yield from scoring(config, model, "immediate", edits * each, calls, shown)
    if arm.alone:
        return
    steps = {*range(ev.every or edits, edits, ev.every or edits), *ev.at} - {edits}
    along = sum(step for step in steps if step < edits) * each
    yield from scoring(config, model, "checkpoint", along, math.ceil(along / ROWS), shown)
    yield from scoring(
        config, model, "after_all", edits * each, math.ceil(edits * each / ROWS), shown
    )
    if ev.heldout is not None:
        tokens = (2 + len(steps)) * ev.heldout_texts * TEXT
        yield Work("scores", dense=tokens * (model.blocks + model.head))
    yield from downstream(config, model, 1 + len(steps))


def downstream(config: RunConfig, model: Costs, times: int) -> Iterator[Work]:
    """Downstream tests of a model, so many times: the demonstrations are read for every request."""
    ev = config.eval
    for name in names_of(ev.tasks) if ev.tasks else ():
        items, tokens, requests = TASKS[name]
        items = min(items, ev.tasks_limit or items)
        shots = known_tasks()[name].shown(ev.tasks_shots) if name != WORLD else 0
        read = times * items * requests * (1 + shots) * tokens
        yield Work("downstream", dense=read * model.blocks)
        if name != WORLD and known_tasks()[name].generates:
            moved = times * math.ceil(items / ROWS) * WRITTEN * model.size
            dense = times * items * WRITTEN * (model.blocks + model.head)
            yield Work("downstream", dense=dense, moved=moved)


def scoring(
    config: RunConfig, model: Costs, when: str, asked: float, calls: int, shown: int = 0
) -> Iterator[Work]:
    """Questions by teacher forcing; by generation where the config asks for it at that moment.

    Args:
        config: the run's.
        model: that is asked.
        when: the moment.
        asked: questions.
        calls: batches of them.
        shown: facts before each, of a method in context.
    """
    prompt = PROMPT * (1 + shown) + ANSWER
    dense = asked * (prompt * model.blocks + ANSWER * model.head)
    yield Work("scores", dense=dense, moved=calls * model.size)
    if when in config.eval.generate:
        ways, new = 1 + len(config.eval.protocols), config.eval.max_new_tokens
        dense = asked * (prompt * model.blocks + new * (model.blocks + model.head))
        yield Work("generation", dense=ways * dense, moved=ways * calls * (1 + new) * model.size)


def serving(
    config: RunConfig, target: Costs, plug: Costs, asked: float, edits: int
) -> Iterator[Work]:
    """A target by itself, and with the plug-in in each mode at each moment.

    Args:
        config: the run's.
        target: one of its targets.
        plug: its model.
        asked: questions about the facts.
        edits: facts.
    """
    ensemble = config.ensemble
    asked += ensemble.unrelated.limit
    calls = math.ceil(asked / ROWS)
    yield from scoring(config, target, "before", asked, calls)
    built = migration(target.config, plug.config, _anchors(target, plug))
    yield Work("ensembles", wide=built.operations)
    moments = 1 + (edits - 1) // ensemble.every if ensemble.every else 1
    times = len(ensemble.modes) * moments
    for one in (target, plug):
        for work in scoring(config, one, "after_all", asked, calls):
            dense, moved = times * work.dense, times * work.moved
            yield Work("ensembles", dense=dense, moved=moved)
    generated = config.eval.max_new_tokens if "after_all" in config.eval.generate else 0
    tokens = times * asked * (ANSWER + (1 + len(config.eval.protocols)) * generated)
    fused = built.fuse + _search(ensemble) * built.search_step
    passes = times * calls * (1 + generated)
    yield Work("ensembles", wide=tokens * fused, moved=passes * built.held())


def _anchors(target: Costs, plug: Costs) -> int:
    return min(target.config.vocab_size, plug.config.vocab_size - 1)  # the most there can be


def _search(ensemble: EnsembleConfig) -> int:
    return ensemble.steps if ensemble.decoder == "search" else 0
