"""Seconds to score an evaluation teacher-forced on the embedded GPT-J, and what PyTorch takes.

    taskset -c 0,1 python benchmarks/scores.py
    taskset -c 0,1 python benchmarks/scores.py --records=200 --torch=0

1,000 records as CounterFact has them: the question, two paraphrases and ten neighbours, each asked
for its answer and for a rival: 26 (prompt, target) pairs a record. They are CounterFact's own where
$JAXEDIT_DATA holds counterfact/counterfact.json (or .json.gz), else edits of the embedded world.
The embedded tokenizer takes any text, but knows few of CounterFact's words: rows are about twice
as long as GPT-J's own. Seconds are those of `teacher_forced`, tokenizer included.

The PyTorch loops run transformers' GPTJForCausalLM on the same weights, the same tokens and as many
threads as there are cores: one pair at a time, as most published code does, and batches of 32 in
the order asked, padded on the right. They are timed on a part of the pairs and compared by pairs a
second.

The floor is the matrix products of every token that has to run, each prompt once and no target's
last token, and of the LM head wherever a token is asked for, at the rate at which this machine
multiplies matrices of that size.
"""

import importlib.metadata
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import jaxedit
from jaxedit.data.datasets import load_facts
from jaxedit.data.fact import Fact
from jaxedit.data.factworld.edits import POOLS, edits
from jaxedit.data.factworld.world import World
from jaxedit.models.loading import save_hf
from jaxedit.models.packed import filled, trees
from jaxedit.models.protocol import Row, TeacherForced
from jaxedit.models.transformer import Transformer

RECORDS = flags.DEFINE_integer("records", 1000, "records")
REPEATS = flags.DEFINE_integer("repeats", 3, "timings, of which the least counts")
TORCH = flags.DEFINE_integer(
    "torch", 1300, "pairs for PyTorch one by one, four times as many padded"
)
MODEL = flags.DEFINE_string("model", "embedded:gptj", "a GPT-J")

PADDED = 32

Pair = tuple[str, str]


