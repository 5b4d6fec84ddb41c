"""Decoding time a token: two models apart, and OnceEdit's ways of joining them, as ratios.

    taskset -c 0,1 python benchmarks/decoding.py
    taskset -c 0,1 python benchmarks/decoding.py --pair=gptj --texts=8 --slow_tokens=0

The whole decoding loop runs: both models with their caches, fusion, and the text of the target's
tokens tokenised anew for the plug-in at every step. The vocabularies are as large as the paper's;
the models are random and narrow, their heads scaled so that what they say has the mean entropy
asked for. They agree about nothing (the hard case for the certificate), and alpha goes from 0 to 1
over the texts. Tokenizers are word lists: a target's token is one token of the plug-in's, and
what only the target knows is unknown to it.

Times contain the prompts' (12 words): medians by the clock, means of processor time, which other
programs disturb least, over calls after the first, which compiles. Ratios are by processor time;
"both" is target alone plus plug-in alone.
"""

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from pairs import PAIRS, Pair, own_entries, tokenizer

from jaxedit.ensemble.anchors import find_anchors
from jaxedit.ensemble.certificate import LADDER, Bounds, bounds_of
from jaxedit.ensemble.decode import Parts, Rules, decode_ids
from jaxedit.ensemble.fusion import Decision, Fusion
from jaxedit.ensemble.plugin import Plugin, with_gate
from jaxedit.ensemble.relative import Space, make_space
from jaxedit.ensemble.sync import Sync
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward, init_params
from jaxedit.models.generate import generate_ids
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh, replicate

PROMPT = 12  # words

PAIR = flags.DEFINE_list("pair", ["llama2", "gptj"], f"vocabulary sizes: {', '.join(PAIRS)}")
WIDTH = flags.DEFINE_integer("width", 384, "of both models")
LAYERS = flags.DEFINE_integer("layers", 4, "of the target; the plug-in has half of them")
DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "R is stored in")
ENTROPY = flags.DEFINE_list("entropy", ["2", "0.5", "4"], "of what each model says, nats")
TEXTS = flags.DEFINE_integer("texts", 1, "decoded at once")
CALLS = flags.DEFINE_integer("calls", 5, "timed; alpha goes from 0 to 1 over all their texts")
TOKENS = flags.DEFINE_integer("tokens", 32, "a text by the ways that read little of R")
SLOW_TOKENS = flags.DEFINE_integer("slow_tokens", 4, "by those that read all of it; 0: none")


class Took(NamedTuple):
    """Milliseconds a step of all texts, and what the steps decided."""

    clock: float
    cpu: float
    rows: np.ndarray  # of R that proved each step's token, [steps]


class Models(NamedTuple):
    """A pair, its relative space, and how to prove the best anchor in it."""

    target: Transformer
    plugin: Plugin
    space: Space
    bounds: Bounds


def model(family: Any, own: str, words: int, common: int, layers: int) -> Transformer:
    """Random, without a token that ends a text."""
    width = WIDTH.value
    config = ModelConfig(
        family=family,
        hf_type=family,
        vocab_size=words,
        d_model=width,
        n_layers=layers,
        n_heads=width // 64,
        n_kv_heads=width // 64,
        head_dim=64,
        d_ff=4 * width,
        max_positions=512,
        activation="gelu_new" if family == "gptj" else "silu",
        rotary_dim=64,
        mlp_bias=family == "gptj",
        head_bias=family == "gptj",
    )
    mesh = make_mesh(1)
    params = replicate(init_params(config, jax.random.key(len(own) + words)), mesh)
    return Transformer(config, params, tokenizer(own, words, common), mesh, own)


