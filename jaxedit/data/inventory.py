"""What a directory holds of the published files: a row a source that is found, as a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from jaxedit.data import catalogue
from jaxedit.data.catalogue import DATASETS
from jaxedit.data.datasets import Loaded, load_facts
from jaxedit.data.fact import Case
from jaxedit.data.files import read_records
from jaxedit.data.other_files import OTHER_FILES
from jaxedit.errors import UserError

TOP = 3  # reasons and notes that a row tells


class Row(NamedTuple):
    """A source whose file is there.

    ``stated`` records are published, ``found`` are in the file, ``usable`` are good; the facts,
    and the questions beside the edits themselves, are theirs. ``why`` counts the reasons of those
    that are skipped, ``notes`` what was mended or left out of the good ones.
    """

    source: str
    file: str
    stated: int
    found: int
    usable: int
    facts: int | None = None
    questions: int | None = None
    why: tuple[tuple[str, int], ...] = ()
    notes: tuple[tuple[str, int], ...] = ()


class Missing(NamedTuple):
    """A file that is not there."""

    sources: tuple[str, ...]
    file: str
    records: int
    published: str


class Inventory(NamedTuple):
    """What is there and what is not."""

    rows: tuple[Row, ...]
    missing: tuple[Missing, ...]


def inventory(directory: Path, advance: Callable[[str], object] | None = None) -> Inventory:
    """Loads every data set whose file is in the directory or in its folder there.

    Args:
        directory: of all data.
        advance: called with each source's name before it is read.

    Raises:
        UserError: there is no such directory, or a file in it is broken.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory; name the one that holds the data sets")
    rows: list[Row] = []
    absent: dict[tuple[str, int, str], list[str]] = {}
    for source, row in _each(directory, advance or (lambda source: None)):
        if isinstance(row, Row):
            rows.append(row)
        else:
            absent.setdefault(row, []).append(source)
    missing = (Missing(tuple(sources), *key) for key, sources in absent.items())
    return Inventory(tuple(rows), tuple(missing))


def _each(
    directory: Path, advance: Callable[[str], object]
) -> Iterator[tuple[str, Row | tuple[str, int, str]]]:
    """(source, its row, or what is missing)."""
    for source, dataset in DATASETS.items():
        try:
            file = catalogue.find(source, directory)
        except UserError:
            yield source, (dataset.file, dataset.records, dataset.published)
            continue
        advance(source)
        yield source, _facts_row(source, file, directory)
    for source, other in OTHER_FILES.items():
        path = other.find(directory)
        if path is None:
            yield source, (other.names[0], other.records, other.published)
            continue
        advance(source)
        found, defects = other.count(path)
        usable, why = found - len(defects), tuple(Counter(defects).most_common())
        name = str(path.relative_to(directory))
        yield source, Row(source, name, other.records, found, usable, why=why)


def _facts_row(source: str, file: Path, directory: Path) -> Row:
    stated = catalogue.stated(source, file) or DATASETS[source].records
    name = str(file.relative_to(directory))
    try:
        loaded = load_facts(source, file)
    except UserError as error:
        found = len(read_records(file))  # what is broken as a whole is an error still
        return Row(source, name, stated, found, 0, 0, 0, ((kind_of(str(error)), found),))
    return Row(
        source,
        name,
        stated,
        loaded.read,
        len(loaded.cases),
        len(loaded.facts),
        sum(map(_questions, loaded.cases)),
        reasons(loaded),
        tuple(loaded.notes),
    )


def _questions(case: Case) -> int:
    own = sum(
        len(f.paraphrases) + len(f.neighbours) + len(f.portability) + len(f.negations)
        for f in case.facts
    )
    return own + sum(map(len, case.questions.values()))


def reasons(loaded: Loaded) -> tuple[tuple[str, int], ...]:
    """The kinds of reasons for which records were skipped, the commonest first."""
    return tuple(Counter(kind_of(reason) for _, reason in loaded.skipped).most_common())


def kind_of(reason: str) -> str:
    """A reason without what is particular to its record: details, quotations, ids, advice."""
    plain = reason.split("; ")[0]
    head = plain.partition(": ")[0]
    if head.count("'") % 2 == head.count('"') % 2 == 0:  # the colon stands in no quotation
        plain = head
    plain = re.sub(r"'[^']*'", "...", plain)
    return re.sub(r"\b(record|id) [\w.-]+", r"\1 ...", plain)


def markdown(found: Inventory) -> str:
    """Two tables: what is there, and what is not."""
    there = [
        (
            ", ".join(sources),
            row.file,
            _count(row.stated),
            _count(row.found) + ("" if row.found == row.stated else " (!)"),
            _count(row.usable),
            _count(row.found - row.usable),
            _count(row.facts),
            _count(row.questions),
            _told(row.why),
            _told(row.notes),
        )
        for row, sources in _alike(found.rows).items()
    ]
    names = ("source", "file", "stated", "found", "usable", "skipped", "facts", "questions")
    text = _table((*names, "skipped because", "mended or left out"), there)
    if any(row.found != row.stated for row in found.rows):
        text += "\n(!): the file holds another number of records than the published one.\n"
    if found.missing:
        absent = [
            (", ".join(m.sources), m.file, _count(m.records), m.published) for m in found.missing
        ]
        text += "\nNot found:\n\n" + _table(("source", "file", "records", "published at"), absent)
    return text


def _alike(rows: Iterable[Row]) -> dict[Row, list[str]]:
    """Rows that differ in nothing but their source, and these sources."""
    sources: dict[Row, list[str]] = {}
    for row in rows:
        sources.setdefault(row._replace(source=""), []).append(row.source)
    return sources


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _told(counted: Iterable[tuple[str, int]]) -> str:
    told = [f"{count:,}: {what}" for what, count in counted]
    more = [f"{len(told) - TOP} more kinds"] if len(told) > TOP + 1 else told[TOP:]
    return "; ".join((*told[:TOP], *more)).replace("|", "\\|")


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def as_json(found: Inventory) -> dict[str, list[dict[str, object]]]:
    """The same, with every reason and note."""
    return {
        "found": [row._asdict() for row in found.rows],
        "missing": [absent._asdict() for absent in found.missing],
    }
