"""The named data sets, and one function that loads facts from any source."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from absl import logging

from jaxedit.data import counterfact, factworld, zsre
from jaxedit.data.fact import Case, Fact
from jaxedit.data.factworld.edits import POOLS
from jaxedit.data.files import kind, read_records
from jaxedit.data.jsonl import read_facts
from jaxedit.errors import UserError

Order = Literal["file", "shuffled"]
Parser = Callable[[dict[str, Any], str], Fact]
Skipped = tuple[str, str]


@dataclass(frozen=True)
class DataSet:
    """A published file: what it is called, how many records it holds, who publishes it."""

    file: str
    records: int
    published: str
    parse: Parser


@dataclass(frozen=True)
class Loaded:
    """What a source gave.

    Attributes:
        cases: the good ones, in the order of editing.
        skipped: (id, reason) of each defective record that was met on the way to them.
        stated: the number of records that the published file holds; where the source is not a
            published file, the number found.
        read: the number of records found.
    """

    cases: list[Case]
    skipped: list[Skipped]
    stated: int
    read: int

    @property
    def facts(self) -> list[Fact]:
        """All facts of the cases, in the order of editing."""
        return [fact for case in self.cases for fact in case.facts]


_ROME = "https://rome.baulab.info/data/dsets"
_EASYEDIT = "https://github.com/zjunlp/EasyEdit, section Dataset"
_KNOWEDIT = "https://huggingface.co/datasets/zjunlp/KnowEdit, benchmark/ZsRE"
DATASETS = {
    "counterfact": DataSet("counterfact.json", 21_919, _ROME, counterfact.parse),
    "counterfact-edit": DataSet("counterfact-edit.json", 10_000, _EASYEDIT, counterfact.parse),
    "counterfact-train": DataSet("counterfact-train.json", 10_000, _EASYEDIT, counterfact.parse),
    "counterfact-val": DataSet("counterfact-val.json", 1_919, _EASYEDIT, counterfact.parse),
    "zsre": DataSet("zsre_mend_eval.json", 19_086, _ROME, zsre.parse),
    "zsre-train": DataSet("zsre_mend_train.json", 163_196, _ROME, zsre.parse),
    "zsre-train-10000": DataSet("zsre_mend_train_10000.json", 10_000, _EASYEDIT, zsre.parse),
    "zsre-knowedit": DataSet("ZsRE-test-all.json", 1_304, _KNOWEDIT, zsre.parse),
}
EMBEDDED = ("gptj", "llama", "plugin")


def load_facts(
    source: str,
    path: str | Path | None = None,
    limit: int | None = None,
    seed: int | None = None,
    order: Order | None = None,
) -> Loaded:
    """Facts from a user's file, a named data set or an embedded world.

    Defects of a user's own file are errors; those of a named data set are known, so its
    defective records (an empty target, a subject that is not in its prompt, a target that
    contradicts an earlier record's, ...) are skipped, counted and listed.

    Args:
        source: "jsonl", a name in ``DATASETS``, or "embedded:<model>".
        path: the file, or for a data set also the directory that holds it; by default a data
            set is looked for in $JAXEDIT_DATA, else in ./data. Any file of the data set's
            family will do: its form is recognised from its records.
        limit: take at most that many good facts.
        seed: draw them with this seed instead of from the beginning. An embedded world has a
            pool of edits for each seed modulo 4; by default the one that results are shown on.
        order: "file" or "shuffled" (the default with a seed): the order of the facts drawn.

    Raises:
        UserError: unknown source, missing file (what it is called, how many records it holds,
            who publishes it), a broken file, no usable record, a limit below one.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}; ask for at least one fact")
    if order not in (None, "file", "shuffled"):
        raise UserError(f'order is {order!r}; it is "file" or "shuffled"')
    if order == "shuffled" and seed is None:
        raise UserError('order "shuffled" needs a seed')
    if source.startswith("embedded:"):
        return _embedded(source.removeprefix("embedded:"), limit, seed)
    if source == "jsonl":
        if path is None:
            raise UserError('source "jsonl" needs the path of a file')
        facts = read_facts(path)
        chosen = _draw(len(facts), seed)[:limit]
        _warn_if_fewer(path, len(facts), limit)
        drawn = [facts[i] for i in (sorted(chosen) if order == "file" else chosen)]
        return Loaded(list(map(Case.of, drawn)), [], len(facts), len(facts))
    return _named(source, _dataset(source), path, limit, seed, order)


