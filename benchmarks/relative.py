"""Seconds to make a model's relative space, held or not, and to read it from the cache.

    taskset -c 0,1 python benchmarks/relative.py
    taskset -c 0,1 python benchmarks/relative.py --sides=gptj --torch=4
    python benchmarks/relative.py --width=4096 --dtype=bfloat16      # where there is a GPU

Random embeddings at the sizes of the OnceEdit paper's targets (words x anchors with TinyLlama),
narrow by default: the exponentials, and the memory that R takes, are those of the real size, and
the products are fewer. R is 4 GB in float32.

"Held" is R with its tables in one pass; "not held" is the same pass without R. "Floor" is the
products alone, at the rate at which this machine multiplies a block of that size. "Broadcast" is
the published way, torch.cosine_similarity over blocks of 1,000 x 1,000 words and anchors broadcast
against each other, and then the softmax: timed on --torch blocks and scaled to all.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from jaxedit.ensemble import spaces
from jaxedit.ensemble.costs import Build
from jaxedit.ensemble.implicit import BLOCK, cosines
from jaxedit.ensemble.relative import TEMPERATURE, Side, side
from jaxedit.sharding import make_mesh

SIDES = {"llama2": (32000, 31999), "mistral": (32000, 24184), "gptj": (50400, 17830)}

NAMES = flags.DEFINE_list("sides", ["llama2", "gptj"], f"of {', '.join(SIDES)}")
WIDTH = flags.DEFINE_integer("width", 64, "of the embeddings")
DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "of R and the embeddings")
REPEATS = flags.DEFINE_integer("repeats", 2, "timings, of which the least counts")
TORCH = flags.DEFINE_integer("torch", 0, "blocks of the published way; 0 leaves it out")
FILES = flags.DEFINE_bool("files", True, "also time the cache (as much disk as R is large)")

PUBLISHED_BLOCK = 1000


class Took(NamedTuple):
    """Seconds by the clock and by the processors, which other programs disturb less."""

    clock: float
    cpu: float


def least(call: Callable[[], Any], repeats: int) -> Took:
    """The least of some timings; what the call makes is let go of before the next."""
    found = []
    for _ in range(repeats):
        clock, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(call())
        found.append(Took(time.perf_counter() - clock, time.process_time() - cpu))
    return Took(*map(min, zip(*found, strict=True)))


def floor(embeddings: jax.Array, anchors: jax.Array, blocks: float) -> Took:
    """The products of all blocks, from one."""
    one = jax.jit(lambda e, a: cosines(e, a).sum())
    args = embeddings[:BLOCK], embeddings[anchors]
    jax.block_until_ready(one(*args))
    took = least(lambda: one(*args), 5)
    return Took(took.clock * blocks, took.cpu * blocks)


def published(words: int, anchors: int, width: int, blocks: int) -> Took:
    """PyTorch's broadcast cosines and softmax, scaled from some blocks to all."""
    import torch

    a, b = torch.randn(PUBLISHED_BLOCK, width), torch.randn(PUBLISHED_BLOCK, width)

    def block() -> None:
        near = torch.cosine_similarity(a.unsqueeze(1), b.unsqueeze(0), dim=-1)
        torch.softmax(torch.nn.functional.normalize(near, dim=-1) * TEMPERATURE, dim=-1)

    block()
    clock, cpu = time.perf_counter(), time.process_time()
    for _ in range(blocks):
        block()
    share = words * anchors / PUBLISHED_BLOCK**2 / blocks
    return Took(
        (time.perf_counter() - clock) * share,
        (time.process_time() - cpu) * share,
    )


def reading(made: Side, label: spaces.Label) -> tuple[Took, Took]:
    """Writing a side to disk, and reading it."""
    with tempfile.TemporaryDirectory() as folder:
        directory, mesh = Path(folder), make_mesh(1)
        wrote = least(lambda: spaces.save_side(directory, label, made), 1)
        return wrote, least(lambda: spaces.load_side(directory, label, mesh), 1)


def measure(name: str) -> None:
    """The rows of one target, printed."""
    words, count = SIDES[name]
    dtype = jnp.dtype(DTYPE.value)
    rng = np.random.default_rng(0)
    embeddings = jnp.asarray(rng.standard_normal((words, WIDTH.value), np.float32), dtype)
    anchors = np.sort(rng.choice(words, count, replace=False)).astype(np.int32)
    cost = Build(words, count, WIDTH.value)

    def make(keep: bool) -> Side:
        return side(embeddings, anchors, dtype=dtype, keep=keep)

    begun = time.perf_counter()
    jax.block_until_ready(make(True))
    cold = time.perf_counter() - begun
    jax.block_until_ready(make(False))
    rows = {
        "held": least(lambda: make(True), REPEATS.value),
        "not held": least(lambda: make(False), REPEATS.value),
        "floor": floor(embeddings, jnp.asarray(anchors), words / BLOCK),
    }
    if TORCH.value:
        rows["broadcast"] = published(words, count, WIDTH.value, TORCH.value)
    if FILES.value:
        label = spaces.Label("0" * 64, "0" * 64, (words, count), TEMPERATURE, dtype.name)
        rows["write"], rows["read"] = reading(make(True), label)
    size = cost.held(dtype.itemsize) / 1e9
    print(
        f"\n{name}: {words} x {count}, width {WIDTH.value}, {dtype.name}; R {size:.2f} GB, "
        f"{cost.total / 1e12:.3f} TFLOP; first call {cold:.1f} s"
    )
    print("| | s | processor s | over held |\n|---|---|---|---|")
    for row, took in rows.items():
        ratio = took.cpu / rows["held"].cpu
        print(f"| {row} | {took.clock:.2f} | {took.cpu:.2f} | {ratio:.2f} |")


def main(_: list[str]) -> None:
    """Prints the tables."""
    print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}")
    for name in NAMES.value:
        measure(name)


if __name__ == "__main__":
    app.run(main)
