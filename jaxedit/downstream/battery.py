"""Downstream tests of one model, or of many alike: published ones over local files, the world's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxedit.downstream.ability import Ability, reduce_items
from jaxedit.downstream.evaluation import need_harness, run_task
from jaxedit.downstream.items import Item
from jaxedit.downstream.pools import Source, check_shots
from jaxedit.downstream.tasks import WORLD, known_tasks, names_of
from jaxedit.downstream.world import run_world_tests
from jaxedit.errors import UserError


def abilities(
    lm: Any,
    tasks: Sequence[str],
    *,
    data: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    shots: int | None = None,
) -> list[Ability]:
    """Scores of downstream tests, each with its raw items.

    Args:
        lm: a model that defines the likelihoods of given tokens.
        tasks: names, such as "arc_challenge", "mmlu", "truthfulqa" or "world".
        data: the folder of their files; the world's tests need none.
        limit: most items of a task; None scores all.
        seed: of the choice of items, and of the bootstrap.
        shots: demonstrations, for every task whose number is not part of the test; by default
            the leaderboard's.

    Raises:
        UserError: an unknown task, a missing or broken file, too few demonstrations, a model
            without likelihoods, or the harness is not installed.
    """
    return reduce_items(run_tasks(lm, tasks, data=data, limit=limit, seed=seed, shots=shots))


def run_tasks(
    lm: Any,
    tasks: Sequence[str],
    *,
    data: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    shots: int | None = None,
) -> list[Item]:
    """As :func:`abilities`, the raw items alone. All files are read before the model is asked."""
    return open_battery(tasks, data=data, limit=limit, seed=seed, shots=shots).items(lm)


@dataclass(frozen=True)
class Battery:
    """Downstream tests whose files are read: what any number of models are asked alike.

    Attributes:
        sources: by task, in the order in which they are asked; None for the world's own.
        limit: most items of a task.
        seed: of the choice of items, and of the bootstrap.
        shots: demonstrations; None is each task's own number.
    """

    sources: Mapping[str, Source | None]
    limit: int | None = None
    seed: int = 0
    shots: int | None = None

    def items(self, lm: Any) -> list[Item]:
        """What a model answers; see :func:`run_tasks`."""
        found: list[Item] = []
        for name, source in self.sources.items():
            if source is None:
                found += run_world_tests(lm, limit=self.limit, seed=self.seed)
            else:
                task = known_tasks()[name]
                drawn: Any = {"limit": self.limit, "seed": self.seed}
                found += run_task(lm, name, task, source, shots=task.shown(self.shots), **drawn)
        return found

    def abilities(self, lm: Any) -> list[Ability]:
        """Its scores."""
        return reduce_items(self.items(lm))


def open_battery(
    tasks: Sequence[str],
    *,
    data: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    shots: int | None = None,
) -> Battery:
    """Reads the files of downstream tests; arguments and errors as in :func:`abilities`."""
    names = names_of(tasks)
    filed = [name for name in names if name != WORLD]
    if filed:
        need_harness()
        if data is None:
            raise UserError(f"{filed[0]}: needs the folder of its files; set --data")
    if shots is not None and shots < 0:
        raise UserError(f"--shots={shots}: must not be negative")
    sources = {
        name: None if name == WORLD else known_tasks()[name].read(Path(str(data)), seed)
        for name in names
    }
    for name, source in sources.items():
        if source is not None:
            check_shots(name, source.pools, known_tasks()[name].shown(shots))
    return Battery(sources, limit, seed, shots)