def _dataset(source: str) -> DataSet:
    if source not in DATASETS:
        names = [*DATASETS, "jsonl", "embedded:gptj"]
        near = difflib.get_close_matches(source, names, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(names)}"
        raise UserError(f"unknown source of facts {source!r}; {hint}")
    return DATASETS[source]


def _named(
    source: str,
    dataset: DataSet,
    path: str | Path | None,
    limit: int | None,
    seed: int | None,
    order: Order | None,
) -> Loaded:
    file = _find(source, dataset, path)
    records = read_records(file)
    reasons = dict(_contradictions(records, dataset.parse))
    good: list[tuple[int, Fact]] = []
    skipped: list[Skipped] = []
    for index in _draw(len(records), seed):
        if limit is not None and len(good) == limit:
            break
        fact = _parse(records[index], index, dataset.parse)
        if isinstance(fact, Fact) and index not in reasons:
            good.append((index, fact))
        else:
            reason = reasons[index] if isinstance(fact, Fact) else fact
            skipped.append((_name(records[index], index), reason))
    if not good:
        raise UserError(f"{file}: no record of {len(records)} can be used; {skipped[0][1]}")
    if order == "file":
        good.sort(key=lambda pair: pair[0])
    stated = _stated(file, len(records))
    _warn_if_fewer(file, len(good), limit)
    return Loaded([Case.of(fact) for _, fact in good], skipped, stated, len(records))


def _embedded(model: str, limit: int | None, seed: int | None) -> Loaded:
    """Edits of the world that every embedded model was trained on."""
    if model not in EMBEDDED:
        known = ", ".join(f"embedded:{name}" for name in EMBEDDED)
        raise UserError(f"unknown source of facts 'embedded:{model}'; known are {known}")
    world = factworld.World()
    seed = factworld.SHOWN if seed is None else seed
    size = len(world.facts[seed % POOLS :: POOLS])
    facts = factworld.edits(world, min(limit or size, size), seed)
    _warn_if_fewer(f"embedded:{model}", len(facts), limit)
    return Loaded(list(map(Case.of, facts)), [], size, size)


def _warn_if_fewer(source: object, found: int, limit: int | None) -> None:
    if limit is not None and found < limit:
        logging.warning("%s: %d facts were asked for, it has %d", source, limit, found)


def _draw(count: int, seed: int | None) -> list[int]:
    if seed is None:
        return list(range(count))
    return np.random.default_rng(seed).permutation(count).tolist()


def _parse(record: Any, index: int, parse: Parser) -> Fact | str:
    """The record's fact, or what is wrong with it."""
    name = _name(record, index)
    if not isinstance(record, dict):
        return f"is {kind(record)}, not an object"
    try:
        return parse(record, name)
    except UserError as error:
        return str(error).removeprefix(f"fact {name}: ")


def _name(record: Any, index: int) -> str:
    return str(record.get("case_id", index)) if isinstance(record, dict) else str(index)


def _contradictions(records: Iterable[Any], parse: Parser) -> Iterator[tuple[int, str]]:
    """Records that give a question another target than the first one in the file does."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for index, record in enumerate(records):
        fact = _parse(record, index, parse)
        if isinstance(fact, str):
            continue
        target, name = first.setdefault((fact.question, fact.subject), (fact.target, fact.id))
        if target != fact.target:
            yield index, f"contradicts record {name}: target {fact.target!r}, there {target!r}"


def _find(source: str, dataset: DataSet, path: str | Path | None) -> Path:
    given = Path(path) if path is not None else Path(os.environ.get("JAXEDIT_DATA", "data"))
    if path is not None and not given.is_dir():
        candidates = [given]
    else:
        folders = (given, given / source.split("-")[0])
        candidates = [folder / (dataset.file + end) for folder in folders for end in ("", ".gz")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UserError(
        f"{candidates[0]}: no such file; data set {source!r} is {dataset.file} (or .gz, "
        f"{dataset.records:,} records), published at {dataset.published}"
    )


def _stated(file: Path, found: int) -> int:
    name = file.name.removesuffix(".gz")
    stated = next((d.records for d in DATASETS.values() if d.file == name), found)
    if stated != found:
        logging.warning("%s: holds %d records, the published one %d", file, found, stated)
    return stated
