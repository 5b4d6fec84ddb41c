"""Raw results of downstream tests: one item a JSON line; every score is a reduction of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxedit.data.files import parse_json, read_text
from jaxedit.errors import UserError


@dataclass(frozen=True)
class Taken:
    """How the items of one task were taken; alike in all of them.

    Attributes:
        task: its name here, such as "arc_challenge".
        shots: demonstrations before each item.
        seed: of the choice of items and, where there is no file of demonstrations, of those.
        limit: most items, over all subsets; None is all of them.
        source: the files, and how many of their items can be scored.
        demonstrations: where they come from.
        harness: what made the prompts and the metrics, with its version.
        notes: in what the items differ from those of published tables.
    """

    task: str
    shots: int
    seed: int
    limit: int | None
    source: str
    demonstrations: str
    harness: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """One item as it was answered.

    Attributes:
        taken: how.
        subset: a subject of MMLU; empty where a task has none.
        index: the item's place in its file, from 0.
        population: items that its subset holds in the file, scored or not.
        values: by metric, a share in 0..1; of a text its "loglikelihood" in nats, and its number
            of "words" and "bytes".
        chance: what guessing would give; None where it means nothing.
        gold: the right answer: a choice's place or a text.
        responses: of each request, in order: (log p, is greedy) of a choice, log p of a text, or
            the text that was generated.
        dropped: tokens cut from the front of its longest prompt, which did not fit the model.
        digest: of the requests, so that two runs can be seen to have asked the same.
    """

    taken: Taken
    subset: str
    index: int
    population: int
    values: Mapping[str, float]
    chance: float | None
    gold: str
    responses: tuple[Any, ...]
    dropped: int
    digest: str

    @property
    def key(self) -> tuple[str, str, int, str]:
        """The same question, asked in the same words."""
        return self.taken.task, self.subset, self.index, self.digest

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Item:
        """The item that :meth:`to_dict` wrote, also after a passage through JSON."""
        taken = value["taken"]
        fields = {
            "taken": Taken(**{**taken, "notes": tuple(taken["notes"])}),
            "responses": tuple(tuple(r) if isinstance(r, list) else r for r in value["responses"]),
        }
        if value.keys() != {f.name for f in dataclasses.fields(cls)}:
            raise KeyError("fields")
        return cls(**{**value, **fields})


def write_items(path: str | Path, items: Iterable[Item]) -> None:
    """Append the items to a file of JSON lines."""
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(item.to_dict(), ensure_ascii=False) + "\n" for item in items)


def read_items(path: str | Path) -> list[Item]:
    """The items of a file of JSON lines.

    Raises:
        UserError: ``file:line``, if a line is broken or is no item.
    """
    items = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        value = parse_json(line, str(path), number)
        try:
            items.append(Item.from_dict(value))
        except (TypeError, KeyError, AttributeError):
            raise UserError(f"{path}:{number}: is not an item of a downstream test") from None
    return items
