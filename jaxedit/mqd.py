"""Builds MQD from a file of ATOMIC: one knowledge to generate, to choose, to judge (D4S 3.2).

    python -m jaxedit.mqd --atomic=v4_atomic_trn.csv --out=data/mqd
    python -m jaxedit.mqd --atomic=test.tsv --out=data/mqd --model=embedded:gptj --count=1000
    python -m jaxedit.mqd --atomic=test.tsv --out=data/mqd --tokenizer=path/to/tokenizer

Writes ``generation.jsonl``, ``choice.jsonl`` and ``statement.jsonl``, whose lines of one id are
about one triple, and ``statistics.json`` and ``statistics.md``: what was left out and why, tokens
a prompt and a target by the tokenizer, and with a model the perplexity of the editing objective.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from absl import flags, logging

from jaxedit import cli
from jaxedit.config_checks import DTYPES
from jaxedit.data import mqd
from jaxedit.data.mqd import FORMS, Form, Mqd
from jaxedit.data.mqd.tokens import Tokens
from jaxedit.errors import UserError
from jaxedit.ledger import write_json, write_whole
from jaxedit.models.loading import load_model
from jaxedit.models.text import Tokenizer
from jaxedit.mqd_statistics import Perplexities, count, markdown, perplexities, statistics


def make(
    atomic: str,
    out: Path,
    *,
    records: int = mqd.COUNT,
    seed: int = 0,
    max_words: int = mqd.MAX_WORDS,
    model: str | None = None,
    tokenizer: str | None = None,
    dtype: str = "float32",
) -> str:
    """Builds, measures, writes; returns the page of statistics.

    Args:
        atomic: the file of triples.
        out: directory; made if need be, and nothing is written before all is measured.
        records: of each form, where the source has as many.
        seed: of the draw.
        max_words: of a tail.
        model: for perplexities; none are taken without.
        tokenizer: directory of the one that counts; by default the model's.
        dtype: of the model's parameters.

    Raises:
        UserError: a file is missing or broken, nothing in it can be used, the model takes none, or
            the directory cannot be made or written to.
    """
    _check_writable(out)
    made = mqd.build(mqd.read(atomic), records, seed, max_words=max_words)
    if len(made.generation) < records:
        logging.warning("%s: only %d records of each form", atomic, len(made.generation))
    counting = Tokenizer.from_dir(tokenizer) if tokenizer else None
    lm = load_model(model, dtype) if model else None
    counting = counting or (lm.tokenizer if lm else None)
    counted = count(made, counting) if counting else None
    found = perplexities(made, lm, dtype) if lm else None
    names = {"model": model, "tokenizer": tokenizer or model}
    named_ones = {what: name for what, name in names.items() if name}
    write(out, made, Path(atomic).name, counted, found, named_ones)
    return (out / "statistics.md").read_text(encoding="utf-8")


def _check_writable(directory: Path) -> None:
    """Refuses, before any work is done, a place where no directory can be made or written to."""
    there = next(path for path in (directory, *directory.parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"--out={directory}: {there} is a file; name a directory")
    if not os.access(there, os.W_OK):
        raise UserError(f"--out={directory}: {there} cannot be written to; name another directory")


def write(
    directory: Path,
    made: Mqd,
    source: str,
    counted: Mapping[Form, Tokens] | None = None,
    found: Perplexities | None = None,
    names: Mapping[str, str] | None = None,
) -> None:
    """Writes the three files of facts and the two of statistics.

    Args:
        directory: made if need be.
        made: the data set.
        source: what it was made from.
        counted: tokens by form.
        found: perplexities by form.
        names: of "tokenizer" and "model", where there are any.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for form in FORMS:
        write_whole(directory / f"{form}.jsonl", mqd.as_jsonl(made.form(form)))
    record = statistics(made, source, counted, found, names or {})
    write_json(directory / "statistics.json", record)
    write_whole(directory / "statistics.md", "\n".join(markdown(record)) + "\n")


if __name__ == "__main__":
    _ATOMIC = flags.DEFINE_string("atomic", None, "a file of ATOMIC triples, .gz or not")
    _OUT = flags.DEFINE_string("out", None, "directory for the data set; made if need be")
    _COUNT = flags.DEFINE_integer("count", mqd.COUNT, "records of each form, if there are")
    _SEED = flags.DEFINE_integer("seed", 0, "of the draw")
    _WORDS = flags.DEFINE_integer("max_words", mqd.MAX_WORDS, "of a tail")
    _MODEL = flags.DEFINE_string("model", None, "directory, hub id or embedded:NAME")
    _TOKENIZER = flags.DEFINE_string("tokenizer", None, "its directory; default: the model's")
    _DTYPE = flags.DEFINE_enum("dtype", "float32", DTYPES, "of the model's parameters")

    def _main() -> None:
        page = make(
            cli.required(_ATOMIC, "atomic.tsv"),
            Path(cli.required(_OUT, "data/mqd")),
            records=_COUNT.value,
            seed=_SEED.value,
            max_words=_WORDS.value,
            model=_MODEL.value,
            tokenizer=_TOKENIZER.value,
            dtype=_DTYPE.value,
        )
        print(page)

    cli.run(_main)
