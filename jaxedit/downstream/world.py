"""The embedded world's own downstream tests, for models too small for the published ones."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxedit.data.factworld.downstream import Item as Choice
from jaxedit.data.factworld.downstream import downstream, statements
from jaxedit.data.factworld.world import World
from jaxedit.downstream.items import Item, Taken
from jaxedit.metrics.records import code_version
from jaxedit.models.protocol import total_logprob
from jaxedit.progress import progress

EACH = 50  # items a test


def run_world_tests(
    lm: Any, world: World | None = None, *, n: int = EACH, limit: int | None = None, seed: int = 0
) -> list[Item]:
    """The seven tests: which choice is the likeliest continuation of the prompt.

    Args:
        lm: a model that defines likelihoods.
        world: the one that the model was trained on; by default that of the shipped models.
        n: items made of each test.
        limit: most of them that are asked; the seed draws them.
        seed: of that draw.

    Returns:
        Raw items of the tasks "world_facts", ..., "world_statements".

    Raises:
        UserError: the model defines no likelihoods.
    """
    world = World(0) if world is None else world
    tests = {**downstream(world, n), "statements": statements(world, n)}
    asked = [
        (f"world_{name}", i, items[i], len(items))
        for name, items in tests.items()
        for i in _drawn(name, len(items), limit, seed)
    ]
    sums = iter(_loglikelihoods(lm, [choice for _, _, choice, _ in asked]))
    made = []
    for task, index, choice, population in asked:
        totals = [next(sums) for _ in choice.choices]
        made.append(
            Item(
                taken=Taken(
                    task=task,
                    shots=0,
                    seed=seed,
                    limit=limit,
                    source=f"the embedded world {world.seed}, {population} items",
                    demonstrations="",
                    harness=f"jaxedit {code_version()}",
                ),
                subset="",
                index=index,
                population=population,
                values={"acc": float(np.argmax([total for total, _ in totals]) == choice.answer)},
                chance=1 / len(choice.choices),
                gold=str(choice.answer),
                responses=tuple(totals),
                dropped=0,
                digest=_digest(choice),
            )
        )
    return made


def _drawn(name: str, count: int, limit: int | None, seed: int) -> list[int]:
    order = list(range(count))
    random.Random(f"{name} {seed}").shuffle(order)
    return sorted(order[:limit])


def _loglikelihoods(lm: Any, asked: Sequence[Choice]) -> list[tuple[float, bool]]:
    """(log p, whether it is said) of every choice of every item, in order."""
    prompts = [one.prompt for one in asked for _ in one.choices]
    choices = [choice for one in asked for choice in one.choices]
    with progress("world", len(prompts), unit="requests") as advance:
        forced = lm.teacher_forced(prompts, choices, advance)
    return [
        (
            total_logprob(one),
            bool((one.predicted_ids == one.target_ids).all()),
        )
        for one in forced
    ]


def _digest(choice: Choice) -> str:
    told = json.dumps([choice.prompt, choice.choices], ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()[:16]
