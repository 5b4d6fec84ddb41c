"""Seconds an edit, memory that grows, and what asking costs: methods that keep their edits beside.

    taskset -c 0,1 python benchmarks/memory.py
    taskset -c 0,1 python benchmarks/memory.py --methods=grace,memit --edits=40

The embedded GPT-J, edited one fact after another with the settings that it ships with. Seconds an
edit and processor seconds, which other programs disturb least, are medians after the first few
edits, which compile. Kept is what a checkpoint holds after all edits, and how much of it
each edit since the first third added. Asking is teacher forcing and generation of the same
questions, as a ratio to the unedited model's, each warm; retrieval and IKE put the nearest fact
before every question. MEND, MALMEN and SERAC are trained first, on the records of runs/memory.py,
if the cache does not hold what came of them.
"""

import functools
import os
import statistics as stats
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags

from jaxedit import api
from jaxedit.data.datasets import load_facts
from jaxedit.data.disjoint import disjoint
from jaxedit.data.fact import Fact
from jaxedit.data.factworld import World, training_edits

METHODS = flags.DEFINE_list(
    "methods",
    ["grace", "defer", "wise", "serac", "mend", "malmen", "retrieval", "ike", "memit", "ft_m"],
    "",
)
SHOWN = 300  # facts of runs/memory.py
EDITS = flags.DEFINE_integer("edits", 30, "facts, one after another", 10, SHOWN)
REPEATS = flags.DEFINE_integer("repeats", 3, "of asking", lower_bound=1)
SETTINGS = {"retrieval": {"threshold": None}, "ike": {"threshold": None, "shown": 0}}
COLD = 3  # edits that compile
NEW_TOKENS = 8


class Asked(NamedTuple):
    """Processor seconds a question."""

    forced: float
    generated: float


def seconds(call: Callable[[], Any]) -> tuple[float, float, Any]:
    clock, cpu = time.perf_counter(), time.process_time()
    made = call()
    return time.perf_counter() - clock, time.process_time() - cpu, made


def asking(lm: Any, facts: list[Fact]) -> Asked:
    """Warm: the first time of each compiles."""
    prompts = [text for fact in facts for text in (fact.question, *fact.paraphrases)]
    prompts += [question.prompt for fact in facts for question in fact.neighbours]
    targets = ["Paris"] * len(prompts)
    found = []
    for call in (
        lambda: lm.teacher_forced(prompts, targets),
        lambda: lm.generate(prompts, NEW_TOKENS),
    ):
        call()
        took = min(seconds(call)[1] for _ in range(REPEATS.value))
        found.append(took / len(prompts))
    return Asked(*found)


def size(tree: Any) -> int:
    return sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(tree))


class Edits(NamedTuple):
    """By edit: seconds and processor seconds; the model after all, and bytes of its checkpoint."""

    clock: list[float]
    cpu: list[float]
    edited: Any
    kept: int


def one_by_one(lm: Any, method: str, facts: list[Fact], records: tuple[Fact, ...]) -> Edits:
    clocks, cpus, edited = [], [], None
    for fact in facts:
        if edited is None:
            own = SETTINGS.get(method, {})
            own = {**own, "corpus": "embedded", "records": records}
            call = functools.partial(api.edit, lm, [fact], method, **own)
        else:
            call = functools.partial(edited.edit, [fact])
        clock, cpu, edited = seconds(call)
        clocks.append(clock)
        cpus.append(cpu)
    assert edited is not None
    return Edits(clocks, cpus, edited, size(edited.editor.snapshot(edited.state)))


def main(_: list[str]) -> None:
    shown = load_facts("embedded:gptj", limit=SHOWN, seed=1).facts
    facts, records = shown[: EDITS.value], disjoint(training_edits(World()), shown)
    lm = api.load("embedded:gptj")
    plain = asking(lm, facts)
    cores = len(os.sched_getaffinity(0))
    print(f"{EDITS.value} edits of the embedded GPT-J, {cores} cores, JAX {jax.__version__}")
    print(
        f"unedited: {1e3 * plain.forced:.2f} processor ms a question by teacher forcing, "
        f"{1e3 * plain.generated:.2f} by generation of {NEW_TOKENS} tokens\n"
    )
    heads = [
        "method",
        "s an edit",
        "processor s",
        "kept, KiB",
        "KiB an edit",
        "forced",
        "generated",
    ]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for method in METHODS.value:
        few = one_by_one(lm, method, facts[: len(facts) // 3], records)
        made = one_by_one(lm, method, facts, records)
        asked = asking(made.edited, facts)
        growth = (made.kept - few.kept) / (len(facts) - len(facts) // 3)
        cells = [
            method,
            f"{stats.median(made.clock[COLD:]):.3f}",
            f"{stats.median(made.cpu[COLD:]):.3f}",
            f"{made.kept / 1024:.0f}",
            f"{growth / 1024:.2f}",
            f"{asked.forced / plain.forced:.2f} x",
            f"{asked.generated / plain.generated:.2f} x",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    app.run(main)