def pair_of(name: str) -> Models:
    """The models before their heads are scaled."""
    size = PAIRS[name]
    family = "gptj" if name == "gptj" else "llama"
    target = model(family, "target", size.words, size.common, LAYERS.value)
    bare = model("llama", "plug", size.plug_words - 1, size.common, max(1, LAYERS.value // 2))
    plugin = with_gate(bare)
    anchors = find_anchors(target.tokenizer, plugin.lm.tokenizer)
    assert anchors.count == size.common
    theirs, own = (lm.params["embed"]["tokens"] for lm in (target, plugin.lm))
    space = make_space(theirs, own, anchors, dtype=DTYPE.value)
    return Models(target, plugin, space, bounds_of(space))


def sharpened(lm: Transformer, entropy: float) -> Transformer:
    """With its head scaled until 64 random texts are followed with this mean entropy, nats."""
    ids = np.random.default_rng(2).integers(lm.config.vocab_size - 1, size=(64, PROMPT))
    logits = np.asarray(_behind(lm.params, ids, lm.config), np.float64)

    def nats(scale: float) -> float:
        scores = scale * (logits - logits.max(1, keepdims=True))
        powers = np.exp(scores)
        total = powers.sum(1, keepdims=True)
        return float((np.log(total[:, 0]) - (powers * scores).sum(1) / total[:, 0]).mean())

    low, high = 0.0, 1e4
    while high - low > 1e-4 * high:
        middle = (low * high) ** 0.5 if low else high / 2
        low, high = (middle, high) if nats(middle) > entropy else (low, middle)
    head = jax.tree.map(lambda x: (high * x).astype(x.dtype), lm.params["head"])
    return lm.with_params({**lm.params, "head": head})


@jax.jit(static_argnums=2)
def _behind(params: Any, ids: np.ndarray, config: ModelConfig) -> jax.Array:
    """Logits behind texts, [B, T] -> [B, V]."""

    last = jnp.full((len(ids), 1), ids.shape[1] - 1)
    mask = jnp.ones(ids.shape, bool)
    logits = forward(config, params, jnp.asarray(ids), mask, logits_at=last).logits
    assert logits is not None
    return logits[:, 0]


def prompts(size: Pair) -> list[list[str]]:
    """Texts of common words, for each call; the first one compiles."""
    rng = np.random.default_rng(3)
    words = rng.integers(1, size.common, (CALLS.value + 1, TEXTS.value, PROMPT))
    return [[" ".join(f"w{i}" for i in text) for text in call] for call in words]


def alone(lm: Transformer, asked: list[list[str]]) -> Took:
    """One model by itself."""

    def call(texts: list[str], _: np.ndarray, __: list) -> None:
        ids = [lm.tokenizer.encode(text) for text in texts]
        generate_ids(lm.config, lm.params, lm.mesh, ids, TOKENS.value)

    return timed(call, asked, TOKENS.value)


def joined(models: Models, fusion: Fusion, asked: list[list[str]], *, few: bool) -> Took:
    """Both, from few rows of R or from all of it."""
    target, plugin = models.target, models.plugin
    sync = Sync(target.tokenizer, plugin.lm.tokenizer)
    parts = Parts(target, plugin, models.space, fusion, sync, models.bounds if few else None)
    count = TOKENS.value if few else SLOW_TOKENS.value

    def call(texts: list[str], alpha: np.ndarray, seen: list[Decision]) -> None:
        ids = [target.tokenizer.encode(text) for text in texts]
        decode_ids(
            parts, texts, ids, alpha, Rules((), count), watch=lambda made, _: seen.append(made)
        )

    # What reads all of R takes seconds a call, and they are alike.
    return timed(call, asked if few else asked[:3], count)


def timed(call: Callable[..., None], asked: list[list[str]], tokens: int) -> Took:
    """Calls after the first, which compiles."""
    alphas = np.linspace(0, 1, TEXTS.value * CALLS.value, dtype=np.float32)
    alphas = np.random.default_rng(4).permutation(alphas).reshape(CALLS.value, -1)
    call(asked[0], alphas[0], [])
    took, seen = [], []
    for texts, alpha in zip(asked[1:], alphas, strict=False):
        clock, cpu = time.perf_counter(), time.process_time()
        call(texts, alpha, seen)
        took.append((time.perf_counter() - clock, time.process_time() - cpu))
    clock, cpu = 1e3 * np.asarray(took).T / tokens
    rows = np.concatenate([np.asarray(made.rows) for made in seen]) if seen else np.zeros(0)
    return Took(float(np.median(clock)), float(cpu.mean()), rows)


def shares(took: Took) -> str:
    """Of steps, by how many rows of R proved the anchor, percent."""
    return " / ".join(f"{100 * np.mean(took.rows == k):.0f}" for k in (*LADDER, 0))


def main(_: list[str]) -> None:
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(
        f"width {WIDTH.value}, {LAYERS.value} and {LAYERS.value // 2} blocks, R in {DTYPE.value}, "
        f"{TEXTS.value} text(s) a step, {len(os.sched_getaffinity(0))} cores, load {load}, "
        f"JAX {jax.__version__}\n"
    )
    heads = ["pair", "way", "entropy, nats", "ms a step", "processor ms", "/ target", "/ both"]
    heads += ["/ both by the clock", f"proved by {' / '.join(map(str, LADDER))} / all, %"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name in PAIR.value:
        bench(name)


def bench(name: str) -> None:
    """One pair's rows of the table."""
    whole = pair_of(name)
    asked = prompts(PAIRS[name])
    own = own_entries(whole.space)

    def line(way: str, entropy: str, took: Took, told: str = "-") -> None:
        ratios = took.cpu / base.cpu, took.cpu / both[1], took.clock / both[0]
        told = " | ".join([*(f"{ratio:.2f}" for ratio in ratios), told])
        print(
            f"| {name} | {way} | {entropy} | {took.clock:.2f} | {took.cpu:.2f} | {told} |",
            flush=True,
        )

    base = alone(whole.target, asked)
    other = alone(whole.plugin.lm, asked)
    both = base.clock + other.clock, base.cpu + other.cpu
    line("target alone", "-", base)
    line("plug-in alone", "-", other)
    for i, entropy in enumerate(ENTROPY.value):
        lm = sharpened(whole.plugin.lm, float(entropy))
        plugin = dataclasses.replace(whole.plugin, lm=lm)
        models = whole._replace(target=sharpened(whole.target, float(entropy)), plugin=plugin)
        took = joined(models, Fusion(), asked, few=True)
        line("EE, table, few rows of R", entropy, took, shares(took))
        if i:
            continue
        took = joined(models, Fusion(decoder="search"), asked, few=True)
        line("EE, search, few rows of R", entropy, took, shares(took))
        if SLOW_TOKENS.value:
            ways = {"EE, table": Fusion(), "EE, search": Fusion(decoder="search")}
            for way, fusion in {**ways, "DEEPEN": Fusion("deepen")}.items():
                took = joined(models, fusion, asked, few=False)
                line(f"{way}, all of R", entropy, took)
    print(f"\n{name}: an anchor's own entry in R is {own[0]:.2f} and {own[1]:.2f}\n")


if __name__ == "__main__":
    app.run(main)
