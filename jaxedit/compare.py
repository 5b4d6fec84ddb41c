"""Runs side by side: what differs in their configs, scores, differences fact by fact, seconds.

    python -m jaxedit.compare --workdir=out/a --workdir=out/b
    python -m jaxedit.compare --workdir=out/a --workdir=out/b --workdir=out/c --arm=d4s \\
        --out=out/compare.html

prints the tables; with --out, writes them as HTML and, beside it, as Markdown. Without --arm, all
arms that all runs have are compared, or the first of each where they have none in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2
from absl import flags, logging

from jaxedit import cli
from jaxedit.comparison import Cell, Table, compared
from jaxedit.errors import UserError
from jaxedit.finished_runs import Run, arms_of, read_runs
from jaxedit.ledger import write_whole
from jaxedit.metrics import code_version


def title(runs: Sequence[Run]) -> str:
    """Of the page."""
    return f"{' against '.join(run.name for run in reversed(runs))}"


def page(runs: Sequence[Run], tables: Sequence[Table]) -> str:
    """The tables as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxedit"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    template = environment.get_template("compare.html")
    return template.render(title=title(runs), version=code_version(), tables=tables)


def markdown(tables: Sequence[Table], heading: str = "") -> str:
    """The tables as Markdown that reads well on a terminal."""
    parts = [f"# {heading}"] if heading else []
    for table in tables:
        parts.append(f"## {table.title}")
        if table.rows:
            parts.append(_markdown(table))
        if table.note:
            parts.append(table.note)
    return "\n\n".join(parts) + "\n"


def _markdown(table: Table) -> str:
    rows = [list(table.heads)]
    rows += [[name, *map(_text, cells)] for name, cells in table.rows]
    rows = [[text.replace("|", "\\|") for text in row] for row in rows]
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    padded = ([text.ljust(w) for text, w in zip(row, widths, strict=True)] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def _text(cell: Cell) -> str:
    value = f"**{cell.value}**" if cell.told else cell.value
    return f"{value} ({cell.range})" if cell.range else value


def write(out: Path, runs: Sequence[Run], tables: Sequence[Table]) -> None:
    """Writes the page, and the Markdown beside it.

    Raises:
        UserError: it cannot be written there.
    """
    if out.suffix != ".html":
        raise UserError(f"--out={out}: give the name of a page, such as out/compare.html")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, page(runs, tables))
        write_whole(out.with_suffix(".md"), markdown(tables, title(runs)))
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(f"--out={out}: cannot write there ({error.strerror})") from None


if __name__ == "__main__":
    _WORKDIR = flags.DEFINE_multi_string("workdir", [], "a run's directory; give two or more")
    _ARM = flags.DEFINE_list("arm", [], "only these arms; default: all that all runs have")
    _OUT = flags.DEFINE_string("out", None, "a page to write, such as out/compare.html")

    def _main() -> None:
        runs = read_runs(_WORKDIR.value or ())
        tables = compared(runs, arms_of(runs, _ARM.value or ()))
        if _OUT.value:
            write(Path(_OUT.value), runs, tables)
        print(markdown(tables), end="")
        if _OUT.value:
            logging.info("wrote %s and %s", _OUT.value, Path(_OUT.value).with_suffix(".md"))

    cli.run(_main)
