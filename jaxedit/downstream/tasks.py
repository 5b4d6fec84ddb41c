"""Which downstream tests there are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxedit.downstream import sources
from jaxedit.downstream.pools import Source
from jaxedit.errors import UserError
from jaxedit.typed import suggestion

WORLD = "world"  # the embedded world's own, see jaxedit.downstream.world


class Task(NamedTuple):
    """A published benchmark, as the Open LLM Leaderboard (v1) asked it.

    Attributes:
        folder: of the harness, under lm_eval/tasks.
        shots: demonstrations before each item.
        fixed: the number of demonstrations belongs to the test.
        read: its files, from a folder and a seed.
        metric: the one that published tables show.
        generates: whether the model writes its answers.
        labels: the key of the choices' labels, where several are true and share the score.
    """

    folder: str
    shots: int
    fixed: bool
    read: Callable[[Path, int], Source]
    metric: str
    generates: bool = False
    labels: str = ""

    def shown(self, wanted: int | None) -> int:
        """Demonstrations where so many are wanted; None is the leaderboard's number."""
        return self.shots if wanted is None or self.fixed else wanted

    def chance(self, doc: Mapping[str, Any], requests: int) -> float | None:
        """What guessing would give for an item that takes ``requests`` requests."""
        if self.generates or requests < 2:
            return None
        labels = doc[self.labels]["labels"] if self.labels else None
        return 1 / requests if labels is None else sum(labels) / requests


def _truthfulqa(name: str) -> Callable[[Path, int], Source]:
    return lambda data, seed: sources.truthfulqa(name, data)


@functools.cache
def known_tasks() -> dict[str, Task]:
    """Tasks that need files, by name."""
    return {
        "arc_challenge": Task("arc", 25, False, sources.arc_challenge, "acc_norm"),
        "hellaswag": Task("hellaswag", 10, False, sources.hellaswag, "acc_norm"),
        "mmlu": Task("mmlu/default", 5, False, sources.mmlu, "acc"),
        "truthfulqa_mc1": Task("truthfulqa", 0, True, _truthfulqa("truthfulqa_mc1"), "acc"),
        "truthfulqa_mc2": Task(
            "truthfulqa", 0, True, _truthfulqa("truthfulqa_mc2"), "acc", labels="mc2_targets"
        ),
        "winogrande": Task("winogrande", 5, False, sources.winogrande, "acc"),
        "gsm8k": Task("gsm8k", 5, False, sources.gsm8k, "exact_match (strict-match)", True),
        "wikitext": Task("wikitext", 0, True, sources.wikitext, "word_perplexity"),
    }


def headline(scores: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of plain scores (`Ability.to_dict`) those that published tables show, one a task."""
    tasks = known_tasks()
    return [
        score
        for score in scores
        if score["metric"] == (tasks[score["task"]].metric if score["task"] in tasks else "acc")
    ]


def names_of(asked: Iterable[str], flag: str = "--tasks") -> list[str]:
    """The tasks that are asked for, each once: "truthfulqa" is both of its readings.

    Args:
        asked: their names.
        flag: where they were named, for messages.

    Raises:
        UserError: an unknown name, with the nearest known one; or none at all.
    """
    found: list[str] = []
    for name in asked:
        both = [f"truthfulqa_{reading}" for reading in ("mc1", "mc2")]
        meant = both if name == "truthfulqa" else [name]
        for one in meant:
            known = [*known_tasks(), "truthfulqa", WORLD]
            if one not in known:
                raise UserError(f"{flag}: there is no task {one!r}{suggestion(one, known)}")
            found += [one] if one not in found else []
    if not found:
        raise UserError(f"{flag}: names no task; known: {', '.join([*known_tasks(), WORLD])}")
    return found


def check_tasks(asked: Iterable[str], data: str | None, flag: str) -> None:
    """Refuses tasks that do not exist, or that need files where no folder of theirs is named.

    Raises:
        UserError: naming ``flag``, or ``flag``_data.
    """
    filed = [name for name in names_of(asked, flag) if name != WORLD]
    if filed and data is None:
        raise UserError(f"{flag}_data: {filed[0]} needs the folder of its files; name it")
