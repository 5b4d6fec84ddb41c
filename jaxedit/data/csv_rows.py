"""The rows of a CSV file (RFC 4180) as dictionaries, with the line that each begins on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from jaxedit.errors import UserError

Row = tuple[int, list[str]]


def rows(
    text: str, where: str, required: Sequence[str], optional: Sequence[str], beside: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line from 1, column -> cell) of each row below the header; empty optional cells left out.

    Args:
        text: the file's.
        where: its name, for messages.
        required: columns that must be there.
        optional: columns that may be.
        beside: names that a table cannot hold, such as those of lists.

    Raises:
        UserError: ``file:line``, if quotes are broken, a column is missing or there twice, or a
            row has more or fewer cells than the header.
    """
    lines = _cells(text, where)
    number, header = next(lines, (1, []))
    header = [name.strip() for name in header]
    if problem := _header_problem(header, required, beside):
        raise UserError(f"{where}:{number}: {problem}")
    for number, cells in lines:
        if len(cells) != len(header):
            raise UserError(
                f"{where}:{number}: has {len(cells)} cells, the header {len(header)}; "
                "put quotes around a cell with a comma in it"
            )
        named = dict(zip(header, cells, strict=True))
        yield number, {k: v for k, v in named.items() if v.strip() or k not in optional}


def _cells(text: str, where: str) -> Iterator[Row]:
    """Rows with a cell in them, each with its first line."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{where}:{line}: broken CSV: {error}; check its quotes") from None
        if any(cell.strip() for cell in cells):
            yield line, cells
        line = reader.line_num + 1


def _header_problem(
    header: Sequence[str], required: Sequence[str], beside: Sequence[str]
) -> str | None:
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        return f"the header {header[0]!r} has one column; separate columns by commas"
    for name in header:
        if header.count(name) > 1:
            return f"the header names {name!r} twice"
        if name in beside:
            return f"a table cannot hold the list {name!r}; write JSON lines instead"
    missing = [name for name in required if name not in header]
    if header and missing:
        return f"the header lacks {', '.join(missing)}; it has {', '.join(header)}"
    return None
