"""Small hand-written items and benchmark files."""

import json
from pathlib import Path

from jaxedit.downstream.items import Item, Taken

WORDS = ("amber", "cedar", "flint", "heron", "maple", "onyx", "quill", "tulip")


def taken(task: str = "made", **changes) -> Taken:
    values = {"task": task, "shots": 0, "seed": 0, "limit": None, "source": "made.jsonl, 4 items"}
    return Taken(**{**values, "demonstrations": "", "harness": "none 1", **changes})


def item(index: int, acc: float, subset: str = "", population: int = 4, **changes) -> Item:
    values = {"taken": taken(), "subset": subset, "index": index, "population": population}
    values |= {"values": {"acc": acc}, "chance": 0.25, "gold": "1", "dropped": 0}
    return Item(**{**values, "responses": ((-1.5, True), (-2.0, False)), "digest": "d", **changes})


def write_jsonl(path: Path, records) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n")


def write_data(folder: Path) -> Path:
    """Every task's files, a few items each."""
    letters = dict(zip("ABCD", WORDS, strict=False))
    flat = [{"question": f"Which is {w}?", **letters, "answer": "ABCD"[i % 4]} for i, w in _words()]
    write_jsonl(folder / "arc_challenge_test.jsonl", flat)
    write_jsonl(folder / "arc_challenge_train.jsonl", flat)
    lines = [
        f"Walking: A {w} falls. the {w}\n{i % 4}\nends.\ngoes on.\nis {w}.\nstops.\n"
        for i, w in _words()
    ]
    (folder / "hellaswag_val_full.txt").write_text("".join(lines))
    for split in ("dev", "test"):
        for subject in ("anatomy", "virology"):
            write_jsonl(folder / "mmlu" / f"{split}-jsonl" / f"{subject}.jsonl", flat[:5])
    truths = [
        {
            "question": f"What is {w}?",
            "mc1_targets": {f"A {w}.": 1, "Nothing.": 0, "A stone.": 0},
            "mc2_targets": {f"A {w}.": 1, "One word.": 1, "Nothing.": 0, "A stone.": 0},
        }
        for _, w in _words()
    ]
    (folder / "truthfulqa_mc_task.json").write_text(json.dumps(truths))
    pairs = [
        {"sentence": f"The {w} hit the stone and the _ broke.", "option1": w, "option2": "stone"}
        for _, w in _words()
    ]
    write_jsonl(folder / "winogrande_dev.jsonl", [{**p, "answer": "1"} for p in pairs])
    sums = [{"question": f"{i} and {i}?", "answer": f"Add.\n#### {2 * i}"} for i, _ in _words()]
    write_jsonl(folder / "gsm8k_test.jsonl", sums)
    write_jsonl(folder / "gsm8k_train.jsonl", sums)
    page = " \n = {} = \n \n A {} fell . \n"
    text = "".join(page.format(w, w) for w in WORDS)
    (folder / "wiki.test.raw").write_text(text)
    return folder


def _words():
    return enumerate(WORDS)
