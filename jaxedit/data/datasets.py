"""One function that loads facts from any source: what is drawn, in which order, what is skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from absl import logging

from jaxedit.data import catalogue, factworld, mqd
from jaxedit.data.catalogue import DATASETS
from jaxedit.data.fact import Case, Fact
from jaxedit.data.files import kind, read_records
from jaxedit.data.jsonl import read_facts
from jaxedit.data.records import Outcome, Parser, noted
from jaxedit.errors import UserError

__all__ = ["DATASETS", "OWN", "Loaded", "Order", "Skipped", "Split", "load_facts"]

Order = Literal["file", "shuffled"]
Split = Literal["train", "validation", "test"]
Skipped = tuple[str, str]
OWN = ("jsonl", "csv")  # sources that are a user's own file
MQD: dict[str, mqd.Form] = {f"mqd-{form}": form for form in mqd.FORMS}
EMBEDDED = ("gptj", "llama", "plugin")
EMBEDDED_FORMS: dict[str, factworld.Form] = {
    "embedded" if form == "completion" else f"embedded-{form}": form for form in factworld.FORMS
}


@dataclass(frozen=True)
class Loaded:
    """What a source gave, and how it was drawn.

    Attributes:
        cases: the good ones, in the order of editing.
        skipped: (id, reason) of each defective record that was met on the way to them.
        stated: the number of records that the published file holds; where the source is not a
            published file, the number found.
        read: the number of records found.
        seed: that they were drawn by.
        order: "file" or "shuffled".
        split: the share of the records that they come from; None is all.
        notes: (what was mended or left out of the good ones, how often).
        file: where they were read from.
    """

    cases: list[Case]
    skipped: list[Skipped]
    stated: int
    read: int
    seed: int | None = None
    order: Order | None = None
    split: Split | None = None
    notes: list[tuple[str, int]] = field(default_factory=list)
    file: str = ""

    @property
    def facts(self) -> list[Fact]:
        """All facts of the cases, in the order of editing."""
        return [fact for case in self.cases for fact in case.facts]


class _Draw(NamedTuple):
    """Which records, and in which order; see `load_facts`."""

    limit: int | None
    seed: int | None
    order: Order | None
    split: Split | None


def load_facts(
    source: str,
    path: str | Path | None = None,
    limit: int | None = None,
    seed: int | None = None,
    order: Order | None = None,
    split: Split | None = None,
) -> Loaded:
    """Facts from a user's file, a named data set or an embedded world.

    Defects of a user's own file are errors; those of a named data set are known, so its
    defective records (an empty target, a subject that is not in its prompt, a target that
    contradicts that of a record drawn before, ...) are skipped, counted and listed.

    Args:
        source: "jsonl" or "csv", a name in ``DATASETS``, "mqd-generation", "mqd-choice" or
            "mqd-statement" (the three forms of the knowledge in a file of ATOMIC), or the embedded
            world's "embedded:<model>" and "embedded-<form>:<model>" (`factworld.FORMS`).
        path: the file, or for a data set also the directory that holds it; by default a data
            set is looked for in $JAXEDIT_DATA, else in ./data. Any file of the data set's
            family will do: its form is recognised from its records.
        limit: take at most that many good records (of one fact each, but for MQuAKE and ELKEN).
        seed: draw them with this seed instead of from the beginning. An embedded world has a
            pool of edits for each seed modulo 4; by default the one that results are shown on.
        order: "file" or "shuffled" (the default with a seed): the order of the records drawn.
        split: draw from this share alone: 80, 10 and 10 % of the records (rounded down but for
            the last), cut from the permutation that the seed gives, or that seed 0 gives.

    Raises:
        UserError: unknown source, missing file (what it is called, how many records it holds,
            who publishes it), a broken file, no usable record, a limit below one.
    """
    _check(limit, seed, order, split)
    drawn = _Draw(limit, seed, order, split)
    if source in OWN:
        loaded = _own(source, path, drawn)
    elif source in MQD:
        loaded = _mqd(source, path, drawn)
    elif source.startswith("embedded"):
        loaded = _embedded(source, drawn)
    else:
        loaded = _named(source, path, drawn)
    if limit is not None and len(loaded.cases) < limit:
        where = loaded.file or source
        logging.warning("%s: %d records were asked for, it has %d", where, limit, len(loaded.cases))
    effective = order or ("file" if seed is None else "shuffled")
    return replace(loaded, seed=seed, order=effective, split=split)


def _check(limit: int | None, seed: int | None, order: str | None, split: str | None) -> None:
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}; ask for at least one fact")
    if order not in (None, *get_args(Order)):
        raise UserError(f'order is {order!r}; it is "file" or "shuffled"')
    if order == "shuffled" and seed is None:
        raise UserError('order "shuffled" needs a seed')
    if split not in (None, *get_args(Split)):
        raise UserError(f'split is {split!r}; it is "train", "validation" or "test"')


def draw(count: int, seed: int | None = None, split: Split | None = None) -> list[int]:
    """Places of records in the order in which they are tried.

    Without a seed the file's order; with one a permutation. A split is a part of the permutation.
    """
    permuted = np.random.default_rng(seed or 0).permutation(count).tolist()
    ends = {"train": (0, 8), "validation": (8, 9), "test": (9, 10), None: (0, 10)}[split]
    start, stop = (count * tenths // 10 for tenths in ends)
    return sorted(permuted[start:stop]) if seed is None else permuted[start:stop]


def _own(source: str, path: str | Path | None, drawn: _Draw) -> Loaded:
    limit, seed, order, split = drawn
    if path is None:
        raise UserError(f'source "{source}" needs the path of a file')
    facts = read_facts(path)
    chosen = draw(len(facts), seed, split)[:limit]
    if not chosen:
        raise UserError(f"{path}: the split {split!r} of {len(facts)} facts is empty")
    cases = [Case.of(facts[i]) for i in (sorted(chosen) if order == "file" else chosen)]
    return Loaded(cases, [], len(facts), len(facts), file=str(path))


def _mqd(source: str, path: str | Path | None, drawn: _Draw) -> Loaded:
    """A form of MQD; the seed draws its records, which have no order of their own."""
    limit, seed, order, split = drawn
    if path is None:
        raise UserError(f'source "{source}" needs the path of a file of ATOMIC')
    if order == "file":
        raise UserError(f'source "{source}" is drawn from ATOMIC; it has no order "file"')
    triples = mqd.read(path)
    made = mqd.build(triples, mqd.COUNT if limit is None or split else limit, seed or 0)
    facts = list(made.form(MQD[source]))
    if split is not None:
        facts = [facts[place] for place in draw(len(facts), seed or 0, split)][:limit]
    notes = [(f"triples left out: {reason}", count) for reason, count in made.skipped.items()]
    cases, read = list(map(Case.of, facts)), len(triples)
    return Loaded(cases, [], read, read, notes=notes, file=str(path))


def _embedded(source: str, drawn: _Draw) -> Loaded:
    """Edits of the world that every embedded model was trained on, in one of its forms."""
    limit, seed, _, split = drawn
    kind, _, model = source.partition(":")
    if kind not in EMBEDDED_FORMS or model not in EMBEDDED:
        known = ", ".join(f"embedded:{name}" for name in EMBEDDED)
        others = ", ".join(f"{name}:" for name in EMBEDDED_FORMS if name != "embedded")
        raise UserError(
            f"unknown source of facts {source!r}; known are {known}, and likewise {others}"
        )
    world, form = factworld.World(), EMBEDDED_FORMS[kind]
    pool = factworld.SHOWN if seed is None else seed
    every = factworld.askable(world, form, pool)
    places = range(len(every)) if split is None else draw(len(every), pool, split)
    facts = [factworld.asked_edit(world, form, every[place], pool) for place in places[:limit]]
    return Loaded(list(map(Case.of, facts)), [], len(every), len(every))


def _named(source: str, path: str | Path | None, drawn: _Draw) -> Loaded:
    limit, seed, order, split = drawn
    file = catalogue.find(source, path)
    dataset = catalogue.dataset(source)
    records = read_records(file)
    places = draw(len(records), seed, split)
    outcomes = _parsed(records, places, dataset.reader(records))
    good: list[tuple[int, Case]] = []
    skipped: list[Skipped] = []
    notes: Counter[str] = Counter()
    for place, outcome in zip(places, dataset.screen(outcomes), strict=False):
        if isinstance(outcome, str):
            skipped.append((_name(records[place], place), outcome))
            continue
        good.append((place, outcome.case))
        notes.update(outcome.notes)
        if len(good) == limit:
            break
    if not good:
        why = skipped[0][1] if skipped else f"the split {split!r} is empty"
        raise UserError(f"{file}: no record of {len(records)} can be used; {why}")
    if order == "file":
        good.sort(key=lambda pair: pair[0])
    cases = [case for _, case in good]
    stated = _stated(source, file, len(records))
    return Loaded(cases, skipped, stated, len(records), notes=notes.most_common(), file=str(file))


def _parsed(records: Sequence[Any], places: Sequence[int], parse: Parser) -> Iterator[Outcome]:
    """What each of these records holds, or what is wrong with it; lazily, in this order."""
    names: set[str] = set()
    for place in places:
        record = records[place]
        name = _name(record, place)
        if not isinstance(record, dict):
            yield f"is {kind(record)}, not an object"
            continue
        try:
            outcome = noted(parse(record, name))
            if name in names:
                raise UserError(f"another record has the id {name} too")
            names.add(name)
            yield outcome
        except UserError as error:
            yield str(error).removeprefix(f"fact {name}: ").removeprefix(f"case {name}: ")


def _name(record: Any, place: int) -> str:
    return str(record.get("case_id", place)) if isinstance(record, dict) else str(place)


def _stated(source: str, file: Path, found: int) -> int:
    stated = catalogue.stated(source, file)
    if stated is not None and stated != found:
        logging.warning("%s: holds %d records, the published one %d", file, found, stated)
    return found if stated is None else stated
