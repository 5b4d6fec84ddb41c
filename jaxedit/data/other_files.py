"""Published files that hold no facts to edit: statements, triples, text, tests of abilities.

Here they are only found, counted and checked for their shape; what uses them reads them itself.
"""

from __future__ import annotations

import bz2
import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jaxedit.data import csv_rows
from jaxedit.data.files import json_lines, kind, read_records, read_text
from jaxedit.data.plausibility import read_statements
from jaxedit.errors import UserError


class Count(NamedTuple):
    """How many records a file holds, and the reasons why some of them cannot be used."""

    found: int
    defects: list[str]


@dataclass(frozen=True)
class OtherFile:
    """A published file.

    Attributes:
        folder: where it lies below the directory of all data.
        names: what it is called; the first name first, then those of parts of it.
        records: how many it holds.
        published: who publishes it.
        count: counts its records.
    """

    folder: str
    names: tuple[str, ...]
    records: int
    published: str
    count: Callable[[Path], Count]

    def find(self, directory: Path) -> Path | None:
        """The file in the directory or in its folder there, compressed or not."""
        for name in self.names:
            for parent in (directory / self.folder, directory):
                for end in ("", ".gz", ".bz2"):
                    if (parent / f"{name}{end}").is_file():
                        return parent / f"{name}{end}"
        return None


def _lines(path: Path) -> Count:
    text = read_text(path)
    return Count(text.count("\n") + (not text.endswith("\n")), [])


def _statements(path: Path) -> Count:
    return Count(len(read_statements(path)), [])


def _atomic_lines(path: Path) -> Count:
    """``head @@ relation <tab> tail| tail`` lines."""
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    shaped = (line.partition("\t")[0].count("@@") == 1 and "\t" in line for line in lines)
    return Count(len(lines), ["no head, relation and tails"] * (len(lines) - sum(shaped)))


def _atomic_table(path: Path) -> Count:
    columns = ("head", "relation", "tail", "label", "class", "split")
    rows = list(csv_rows.rows(read_text(path), str(path), columns, (), ()))
    empty = sum(not all(row[name].strip() for name in columns[:3]) for _, row in rows)
    return Count(len(rows), ["an empty head, relation or tail"] * empty)


def _records(keys: Iterable[str], answers: Iterable[str] | None = None) -> Callable[[Path], Count]:
    """Counts JSON records that need these keys, and one of these answers."""

    def count(path: Path) -> Count:
        records = read_records(path)
        return Count(len(records), list(_defects(records, tuple(keys), answers)))

    return count


def _defects(
    records: Iterable[Any], keys: tuple[str, ...], answers: Iterable[str] | None
) -> Iterable[str]:
    for record in records:
        if not isinstance(record, Mapping):
            yield f"is {kind(record)}, not an object"
        elif missing := [key for key in keys if not record.get(key)]:
            yield f'"{missing[0]}" is missing or empty'
        elif answers and record["answer"] not in answers:
            yield f"the answer is none of {', '.join(answers)}"


def _hellaswag(path: Path) -> Count:
    """Six lines an item: its context, the place of the right ending, four endings."""
    try:
        text = bz2.decompress(path.read_bytes()) if path.suffix == ".bz2" else path.read_bytes()
        lines = text.decode("utf-8-sig").rstrip("\n").split("\n")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    items = [lines[start : start + 6] for start in range(0, len(lines), 6)]
    sound = sum(len(item) == 6 and item[1].strip() in ("0", "1", "2", "3") for item in items)
    return Count(len(items), ["not six lines with a place 0 to 3"] * (len(items) - sound))


def _mmlu(path: Path) -> Count:
    """A tar of JSON lines, a file a subject and split."""
    found, defects = 0, []
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.name.endswith(".jsonl") else None
                if file is None:
                    continue
                text = io.TextIOWrapper(file, "utf-8-sig").read()
                records = [record for _, record in json_lines(text, f"{path}:{member.name}")]
                found += len(records)
                defects += _defects(records, ("question", *"ABCD", "answer"), "ABCD")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch it again") from None
    return Count(found, defects)


def _truthfulqa(path: Path) -> Count:
    return _records(("question", "mc1_targets", "mc2_targets"))(path)


_CSK = "https://github.com/anshitag/memit_csk"
_ATOMIC = "https://allenai.org/data/atomic-2020"
_CSKB = "https://github.com/HKUST-KnowComp/CSKB-Population"
_TREX = "https://hadyelsahar.github.io/t-rex (its sentences)"
_WIKI = "https://arxiv.org/abs/1609.07843, WikiText-2 raw"
_ARC = "https://allenai.org/data/arc"
_HELLASWAG = "https://rowanzellers.com/hellaswag"
_MMLU = "https://github.com/hendrycks/test"
_TRUTHFULQA = "https://github.com/sylinrl/TruthfulQA"
_WINOGRANDE = "https://winogrande.allenai.org"
_GSM8K = "https://github.com/openai/grade-school-math"
_arc = _records(("question", *"ABCD", "answer"), "ABCD")
_gsm8k = _records(("question", "answer"))

OTHER_FILES = {
    **{
        f"{name}-{split}": OtherFile(name, (f"{split}_set.json",), count, _CSK, _statements)
        for name, counts in (("20q", (2_006, 507, 2_505)), ("pep3k", (1_225, 306, 1_531)))
        for split, count in zip(("train", "edit_validation", "edit"), counts, strict=True)
    },
    "atomic-test": OtherFile(
        "atomic", ("comet_atomic2020_system_eval_test.tsv",), 5_000, _ATOMIC, _atomic_lines
    ),
    "cskb-population": OtherFile(
        "atomic", ("cskb_population_evaluation_set.csv",), 31_731, _CSKB, _atomic_table
    ),
    "trex": OtherFile("corpus", ("trex_wikipedia_sentences.txt",), 89_293, _TREX, _lines),
    "wikitext-2-valid": OtherFile("corpus", ("wikitext-2.valid.raw.txt",), 3_760, _WIKI, _lines),
    "wikitext-2-test": OtherFile("corpus", ("wikitext-2.test.raw.txt",), 4_358, _WIKI, _lines),
    "arc-challenge-test": OtherFile("downstream", ("arc_challenge_test.jsonl",), 1_172, _ARC, _arc),
    "arc-challenge-train": OtherFile(
        "downstream", ("arc_challenge_train.jsonl",), 1_119, _ARC, _arc
    ),
    "hellaswag-val": OtherFile(
        "downstream", ("hellaswag_val_full.txt",), 10_042, _HELLASWAG, _hellaswag
    ),
    "mmlu": OtherFile("downstream", ("mmlu.tar",), 15_858, _MMLU, _mmlu),
    "truthfulqa-mc": OtherFile(
        "downstream", ("truthfulqa_mc_task.json",), 817, _TRUTHFULQA, _truthfulqa
    ),
    "winogrande-dev": OtherFile(
        "downstream",
        ("winogrande_dev.jsonl",),
        1_267,
        _WINOGRANDE,
        _records(("sentence", "option1", "option2", "answer"), "12"),
    ),
    "gsm8k-test": OtherFile("downstream", ("gsm8k_test.jsonl",), 1_319, _GSM8K, _gsm8k),
    "gsm8k-train": OtherFile(
        "downstream", ("gsm8k_train.jsonl", "gsm8k_train_first200.jsonl"), 7_473, _GSM8K, _gsm8k
    ),
}
