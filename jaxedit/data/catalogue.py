"""The published data sets of facts: what each is called, how much it holds, who publishes it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from jaxedit.data import (
    ckebench,
    counterfact,
    elken,
    freetext,
    known_facts,
    mquake,
    plausibility,
    qaedit,
    zsre,
)
from jaxedit.data.records import Parser, Reader, Screen, all_together, each, first_wins
from jaxedit.errors import UserError

OTHERS = ("jsonl", "csv", "mqd-generation", "mqd-choice", "mqd-statement", "embedded:gptj")
ENDINGS = ("", ".gz", "l", "l.gz")  # of a name in .json: .jsonl too


@dataclass(frozen=True)
class DataSet:
    """A published file, and how it is read.

    Attributes:
        file: what it is called.
        records: how many it holds.
        published: who publishes it.
        reader: all its records to the parser of each.
        screen: which records do not go together.
        folder: where it lies below the directory of all data; by default the source's first word.
        also: other names that it goes by, such as those of a part of it.
        formats: by role: what its prompts are wrapped in unless a run says otherwise.
    """

    file: str
    records: int
    published: str
    reader: Reader
    screen: Screen = first_wins
    folder: str = ""
    also: tuple[str, ...] = ()
    formats: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All file names, with every ending."""
        return tuple(name + end for name in (self.file, *self.also) for end in ENDINGS)


_ROME = "https://rome.baulab.info/data/dsets"
_EASYEDIT = "https://github.com/zjunlp/EasyEdit, section Dataset"
_KNOWEDIT = "https://github.com/zjunlp/EasyEdit, benchmark KnowEdit"
_MQUAKE = "https://github.com/princeton-nlp/MQuAKE, folder datasets"
_ELKEN = "https://github.com/THU-KEG/Event-Level-Knowledge-Editing"
_CSK = "https://github.com/anshitag/memit_csk"
_CKEBENCH = "https://github.com/Huangxiusheng/DEM, CKEBench.json.zip"
_UNKE = "https://github.com/TrustedLLM/UnKE, folder data"
_ANYEDIT = "https://github.com/jianghoucheng/AnyEdit, folder data"
_CONCEPT = "https://zjunlp.github.io/project/ConceptEdit"
_MIRAGE = "https://github.com/WanliYoung/Revisit-Editing-Evaluation"


def _counterfact(file: str, records: int, published: str = _EASYEDIT) -> DataSet:
    return DataSet(file, records, published, each(counterfact.parse))


def _zsre(file: str, records: int, published: str = _EASYEDIT, also: str = "") -> DataSet:
    return DataSet(file, records, published, each(zsre.parse), also=(also,) if also else ())


def _elken(file: str, records: int, parse: Parser, screen: Screen = first_wins) -> DataSet:
    return DataSet(file, records, _ELKEN, each(parse), screen, formats=elken.FORMATS)


def _plausibility(name: str, edits: int, probe: int) -> Iterator[tuple[str, DataSet]]:
    """The edits and the probe set, their slots at each of the three annotated words."""
    files = ("", "svo_annotated_edit_set.json", edits), ("-probe", "probe_set.json", probe)
    for kind, file, records in files:
        for word in (None, *get_args(plausibility.Word)):
            reader = each(plausibility.parser(word or "subject"))
            source = f"{name}{kind}-{word}" if word else f"{name}{kind}"
            yield source, DataSet(file, records, f"{_CSK} ({name})", reader)


DATASETS = {
    "counterfact": _counterfact("counterfact.json", 21_919, _ROME),
    "counterfact-edit": _counterfact("counterfact-edit.json", 10_000),
    "counterfact-train": _counterfact("counterfact-train.json", 10_000),
    "counterfact-val": _counterfact("counterfact-val.json", 1_919),
    "counterfact-portability": _counterfact("counterfact_portability_gpt4.json", 1_031),
    "zsre": _zsre("zsre_mend_eval.json", 19_086, _ROME),
    "zsre-train": _zsre("zsre_mend_train.json", 163_196, _ROME),
    "zsre-train-10000": _zsre(
        "zsre_mend_train_10000.json", 10_000, also="zsre_mend_train_10000_full.json"
    ),
    "zsre-portability": _zsre("zsre_mend_eval_portability_gpt4.json", 1_037),
    "zsre-knowedit": _zsre("ZsRE-test-all.json", 1_304, _KNOWEDIT),
    "mquake": DataSet(
        "MQuAKE-CF-3k.json", 3_000, _MQUAKE, each(mquake.parse), screen=mquake.conflicts
    ),
    "mquake-all": DataSet(
        "MQuAKE-CF-3k.json", 3_000, _MQUAKE, each(mquake.parse), screen=all_together
    ),
    # The public test file breaks off; rebuilt from what else is published it has 887 events.
    "elken": _elken("test.json", 887, elken.parse, all_together),
    "elken-train": _elken("train.json", 677, elken.parse, all_together),
    "elken-facts": _elken("test.json", 887, elken.as_requests),
    "elken-facts-train": _elken("train.json", 677, elken.as_requests),
    **dict(_plausibility("20q", edits=2_505, probe=379)),
    **dict(_plausibility("pep3k", edits=1_531, probe=265)),
    "ckd": DataSet(
        "CKEBench.json",
        15_600,
        _CKEBENCH,
        each(ckebench.parse),
        also=("CKEBench_first4000.json",),
    ),
    "unke": DataSet(
        "final_data_v2.json",
        1_000,
        _UNKE,
        each(freetext.unke),
        folder="freetext",
        also=("unke_final_data_v2.json",),
    ),
    "editevery": DataSet(
        "editevery.json", 552, _ANYEDIT, each(freetext.edit_everything), folder="freetext"
    ),
    "concept": DataSet(
        "Concept_edit_MC.json", 452, _CONCEPT, each(freetext.concept), folder="freetext"
    ),
    "qaedit": DataSet("QAEdit_inter_1k.json", 1_000, _MIRAGE, each(qaedit.parse)),
    "known_1000": DataSet("known_1000.json", 1_209, _ROME, known_facts.reader),
}


def dataset(source: str) -> DataSet:
    """The data set of that name.

    Raises:
        UserError: there is none; with the nearest name.
    """
    if source not in DATASETS:
        names = [*DATASETS, *OTHERS]
        near = difflib.get_close_matches(source, names, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(names)}"
        raise UserError(f"unknown source of facts {source!r}; {hint}")
    return DATASETS[source]


def find(source: str, path: str | Path | None = None) -> Path:
    """The file of a data set.

    Args:
        source: a name in ``DATASETS``.
        path: the file, or a directory that holds it or its folder; by default $JAXEDIT_DATA, else
            ./data.

    Raises:
        UserError: it is not there; the message says what it is called, how many records it holds
            and who publishes it.
    """
    wanted = dataset(source)
    given = Path(path) if path is not None else Path(os.environ.get("JAXEDIT_DATA", "data"))
    if path is not None and not given.is_dir():
        candidates = [given]
    else:
        folders = (given / (wanted.folder or source.split("-")[0]), given)
        candidates = [folder / name for folder in folders for name in wanted.names]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UserError(
        f"{given if given == candidates[0] else given / wanted.file}: no such file; data set "
        f"{source!r} is {wanted.file} (or .gz, {wanted.records:,} records), published at "
        f"{wanted.published}"
    )


def stated(source: str, file: Path) -> int | None:
    """How many records the published file of that name holds, the source's own file first."""
    every = [DATASETS[source], *DATASETS.values()]
    return next((one.records for one in every if file.name in one.names), None)
