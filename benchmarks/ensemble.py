"""Milliseconds that OnceEdit's fusion adds to a token, way by way, at real vocabulary sizes.

    taskset -c 0,1 python benchmarks/ensemble.py
    taskset -c 0,1 python benchmarks/ensemble.py --pair=gptj --width=1024 --texts=8 --search_steps=0

Both R are made from random embeddings; the narrower those are, the more level are its rows, and an
anchor's own entry in its row is printed. What the models say is drawn: probabilities fall with a
power of the rank, chosen so that the entropy is the one asked for; words have random ranks,
the two models without regard to each other (the hard case); alpha is uniform.

Timed is all that comes between the two models' logits and the token: both softmaxes, the gate's
mask, fusion and search. The models themselves are not run (decoding.py runs them). A call is one
decoding step of all texts; means of processor time, which other programs disturb least, and medians
by the clock.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags
from pairs import PAIRS, own_entries

from jaxedit.ensemble.anchors import Anchors
from jaxedit.ensemble.certificate import LADDER, bounds_of
from jaxedit.ensemble.fusion import Decision, Fusion, decide
from jaxedit.ensemble.relative import Space, make_space

PAIR = flags.DEFINE_enum("pair", "llama2", [*PAIRS], "vocabulary sizes")
WIDTH = flags.DEFINE_integer("width", 384, "of the embeddings, both models'")
DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "R is stored in")
ENTROPY = flags.DEFINE_list("entropy", ["0.5", "2", "4"], "of what each model says, nats")
TEXTS = flags.DEFINE_integer("texts", 1, "decoded at once")
STEPS = flags.DEFINE_integer("steps", 64, "decoding steps by the table")
SEARCH_STEPS = flags.DEFINE_integer("search_steps", 3, "and by what multiplies all of R; 0: none")


class Said(NamedTuple):
    """One decoding step: logits of both models, [B, V], and alpha, [B]."""

    target: np.ndarray
    plug: np.ndarray
    alpha: np.ndarray


class Took(NamedTuple):
    """Milliseconds a call."""

    clock: float
    cpu: float


def space(pair: str, width: int, dtype: str, *, keep: bool = True) -> Space:
    """Random embeddings; each anchor is some word of both."""
    words, plug_words, common = PAIRS[pair]
    rng = np.random.default_rng(0)
    ids = [np.sort(rng.permutation(n)[:common]).astype(np.int32) for n in (words, plug_words)]
    theirs, own = (rng.standard_normal((n, width), np.float32) for n in (words, plug_words))
    anchors = Anchors(ids[0], ids[1], tuple(map(str, range(common))), "deepen")
    return make_space(theirs, own, anchors, dtype=dtype, keep=keep)


def falling(words: int, entropy: float) -> np.ndarray:
    """Logits by rank, -s log(rank), with s such that the entropy is as given, [V]."""
    low, high = 0.0, 60.0
    ranks = np.log(np.arange(1, words + 1))
    while high - low > 1e-6:
        middle = (low + high) / 2
        scores = -middle * ranks
        p = np.exp(scores) / np.exp(scores).sum()
        entropy_here = float(-(p * np.log(np.maximum(p, 1e-300))).sum())
        low, high = (middle, high) if entropy_here > entropy else (low, middle)
    return (-low * ranks).astype(np.float32)


def said(pair: str, entropy: float, texts: int, steps: int) -> Iterator[Said]:
    rng = np.random.default_rng(1)
    words, plug_words, _ = PAIRS[pair]
    scores = falling(words, entropy), falling(plug_words, entropy)
    for _ in range(steps):
        target, plug = (np.stack([rng.permutation(x) for _ in range(texts)]) for x in scores)
        yield Said(target, plug, rng.random(texts).astype(np.float32))


def timed(call: Callable[[], Any]) -> tuple[Took, Any]:
    clock, cpu = time.perf_counter(), time.process_time()
    made = jax.block_until_ready(call())
    return Took(1e3 * (time.perf_counter() - clock), 1e3 * (time.process_time() - cpu)), made


def run(way: Callable[..., Decision], steps: list[Said]) -> tuple[Took, list[Decision]]:
    """What a step takes after the first, which compiles, and what came out."""
    calls = [timed(lambda x=x: way(*map(jax.numpy.asarray, x))) for x in (steps[0], *steps)]
    clock, cpu = np.asarray([took for took, _ in calls[1:]]).T
    return Took(float(np.median(clock)), float(cpu.mean())), [made for _, made in calls[1:]]


def ways(pair: str, whole: Space, bare: Space) -> dict[str, tuple[Callable[..., Decision], int]]:
    """How to decode, and for how many steps it is timed."""
    gate = PAIRS[pair].plug_words - 1

    def way(fusion: Fusion, where: Space, bounds: Any = None) -> Callable[..., Decision]:
        compiled = jax.jit(decide, static_argnums=0, static_argnames="gate_id")
        return lambda *logits: compiled(fusion, where, *logits, gate_id=gate, bounds=bounds)

    bounds = bounds_of(whole)
    made = {
        "table, few rows of R": (way(Fusion(), whole, bounds), STEPS.value),
        "table, few rows, no R in memory": (way(Fusion(), bare, bounds), STEPS.value),
        "table, all of R": (way(Fusion(), whole), max(3, STEPS.value // 8)),
        "one-hot search, one column": (
            way(Fusion(decoder="search"), whole, bounds),
            max(3, STEPS.value // 8),
        ),
        "DEEPEN": (way(Fusion("deepen"), whole), SEARCH_STEPS.value),
    }
    return {name: found for name, found in made.items() if found[1]}


def shares(decisions: list[Decision]) -> str:
    """Of steps, by how many rows of R proved the anchor."""
    rows = np.concatenate([np.asarray(d.rows) for d in decisions])
    told = [f"{k}: {100 * np.mean(rows == k):.0f} %" for k in LADDER]
    return ", ".join([*told, f"all: {100 * np.mean(rows == 0):.0f} %"])


def main(_: list[str]) -> None:
    pair, texts = PAIR.value, TEXTS.value
    words, plug_words, common = PAIRS[pair]
    whole = space(pair, WIDTH.value, DTYPE.value)
    bare = space(pair, WIDTH.value, DTYPE.value, keep=False)
    own = own_entries(whole)
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(
        f"{words} x {common} and {plug_words} x {common}, R in {DTYPE.value}, width {WIDTH.value}: "
        f"an anchor's own entry {own[0]:.2f} and {own[1]:.2f}; {texts} text(s) a step, "
        f"{len(os.sched_getaffinity(0))} cores, load {load}\n"
    )
    heads = ["entropy, nats", "way", "processor ms a step", "ms", "/ all of R", "proved by rows"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    known = ways(pair, whole, bare)
    for entropy in map(float, ENTROPY.value):
        steps = list(said(pair, entropy, texts, max(count for _, count in known.values())))
        found = {name: run(way, steps[:count]) for name, (way, count) in known.items()}
        full = found["table, all of R"]
        for name, (took, decisions) in found.items():
            if name != "DEEPEN":
                same = zip(full[1], decisions, strict=False)
                assert all((a.tokens == b.tokens).all() for a, b in same), name
            proved = shares(decisions) if "few rows" in name else "-"
            ratio = took.cpu / full[0].cpu
            print(
                f"| {entropy:g} | {name} | {took.cpu:.2f} | {took.clock:.2f} | {ratio:.3f} "
                f"| {proved} |",
                flush=True,
            )


if __name__ == "__main__":
    app.run(main)