def records(count: int) -> tuple[str, list[Fact]]:
    """Where they are from, and the facts."""
    folder = Path(os.environ.get("JAXEDIT_DATA", "data")) / "counterfact"
    for name in ("counterfact.json", "counterfact.json.gz"):
        if (folder / name).is_file():
            return "CounterFact", load_facts("counterfact", folder / name, count).facts
    world = World(0)
    each = -(-count // POOLS)
    made = [fact for seed in range(POOLS) for fact in edits(world, each, seed, neighbours=10)]
    return "the embedded world", made[:count]


def pairs_of(fact: Fact) -> list[Pair]:
    """Everything asked of a fact, with its answer and with a rival."""
    own = [
        (p, t)
        for p in (fact.question, *fact.paraphrases[:2])
        for t in (fact.target, fact.previous)
        if t
    ]
    others = [(q.prompt, t) for q in fact.neighbours for t in (q.answer, fact.target)]
    return own + others


class Packing(NamedTuple):
    """What it is about: tokens of all pairs, those that have to run, those that do."""

    asked: int
    needed: int
    run: int
    predicted: int

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Packing":
        made = list(trees(rows))
        needed = sum(len(t.trunk) + sum(len(b) - 1 for b in t.branches) for t in made)
        predicted = sum(len(b) for t in made for b in t.branches)
        run = sum(width for width, _ in filled(made))
        return cls(sum(len(ids) for ids, _ in rows), needed, run, predicted)


class Took(NamedTuple):
    """Seconds by the clock, and by the processors, which other programs disturb less."""

    clock: float
    cpu: float


def timed(call: Callable[[], Any]) -> tuple[Took, Any]:
    clock, cpu = time.perf_counter(), time.process_time()
    made = call()
    return Took(time.perf_counter() - clock, time.process_time() - cpu), made


def least(calls: Sequence[Took]) -> Took:
    return Took(*map(min, zip(*calls, strict=True)))


def floor(lm: Transformer, packing: Packing) -> tuple[float, float]:
    """Operations that scoring cannot do without, and products' rate, a processor second."""
    c = lm.config
    block = 2 * (4 * c.d_model**2 + 2 * c.d_model * c.d_ff)
    operations = packing.needed * c.n_layers * block
    operations += packing.predicted * 2 * c.d_model * c.vocab_size
    a, b = jnp.ones((2048, c.d_model)), jnp.ones((c.d_model, c.d_ff))
    product = jax.jit(lambda a, b: a @ b)
    product(a, b).block_until_ready()

    def fifty() -> Any:
        return jax.block_until_ready([product(a, b) for _ in range(50)])

    took = least([timed(fifty)[0] for _ in range(20)])
    return operations, 50 * 2 * a.size * c.d_ff / took.cpu


def torch_loop(lm: Transformer, pairs: Sequence[Pair], size: int) -> tuple[Took, list[np.ndarray]]:
    """Time, and log p of each target, of a plain loop over batches of `size` pairs."""
    import torch
    import transformers

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as directory:
        save_hf(lm, directory)
        model = transformers.GPTJForCausalLM.from_pretrained(directory).eval()
    found: list[np.ndarray] = []

    def run(some: Sequence[Pair]) -> None:
        rows = [lm.tokenizer.encode_pair(*pair) for pair in some]
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.tensor([row + [0] * (longest - len(row)) for row, _ in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row, _ in rows])
        logits = model(input_ids=ids, attention_mask=mask).logits
        for i, (row, n) in enumerate(rows):
            own = torch.log_softmax(logits[i, n - 1 : len(row) - 1], dim=-1)
            own.argmax(-1)  # the token that is said instead, as metrics need it
            found.append(own[torch.arange(len(row) - n), torch.tensor(row[n:])].numpy())

    with torch.inference_mode():
        for start in range(0, min(4 * size, len(pairs)), size):
            run(pairs[start : start + size])
        found.clear()
        parts = [pairs[start : start + size] for start in range(0, len(pairs), size)]
        took, _ = timed(lambda: [run(part) for part in parts])
    return took, found


def furthest(ours: Sequence[TeacherForced], theirs: Sequence[np.ndarray]) -> float:
    """The largest difference of two log probabilities, nats."""
    return max(float(np.abs(a.logprobs - b).max()) for a, b in zip(ours, theirs, strict=False))


def main(_: list[str]) -> None:
    lm = jaxedit.load(MODEL.value)
    source, facts = records(RECORDS.value)
    pairs = [pair for fact in facts for pair in pairs_of(fact)]
    prompts, targets = [p for p, _ in pairs], [t for _, t in pairs]
    encoding, rows = timed(lambda: [lm.tokenizer.encode_pair(*pair) for pair in pairs])
    packing = Packing.of(rows)
    print(
        f"{len(facts)} records of {source}, {len(pairs)} pairs, "
        f"{len(os.sched_getaffinity(0))} core(s), jax {jax.__version__}\n"
        f"tokens: {packing.asked} in all pairs, {packing.needed} have to run, {packing.run} run "
        f"({100 * (1 - packing.needed / packing.run):.1f} % padding); "
        f"{packing.predicted} asked for; tokenizer alone {encoding.cpu:.2f} s\n"
    )

    def score() -> list[TeacherForced]:
        return lm.teacher_forced(prompts, targets)

    cold, ours = timed(score)
    warm = least([timed(score)[0] for _ in range(REPEATS.value)])

    def line(name: str, count: int, took: Took, difference: str = "") -> None:
        slower = [x / count * len(pairs) / y for x, y in zip(took, warm, strict=True)]
        print(
            f"| {name} | {count} | {took.clock:.2f} | {took.cpu:.2f} | {count / took.clock:.0f} "
            f"| {slower[0]:.1f} | {slower[1]:.1f} | {difference} |",
            flush=True,
        )

    print(
        "| | pairs | s | processor s | pairs/s | s a pair / ours, warm | by processor s "
        f"| largest difference |\n|{'---|' * 8}"
    )
    line("jaxedit, cold", len(pairs), cold)
    line("jaxedit, warm", len(pairs), warm)
    for name, size, count in (("one by one", 1, 1), (f"padded batches of {PADDED}", PADDED, 4)):
        some = pairs[: TORCH.value * count]
        if some:
            took, theirs = torch_loop(lm, some, size)
            line(f"PyTorch, {name}", len(some), took, f"{furthest(ours, theirs):.0e}")
    operations, rate = floor(lm, packing)
    print(
        f"\nfloor: {operations / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP a processor second, "
        f"{100 * operations / rate / warm.cpu:.0f} % of the warm processor seconds"
    )
    if TORCH.value:
        names = ("torch", "transformers")
        print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))


if __name__ == "__main__":
    app.run(main)
