"""A table of a paper with our numbers in it, beside the printed ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from jaxedit.papers.printed import PrintedTable
from jaxedit.papers.readers import Found, Reader, Value, Where

Source = Where | Callable[[Found], Mapping[str, Value | None]] | None


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        keys: what the paper calls it, such as {"model": "GPT", "method": "ROME"}; also how its
            printed numbers are found; keys that the paper's table has not are left aside. Rows of
            ours have values that the paper has not.
        source: the place of our numbers; or a function that gives them by column, where they are
            not scores of one arm; None where there is no counterpart.
        note: why there is none, or what is different.
    """

    keys: Mapping[str, str]
    source: Source
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Ours beside a paper's.

    Attributes:
        title: in a report.
        columns: name as printed -> what it is here.
        rows: in the paper's order.
        printed: the paper's; None for a table that no paper has.
        note: under it: the protocol, what stands for what.
        unit: "%" for shares, else what the numbers are, such as "s" or "times".
    """

    title: str
    columns: Mapping[str, Reader]
    rows: Sequence[Row]
    printed: PrintedTable | None = None
    note: str = ""
    unit: str = "%"


@dataclass(frozen=True)
class Cell:
    """One number of ours and the paper's.

    Attributes:
        ours: None while its run is not done, or if there is no counterpart.
        paper: as printed, in the table's unit; None where it prints none.
        misprint: what is wrong with the printed number.
    """

    ours: Value | None
    paper: float | None
    misprint: str | None


@dataclass(frozen=True)
class FilledRow:
    """A row with its numbers, in the order of the columns."""

    row: Row
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Filled:
    """A table with its numbers."""

    table: Table
    keys: Sequence[str] = field(default_factory=tuple)
    rows: Sequence[FilledRow] = field(default_factory=tuple)

    @property
    def known(self) -> int:
        """How many numbers of ours it has."""
        return sum(cell.ours is not None for row in self.rows for cell in row.cells)


def fill(table: Table, found: Found) -> Filled:
    """Our numbers as far as the runs have got, beside the printed ones."""
    keys = tuple(dict.fromkeys(key for row in table.rows for key in row.keys))
    return Filled(table, keys, tuple(_filled(table, row, found) for row in table.rows))


def _filled(table: Table, row: Row, found: Found) -> FilledRow:
    given = row.source(found) if callable(row.source) else None
    cells = []
    for name, reader in table.columns.items():
        if isinstance(row.source, Where):
            ours = reader(found, row.source)
        else:
            ours = given.get(name) if given else None
        cells.append(Cell(ours, *_printed(table.printed, name, row.keys)))
    return FilledRow(row, cells)


def _printed(
    printed: PrintedTable | None, column: str, keys: Mapping[str, str]
) -> tuple[float | None, str | None]:
    if printed is None:
        return None, None
    theirs = {key: value for key, value in keys.items() if key in printed.keys}
    if not printed.has(column, **theirs):
        return None, None
    return printed.value(column, **theirs), printed.note(column, **theirs)
