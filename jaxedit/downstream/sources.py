"""The benchmarks' own files, as the records that lm-evaluation-harness's tasks expect.

Nothing is rewritten that a prompt shows: prompts, metrics and clean-up are the harness's. What a
file lacks is skipped and counted.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxedit.data.files import parse_json
from jaxedit.downstream.files import (
    find,
    find_any,
    four_choice,
    one_of,
    read_jsonl,
    read_text,
    text,
)
from jaxedit.downstream.pools import Doc, Pool, Source
from jaxedit.errors import UserError

LETTERS = ("A", "B", "C", "D")
HELD_OUT = 100  # validation items kept for demonstrations where there is no training file
NUMERALS = ("0", "1", "2", "3")


def arc_challenge(data: Path, seed: int) -> Source:
    """ARC-Challenge: the authors' records, the hub's, or flattened to columns A to D.

    A flattened item whose choices are numbered has lost their texts; one with three choices has
    an empty fourth. The first kind is skipped, of the second the empty choice.
    """
    del seed
    what = "ARC-Challenge, {} items, Allen Institute for AI, allenai/ai2_arc on the hub"
    test = find(
        data, ("arc_challenge_test.jsonl", "ARC-Challenge-Test.jsonl"), what.format("1,172")
    )
    names = ("arc_challenge_train.jsonl", "ARC-Challenge-Train.jsonl")
    train = find(data, names, what.format("1,119") + ": demonstrations")
    docs, shown = _arc(test), _arc(train)
    records = len(read_jsonl(test))
    return Source(
        (Pool("arc_challenge", "", tuple(docs), tuple(doc for _, doc in shown)),),
        _counted(test, len(docs), records, "items whose choices' texts are missing"),
        f"{train.name}, {len(shown)} items, drawn for each item",
    )


def _arc(path: Path) -> list[tuple[int, Doc]]:
    found = []
    for i, record in enumerate(read_jsonl(path)):
        where = f"{path}: record {i + 1}"
        question, choices = record.get("question"), record.get("choices")
        if isinstance(question, dict):  # the authors' form
            choices, question = question.get("choices"), question.get("stem")
        if isinstance(choices, list):
            choices = {key: [str(c.get(key)) for c in choices] for key in ("text", "label")}
        key = str(record.get("answerKey", record.get("answer")))
        if choices is None:
            texts = {letter: text(record, letter, where) for letter in LETTERS}
            kept = [letter for letter in LETTERS if texts[letter].strip()]
            choices = {"text": [texts[letter] for letter in kept], "label": kept}
            if not kept:
                continue
        if not isinstance(question, str):
            raise UserError(f'{where}: "question" is missing or no text')
        one_of({"answer": key}, "answer", choices["label"], where)
        found.append((i, {"question": question, "choices": choices, "answerKey": key}))
    return found


def hellaswag(data: Path, seed: int) -> Source:
    """HellaSwag: the authors' JSON lines, or six lines an item (context, gold, four endings).

    The second form has its WikiHow marks removed already, and what was ctx_b, the beginning of
    the sentence that the endings go on with, is the last part of a context that ends without a
    full stop. The harness writes that part with a capital; so it is split off again.
    """
    what = "HellaSwag validation, 10,042 items, Zellers et al. 2019, rowanz/hellaswag on GitHub"
    path = find(data, ("hellaswag_val.jsonl", "hellaswag_val_full.txt"), what)
    notes = []
    if path.name.startswith("hellaswag_val_full"):
        docs = _hellaswag_lines(path)
        notes = ["contexts as text, split again into what the harness joins"]
    else:
        docs = _hellaswag_records(path)
    train = find_any(data, ("hellaswag_train.jsonl",))
    shown = None if train is None else [doc for _, doc in _hellaswag_records(train)]
    return _with_demonstrations("hellaswag", path, docs, train, shown, seed, notes)


def _hellaswag_records(path: Path) -> list[tuple[int, Doc]]:
    docs = []
    for i, record in enumerate(read_jsonl(path)):
        where = f"{path}: record {i + 1}"
        keys = ("activity_label", "ctx_a", "ctx_b")
        endings = record.get("endings")
        if not (isinstance(endings, list) and len(endings) == 4):
            raise UserError(f'{where}: "endings" must be a list of four texts')
        doc = {key: text(record, key, where) for key in keys}
        label = str(one_of(record, "label", NUMERALS, where))
        docs.append((i, {**doc, "endings": endings, "label": label}))
    return docs


def _hellaswag_lines(path: Path) -> list[tuple[int, Doc]]:
    lines = read_text(path).rstrip("\n").split("\n")
    if len(lines) % 6:
        raise UserError(f"{path}: has {len(lines)} lines; six an item are needed")
    docs = []
    for i in range(len(lines) // 6):
        context, gold, *endings = lines[6 * i : 6 * i + 6]
        one_of({"gold": gold}, "gold", NUMERALS, f"{path}:{6 * i + 2}")
        label, colon, rest = context.partition(": ")
        if not colon:
            raise UserError(
                f"{path}:{6 * i + 1}: the context does not begin with an activity and ':'"
            )
        before, last = _last_part(rest)
        doc = {"activity_label": label, "ctx_a": before, "ctx_b": last}
        docs.append((i, {**doc, "endings": endings, "label": gold}))
    return docs


def _last_part(context: str) -> tuple[str, str]:
    """What ends with a full stop, and what an unfinished last sentence begins with."""
    if context.endswith("."):
        return context, ""
    ends = [match.end() for match in re.finditer(r"[.?!\"')\],:;] +(?=\S)", context)]
    cut = ends[-1] if ends else 0
    return context[:cut].rstrip(), context[cut:]


def winogrande(data: Path, seed: int) -> Source:
    """WinoGrande's dev file, which is what the harness scores."""
    what = "WinoGrande dev, 1,267 items, Sakaguchi et al. 2019, allenai/winogrande on GitHub"
    path = find(data, ("winogrande_dev.jsonl",), what)
    train = find_any(data, ("winogrande_train_xl.jsonl", "train_xl.jsonl"))
    shown = None if train is None else [doc for _, doc in _winogrande(train)]
    return _with_demonstrations("winogrande", path, _winogrande(path), train, shown, seed)


