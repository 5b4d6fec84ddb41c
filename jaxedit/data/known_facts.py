"""known_1000: facts that GPT-2 XL completes, published for causal tracing (Meng et al. 2022a).

A record has a prompt, a subject in it and the attribute that completes it, but no new answer. To
serve as edits as well, each gets what CounterFact's records have: another attribute of the same
relation as its target, and other facts of the relation as its neighbours.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from jaxedit.data.datasets import Loaded, Skipped
from jaxedit.data.fact import SLOT, Case, Fact, Question
from jaxedit.data.files import kind, read_records, text_of
from jaxedit.errors import UserError

FILE = "known_1000.json"
RECORDS = 1_209
PUBLISHED = "https://rome.baulab.info/data/dsets"
NEIGHBOURS = 5


class Known(NamedTuple):
    """One record."""

    id: str
    prompt: str  # filled
    subject: str
    attribute: str
    relation: str


def read_known(path: str | Path, limit: int | None = None) -> Loaded:
    """The facts of a file of this kind, in file order.

    A fact's ``previous`` is the attribute, its ``target`` another one of the relation; where the
    relation has no other, the attribute is the target and there is no ``previous``. The slot of
    its prompt is the subject's first occurrence, which is the one that causal tracing corrupts.

    Args:
        path: the file, gzipped or not.
        limit: take at most that many.

    Raises:
        UserError: the file is missing or broken, or no record of it can be used.
    """
    records = read_records(path)
    skipped: list[Skipped] = []
    good: list[Known] = []
    for index, record in enumerate(records):
        found = _parse(record, index)
        if isinstance(found, Known):
            good.append(found)
        else:
            skipped.append((str(index), found))
    if not good:
        raise UserError(f"{path}: no record of {len(records)} can be used; {skipped[0][1]}")
    if Path(path).name.removesuffix(".gz") == FILE and len(records) != RECORDS:
        logging.warning("%s: holds %d records, the published one %d", path, len(records), RECORDS)
    relations: dict[str, list[Known]] = defaultdict(list)
    for known in good:
        relations[known.relation].append(known)
    cases = [Case.of(_fact(known, relations[known.relation])) for known in good[:limit]]
    return Loaded(cases, skipped, RECORDS, len(records))


def _parse(record: Any, index: int) -> Known | str:
    """The record, or what is wrong with it."""
    if not isinstance(record, Mapping):
        return f"is {kind(record)}, not an object"
    try:
        keys = ("prompt", "subject", "attribute", "relation_id")
        prompt, subject, attribute, relation = (text_of(dict(record), key) for key in keys)
    except UserError as error:
        return str(error)
    if not subject or subject not in prompt or not attribute:
        return f"the subject {subject!r} is not in the prompt {prompt!r}, or there is no attribute"
    return Known(str(record.get("known_id", index)), prompt, subject, attribute, relation)


def _fact(known: Known, relation: Sequence[Known]) -> Fact:
    rng = random.Random(f"known {known.id}")
    other = sorted({item.attribute for item in relation} - {known.attribute})
    beside = [item for item in relation if item.subject != known.subject]
    rng.shuffle(beside)
    beside.sort(key=lambda item: item.attribute != known.attribute)
    return Fact(
        prompt=known.prompt.replace(known.subject, SLOT, 1),
        subject=known.subject,
        target=rng.choice(other) if other else known.attribute,
        previous=known.attribute if other else None,
        neighbours=tuple(Question(item.prompt, item.attribute) for item in beside[:NEIGHBOURS]),
        id=f"known-{known.id}",
    )


def find_known() -> Path:
    """The file in $JAXEDIT_DATA, or in ./data.

    Raises:
        UserError: it is not there; the message says who publishes it.
    """
    folder = Path(os.environ.get("JAXEDIT_DATA", "data"))
    for directory in (folder, folder / "known_1000"):
        for name in (FILE, f"{FILE}.gz"):
            if (directory / name).is_file():
                return directory / name
    raise UserError(
        f"{folder / FILE}: no such file; it holds {RECORDS:,} facts and is published at "
        f"{PUBLISHED}; or name other facts"
    )
