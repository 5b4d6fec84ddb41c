"""What the two papers print: every number of their tables, and what they claim in words.

    printed = table("onceedit", "2")
    printed.value("Rel.", data="zsRE", method="+DW", model="GPT-J-6B")  # 20.0
    printed.note("Avg.", ...)  # what is wrong with that number, or None

printed.json has them as printed; misprints are marked there and never mended in place. Rates come
out in % whichever way a paper prints them. A score over several models has the model "all".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jaxedit.errors import UserError
from jaxedit.typed import build, suggestion


@dataclass(frozen=True)
class Row:
    """Numbers by column, found by keys; a dash is None."""

    keys: Mapping[str, str]
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class Misprint:
    """A number that cannot be right: where it stands, what its parts give, how that is known."""

    keys: Mapping[str, str]
    column: str
    printed: float
    should_be: float
    why: str


@dataclass(frozen=True)
class PrintedTable:
    """A table as printed.

    Attributes:
        paper, name: "onceedit" or "d4s", and the table's number there.
        title, protocol, notes: in our words.
        keys: what a row is found by, such as ("data", "method", "model").
        units, decimals: of each column, as the numbers stand here (rates in %).
        rows: in the paper's order.
    """

    paper: str
    name: str
    title: str
    protocol: str
    keys: tuple[str, ...]
    units: Mapping[str, str]
    decimals: Mapping[str, int]
    rows: tuple[Row, ...]
    misprints: tuple[Misprint, ...]
    notes: tuple[str, ...]

    def value(self, column: str, **keys: object) -> float | None:
        """A number as printed, rates in %; None for a dash.

        Args:
            column: as printed.
            **keys: of the row, as printed or plainer (`_plain`), as many as leave one row.

        Raises:
            UserError: no such column, key or row (the nearest is named), or more than one row.
        """
        column = self._column(column)
        return self._row(keys).values[column]

    def note(self, column: str, **keys: object) -> str | None:
        """What is wrong with a number, such as "85.77 is meant: ..."; errors as `value`."""
        column, row = self._column(column), self._row(keys)
        for one in self.misprints:
            if (one.keys, one.column) == (row.keys, column):
                return f"{one.should_be:.{self.decimals[column]}f} is meant: {one.why}"
        return None

    def has(self, column: str, **keys: object) -> bool:
        """Whether the table has that one cell, be it a dash."""
        try:
            self.value(column, **keys)
        except UserError:
            return False
        return True

    def _column(self, column: str) -> str:
        return _find(column, self.units, f"{self.paper} table {self.name}: no column")

    def _row(self, keys: Mapping[str, object]) -> Row:
        where = f"{self.paper} table {self.name}"
        rows = list(self.rows)
        for key, wanted in keys.items():
            key = _find(key, self.keys, f"{where}: no key")
            known = dict.fromkeys(row.keys[key] for row in rows)
            label = _find(str(wanted), known, f"{where}: no such row with {key}")
            rows = [row for row in rows if row.keys[key] == label]
        if len(rows) > 1:
            left = [key for key in self.keys if len({row.keys[key] for row in rows}) > 1]
            raise UserError(f"{where}: {len(rows)} rows fit; give {' and '.join(left)}, too")
        return rows[0]


@dataclass(frozen=True)
class PrintedNumber:
    """A number of a claim; rates in %."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class PrintedClaim:
    """What a paper says of its results, in our words.

    Attributes:
        name: unique within its paper.
        place: the section or figure.
        numbers: those of the paper's sentence; there may be none.
        note: what speaks against it within the paper, or None.
    """

    paper: str
    name: str
    place: str
    claim: str
    numbers: tuple[PrintedNumber, ...]
    note: str | None = None


def table(paper: str, name: str) -> PrintedTable:
    """One table: "onceedit" has 1 to 9, "d4s" 2 to 4 (its 1 is an example without numbers).

    Raises:
        UserError: there is no such table; the nearest is named.
    """
    paper = _paper(paper)
    found = {one.name: one for one in tables() if one.paper == paper}
    return found[_find(name, found, f"{paper}: no table of numbers")]


def tables() -> tuple[PrintedTable, ...]:
    """All of both papers."""
    return tuple(map(_table, _read("tables")))


def claims(paper: str) -> tuple[PrintedClaim, ...]:
    """What a paper claims, section by section.

    Raises:
        UserError: an unknown paper.
    """
    paper = _paper(paper)
    return tuple(build(PrintedClaim, r, "claims") for r in _read("claims") if r["paper"] == paper)


def titles() -> Mapping[str, str]:
    """The papers' titles by their names here."""
    return {raw["paper"]: raw["title"] for raw in _read("papers")}


def _read(part: str) -> list[dict[str, Any]]:
    file = resources.files("jaxedit.papers").joinpath("printed.json")
    return json.loads(file.read_text(encoding="utf-8"))[part]


def _paper(name: str) -> str:
    return _find(name, titles(), "no paper")


def _find(wanted: str, known: Iterable[str], where: str) -> str:
    """The known word that means the wanted one."""
    for word in known:
        if _plain(word) == _plain(wanted):
            return word
    raise UserError(f"{where} {wanted!r}{suggestion(wanted, known)}")


def _plain(word: str) -> str:
    """What is compared: "D4S(ours)" as "d4s", "10,000" as "10000", "0.80" as "0.8"."""
    word = word.casefold().replace(",", "").removesuffix("(ours)")
    try:
        return str(float(word))
    except ValueError:
        return word


def _table(raw: Mapping[str, Any]) -> PrintedTable:
    columns = raw["columns"]
    units = dict(zip(columns, raw["units"], strict=True))
    decimals = dict(zip(columns, raw["decimals"], strict=True))
    rates = [column for column in columns if units[column] == "fraction"]

    def keys(record: Mapping[str, Any]) -> Mapping[str, str]:
        return {key: str(record[key]) for key in raw["keys"]}

    def number(column: str, value: float) -> float:
        return round(100 * value, 6) if column in rates else value

    def row(record: Mapping[str, Any]) -> Row:
        pairs = zip(columns, record["values"], strict=True)
        return Row(keys(record), {c: None if v is None else number(c, v) for c, v in pairs})

    def misprint(record: Mapping[str, Any]) -> Misprint:
        column = record["column"]
        numbers = (number(column, record[kind]) for kind in ("printed", "should_be"))
        return Misprint(keys(record), column, *numbers, why=record["why"])

    return PrintedTable(
        paper=raw["paper"],
        name=raw["table"],
        title=raw["title"],
        protocol=raw["protocol"],
        keys=tuple(raw["keys"]),
        units={**units, **dict.fromkeys(rates, "%")},
        decimals={**decimals, **{column: decimals[column] - 2 for column in rates}},
        rows=tuple(map(row, raw["rows"])),
        misprints=tuple(map(misprint, raw["misprints"])),
        notes=tuple(raw["notes"]),
    )