def _winogrande(path: Path) -> list[tuple[int, Doc]]:
    docs = []
    for i, record in enumerate(read_jsonl(path)):
        where = f"{path}: record {i + 1}"
        doc = {key: text(record, key, where) for key in ("sentence", "option1", "option2")}
        if doc["sentence"].count("_") != 1:
            raise UserError(f'{where}: "sentence" must have one "_"')
        answer = str(1 + one_of(record, "answer", ("1", "2"), where))
        docs.append((i, {**doc, "answer": answer}))
    return docs


def _with_demonstrations(
    name: str,
    path: Path,
    docs: Sequence[tuple[int, Doc]],
    train: Path | None,
    shown: Sequence[Doc] | None,
    seed: int,
    notes: Sequence[str] = (),
) -> Source:
    """From the training file; without one, from scored items that are set aside by the seed.

    The same items are set aside whatever the limit is.
    """
    if train is not None and shown is not None:
        said = f"{train.name}, {len(shown)} items, drawn for each item"
        kept = list(docs)
    else:
        aside = min(HELD_OUT, len(docs) // 2)
        places = set(random.Random(f"{name} {seed}").sample(range(len(docs)), aside))
        shown = [doc for i, (_, doc) in enumerate(docs) if i in places]
        kept = [pair for i, pair in enumerate(docs) if i not in places]
        said = (
            f"{aside} items of {path.name} that are never scored, drawn for each item (published "
            "tables draw from the training file)"
        )
    why = "set aside for demonstrations"
    described = _counted(path, len(kept), len(docs), why)
    return Source((Pool(name, "", tuple(kept), tuple(shown)),), described, said, tuple(notes))


def mmlu(data: Path, seed: int) -> Source:
    """MMLU, all subjects that the file has; the first five of dev are the demonstrations."""
    del seed
    what = "MMLU, 57 subjects, 14,042 test items, Hendrycks et al. 2021, hendrycks/test on GitHub"
    path = find(data, ("mmlu.tar", "data.tar", "mmlu"), what)
    splits = four_choice(path)
    pools = []
    for subject, records in sorted(splits["test"].items()):
        docs = [_mmlu(r, f"{path}: {subject}, test {i + 1}") for i, r in enumerate(records)]
        dev = splits["dev"].get(subject, [])
        shown = [_mmlu(r, f"{path}: {subject}, dev {i + 1}") for i, r in enumerate(dev)]
        pools.append(Pool(f"mmlu_{subject}", subject, tuple(enumerate(docs)), tuple(shown)))
    count = sum(len(pool.docs) for pool in pools)
    notes = () if len(pools) == 57 else (f"{len(pools)} of 57 subjects",)
    described = f"{path.name}, {count} test items of {len(pools)} subjects"
    return Source(tuple(pools), described, "the first of each subject's dev items", notes)


def _mmlu(record: dict[str, Any], where: str) -> Doc:
    choices = [text(record, letter, where) for letter in LETTERS]
    answer = one_of(record, "answer", LETTERS, where)
    return {"question": text(record, "question", where), "choices": choices, "answer": answer}


def truthfulqa(name: str, data: Path) -> Source:
    """TruthfulQA's multiple choice; ``name`` is truthfulqa_mc1 or truthfulqa_mc2.

    The harness shows six fixed question and answer pairs before each item.
    """
    what = "TruthfulQA multiple choice, 817 items, Lin et al. 2021, sylinrl/TruthfulQA on GitHub"
    path = find(data, ("truthfulqa_mc_task.json", "mc_task.json"), what)
    value = parse_json(read_text(path), str(path))
    if not isinstance(value, list) or not value:
        raise UserError(f"{path}: holds no list of records")
    docs = []
    for i, record in enumerate(value):
        where = f"{path}: record {i + 1}"
        doc: Doc = {"question": text(record, "question", where)}
        for key in ("mc1_targets", "mc2_targets"):
            doc[key] = _targets(record.get(key), f"{where}: {key}")
        if doc["mc1_targets"]["labels"][0] != 1 or sum(doc["mc1_targets"]["labels"]) != 1:
            raise UserError(f"{where}: mc1_targets must have its one true choice first")
        docs.append((i, doc))
    return Source((Pool(name, "", tuple(docs)),), f"{path.name}, {len(docs)} items")


def _targets(value: Any, where: str) -> Doc:
    good = isinstance(value, Mapping) and value and set(value.values()) <= {0, 1}
    if not good or 1 not in value.values():
        raise UserError(f"{where}: must be an object of choices with 1 (true) or 0")
    return {"choices": list(value), "labels": list(value.values())}


def gsm8k(data: Path, seed: int) -> Source:
    """GSM8K test; demonstrations from the training file or its beginning."""
    del seed
    what = "GSM8K, {} items, Cobbe et al. 2021, openai/grade-school-math on GitHub"
    path = find(data, ("gsm8k_test.jsonl",), what.format("1,319"))
    names = ("gsm8k_train.jsonl", "gsm8k_train_first200.jsonl")
    train = find(data, names, what.format("7,473") + ": demonstrations")
    docs, shown = (
        [
            {key: text(record, key, f"{file}: record {i + 1}") for key in ("question", "answer")}
            for i, record in enumerate(read_jsonl(file))
        ]
        for file in (path, train)
    )
    first = train.name.startswith("gsm8k_train_first")
    rest = " (published tables draw from all 7,473)" if first else ""
    return Source(
        (Pool("gsm8k", "", tuple(enumerate(docs)), tuple(shown)),),
        f"{path.name}, {len(docs)} items",
        f"{train.name}, {len(shown)} items, drawn for each item{rest}",
    )


def wikitext(data: Path, seed: int) -> Source:
    """WikiText-2 raw, test, about a document an article."""
    del seed
    what = (
        "WikiText-2 raw, test, 60 articles, Merity et al. 2016, EleutherAI/wikitext_document_level"
    )
    path = find(data, ("wiki.test.raw", "wikitext-2.test.raw.txt"), what)
    pages = articles(read_text(path))
    docs = tuple((i, {"page": page}) for i, page in enumerate(pages))
    return Source((Pool("wikitext", "", docs),), f"{path.name}, {len(docs)} documents")


def articles(content: str) -> list[str]:
    """The articles of a raw WikiText file; each begins with its title, " = Title = ".

    Two formulas of the test file look like titles, which makes 62 documents of its 60 articles;
    the document-level copy that the harness names has as many.
    """
    heads = [m.start() for m in re.finditer(r"^ = (?!=).*(?<!=) = *$", content, re.MULTILINE)]
    ends = [*heads[1:], len(content)]
    pages = [content[a:b] for a, b in zip(heads, ends, strict=True)]
    return pages or [content]


def _counted(path: Path, kept: int, of: int, why: str) -> str:
    whole = f"{path.name}, {kept} items"
    return whole if kept == of else f"{whole} of {of} ({of - kept} {why})"
