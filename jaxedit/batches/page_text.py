"""A report of batches in Markdown: its tables and claims; figures are in the page alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def markdown(shown: Mapping[str, Any]) -> Iterator[str]:
    """Lines of what `page.page` has gathered."""
    yield f"# {shown['title']}"
    yield ""
    counts = ", ".join(f"{count} {word}" for word, count in shown["counts"] if count)
    done = f"{shown['done']} of {shown['total']} runs are done. " if shown["total"] else ""
    yield f"{done}Claims: {counts or 'none'}."
    if len(shown["sections"]) > 1 and shown["claims"]:
        yield from ("", "## Claims", "")
        yield from _claims(shown["claims"])
    for section in shown["sections"]:
        yield from ("", f"## {section['title']}", "", section["about"])
        if len(shown["sections"]) == 1 and section["claims"]:
            yield ""
            yield from _claims(section["claims"])
        for table in section["tables"]:
            yield from ("", f"### {table['title']}", "")
            yield from _table(table)
            if table["note"]:
                yield from ("", table["note"])


def _claims(claims: Sequence[Mapping[str, str]]) -> Iterator[str]:
    yield from _line(("claim", "where", "verdict", "numbers"))
    yield "|---|---|---|---|"
    for claim in claims:
        yield from _line((claim["text"], claim["source"], claim["word"], claim["numbers"]))


def _table(table: Mapping[str, Any]) -> Iterator[str]:
    yield from _line((*table["keys"], *table["columns"]))
    yield "|" + "---|" * len(table["keys"]) + "---:|" * len(table["columns"])
    for row in table["rows"]:
        keys = [*map(str, row["keys"])]
        if row["note"]:
            keys[-1] += f" ({row['note']})"
        yield from _line((*keys, *map(_cell, row["cells"])))
    if any(cell["paper"] for row in table["rows"] for cell in row["cells"]):
        yield from ("", f"In brackets the paper's: {table['printed']}.")
    for row in table["rows"]:
        for cell in row["cells"]:
            if cell["misprint"]:
                yield from ("", f"† {', '.join(filter(None, row['keys']))}: {cell['misprint']}")


def _line(cells: Sequence[str]) -> Iterator[str]:
    """One row; a prompt of several lines stays in its cell."""
    plain = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    yield f"| {' | '.join(plain)} |"


def _cell(cell: Mapping[str, Any]) -> str:
    told = cell["ours"]
    if cell["range"]:
        told += f" [{cell['range']}]"
    if cell["paper"] is not None:
        told += f" ({cell['paper']}{'†' if cell['misprint'] else ''})"
    return told
