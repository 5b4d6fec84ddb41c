"""ATOMIC triples as they are published: an event or thing, a relation, what stands in it.

ATOMIC (Sap et al. 2019, arXiv 1811.00146), ATOMIC-2020 (Hwang et al. 2021, arXiv 2010.05953), and
the plausibility judgements of CSKB Population (Fang et al. 2021, arXiv 2109.07679).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from jaxedit.data import files
from jaxedit.errors import UserError


class Triple(NamedTuple):
    """One line's worth of knowledge, white space around its texts dropped.

    Attributes:
        number: its place among all triples of the file, from 0.
        head: an event such as "PersonX takes cover", or a thing.
        relation: ATOMIC's abbreviation, such as "xWant".
        tail: what follows, is needed, is felt, ...
        plausible: False where the source judged it to be wrong.
    """

    number: int
    head: str
    relation: str
    tail: str
    plausible: bool = True


_Raw = tuple[str, str, str, bool]


def read(path: str | Path) -> list[Triple]:
    """All triples of a file, in file order, nothing cleaned.

    The form is recognised from the first line: tab-separated ``head relation tail`` (ATOMIC-2020);
    ``head @@ relation<TAB>tail| tail`` (its test file for systems); comma-separated
    ``head,relation,tail,label,class,split`` under that header, label 0 being implausible (CSKB
    Population); or comma-separated under ``event,oEffect,...``, each column of a relation a JSON
    list (ATOMIC). Gzipped or not.

    Raises:
        UserError: ``file:line``, if a line has another form, or the file holds no triple.
    """
    text = files.read_text(path).replace("\r\n", "\n")
    first = next((line for line in text.split("\n") if line.strip()), "")
    numbers = count()
    parse = _parser(first, str(path))
    triples = [
        Triple(next(numbers), head.strip(), relation.strip(), tail.strip(), plausible)
        for head, relation, tail, plausible in parse(text, str(path))
    ]
    if not triples:
        raise UserError(f"{path}: holds no triples; give a file of ATOMIC")
    return triples


def _parser(first: str, path: str) -> Callable[[str, str], Iterator[_Raw]]:
    if first.startswith("head,relation,tail,"):
        return _judged
    if first.startswith("event,"):
        return _columns
    if " @@ " in first:
        return _joined
    if first.count("\t") == 2:
        return _tabbed
    raise UserError(
        f"{path}: is no file of ATOMIC triples; a line holds head, relation and tail between tabs, "
        "or the file begins with head,relation,tail,label or event,oEffect,..."
    )


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip())


def _tabbed(text: str, path: str) -> Iterator[_Raw]:
    for number, line in _lines(text):
        parts = line.split("\t")
        if len(parts) != 3:
            raise UserError(f"{path}:{number}: {len(parts)} columns; head, relation, tail are 3")
        yield parts[0], parts[1], parts[2], True


def _joined(text: str, path: str) -> Iterator[_Raw]:
    for number, line in _lines(text):
        left, tab, tails = line.partition("\t")
        head, marks, relation = left.rpartition(" @@ ")
        if not tab or not marks:
            raise UserError(f"{path}:{number}: is not 'head @@ relation<TAB>tail| tail'")
        for tail in tails.split("|"):
            yield head, relation, tail, True


def _judged(text: str, path: str) -> Iterator[_Raw]:
    for number, row in _rows(text, path, 4):
        label = row["label"].strip()
        if label not in ("0", "1"):
            raise UserError(f"{path}:{number}: label is {label!r}; it is 0 or 1")
        yield row["head"], row["relation"], row["tail"], label == "1"


def _columns(text: str, path: str) -> Iterator[_Raw]:
    """``prefix`` and ``split`` are no relations; every other column but the first is one."""
    for number, row in _rows(text, path, 1):
        for name, cell in row.items():
            if name in ("event", "prefix", "split"):
                continue
            tails = files.parse_json(cell or "[]", path, number)
            if not isinstance(tails, list) or not all(isinstance(tail, str) for tail in tails):
                raise UserError(f"{path}:{number}: {name} is not a list of texts")
            for tail in tails:
                yield row["event"], name, tail, True


def _rows(text: str, path: str, least: int) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cells by column) below the header; ``least``: columns that no row may lack."""
    reader = csv.reader(io.StringIO(text, newline=""))
    names = next(reader)
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if not least <= len(cells) <= len(names):
            raise UserError(
                f"{path}:{reader.line_num}: {len(cells)} columns; the header has {len(names)}"
            )
        yield reader.line_num, dict(zip(names, cells, strict=False))
