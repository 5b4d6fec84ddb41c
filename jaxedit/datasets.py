"""Counts what a directory holds of the published data sets, as a table.

    python -m jaxedit.datasets --data=data
    python -m jaxedit.datasets --data=data --output=table.md

For every file that is there: records published, found, usable, skipped and why, facts and
questions made of them. For every other one: what it is called and who publishes it. An
``--output`` that ends in .json has every reason.
"""

from __future__ import annotations

import json
from pathlib import Path

from absl import flags, logging

from jaxedit import cli
from jaxedit.data.inventory import as_json, inventory, markdown
from jaxedit.errors import UserError


def tell(data: Path, output: Path | None) -> None:
    """Writes the table, and prints it where no file is named.

    Raises:
        UserError: no such directory, a broken file in it, or an output that cannot be written.
    """
    if output is not None and not output.parent.is_dir():
        raise UserError(f"--output={output}: no such directory {output.parent}; make it")
    found = inventory(data, lambda source: logging.info("%s", source))
    as_text = markdown(found)
    if output is None:
        print(as_text, end="")
        return
    json_wanted = output.suffix == ".json"
    text = json.dumps(as_json(found), ensure_ascii=False, indent=1) if json_wanted else as_text
    try:
        output.write_text(text, encoding="utf-8")
    except IsADirectoryError:
        raise UserError(f"--output={output}: is a directory; name a file") from None
    except PermissionError:
        raise UserError(f"--output={output}: may not be written; name another file") from None
    logging.info("%d files found, %d not: %s", len(found.rows), len(found.missing), output)


if __name__ == "__main__":
    _DATA = flags.DEFINE_string("data", None, "directory that holds the data sets")
    _OUTPUT = flags.DEFINE_string("output", None, "a .md or .json file; printed if none")

    cli.run(
        lambda: tell(
            Path(cli.required(_DATA, "data")), Path(_OUTPUT.value) if _OUTPUT.value else None
        )
    )
