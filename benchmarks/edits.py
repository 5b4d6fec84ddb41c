"""Seconds an edit by stage, cold and warm, on a small random GPT-J; and the share of the floor.

    taskset -c 0,1 python benchmarks/edits.py
    taskset -c 0,1 python benchmarks/edits.py --methods=d4s,memit --edits=24

The model is the one that the authors' code was timed on (width 256, d_ff 1,024, 8 blocks, three
edited layers, 19 Adam steps); AUTHORS below has those seconds. Facts are edited one after
another; D4S prepares 12 ahead, as it may, the others take their values on the edited model.

The floor is what an edit has to compute, at the rate at which this machine multiplies matrices as
small as a step's: the rows once through the model, every step's tail forwards and backwards through
the blocks above, the key rows through the edited blocks. Only real tokens count; pads, attention
scores, norms and activations do not, nor does anything but matrix products.
"""

import os
import statistics as stats
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from jaxedit.data.fact import Fact
from jaxedit.data.factworld.vocabulary import byte_level
from jaxedit.editors import EDITORS
from jaxedit.editors.editor import take
from jaxedit.editors.locate import LocateThenEdit
from jaxedit.editors.rows import key_rows, value_rows
from jaxedit.editors.settings import fields
from jaxedit.editors.values import ATTENTION_OUT, ValueSettings
from jaxedit.models.families import read_config
from jaxedit.models.forward import init_params
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh, replicate

METHODS = flags.DEFINE_list(
    "methods", ["d4s", "memit", "pmet", "alphaedit", "emmet", "rome", "r_rome", "ft_l", "ft_m"], ""
)
EDITS = flags.DEFINE_integer("edits", 12, "facts")

LAYERS = (2, 3, 4)
STEPS = 20  # forward passes; 19 updates
CONTEXTS = (
    ("{}",),
    (
        "The old town is grey. {}",
        "Therefore we left. {}",
        "Because it rained. {}",
        "I have been away. {}",
        "You may find it. {}",
    ),
)
# Seconds an edit of the authors' PyTorch code, one by one, on two cores of another machine:
# (threads, edits timed) -> method -> seconds. Orientation, not a race on one machine.
AUTHORS = {(1, 12): {"memit": 1.03, "d4s": 1.04}, (2, 4): {"memit": 1.41, "d4s": 1.50}}


def model() -> Transformer:
    tokenizer = byte_level(640)
    config = read_config(
        {
            "model_type": "gptj",
            "activation_function": "gelu_new",
            "n_embd": 256,
            "n_inner": 1024,
            "n_layer": 8,
            "n_head": 4,
            "n_positions": 256,
            "rotary_dim": 32,
            "vocab_size": tokenizer.vocab_size,
            "layer_norm_epsilon": 1e-5,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "tie_word_embeddings": False,
        }
    )
    mesh = make_mesh(1)
    params = replicate(init_params(config, jax.random.key(0)), mesh)
    return Transformer(config, params, tokenizer, mesh, "benchmark")


def short_facts(count: int) -> list[Fact]:
    """Facts about as long as those that the authors' code was timed on."""
    names = ("Lena", "Omar", "Ruth", "Ivan", "Mira", "Paul")
    cities = ("Rome", "Oslo", "Lima", "Bern")
    asked = ("{} lives in", "{} was born in", "The mother of {} is")
    return [
        Fact(asked[i % 3], f"{names[i % 6]} {'ABCD'[i // 6 % 4]}", cities[i % 4], id=str(i))
        for i in range(count)
    ]


def editor_of(method: str, width: int) -> Any:
    rng = np.random.default_rng(0)
    known = fields(method)
    one = method in ("rome", "r_rome", "emmet", "ft", "ft_l", "ft_m", "locft_bf")
    layers = LAYERS[1:2] if one else LAYERS
    given: dict[str, Any] = {"layers": layers, "contexts": CONTEXTS}
    if "statistics" in known:
        keys = rng.normal(size=(len(layers), 4 * width, width))
        given["statistics"] = {j: k.T @ k / len(k) for j, k in zip(layers, keys, strict=True)}
        given["moment_weight"] = 100.0
        given["values"] = ValueSettings(steps=STEPS, learning_rate=0.3, stop_below=0.0)
    if method == "alphaedit":
        given["threshold"] = 0.7
    if "learning_rate" in known:
        given["stop_below"] = 0.0
    return EDITORS[method](**{name: value for name, value in given.items() if name in known})


def timed(call: Callable[..., Any], *args: Any, **more: Any) -> tuple[float, Any]:
    begun = time.perf_counter()
    out = jax.block_until_ready(call(*args, **more))
    return time.perf_counter() - begun, out


def one_by_one(lm: Transformer, editor: Any, facts: list[Fact]) -> Iterator[dict[str, float]]:
    """Seconds of each stage of each edit."""
    first, prepared = timed(editor.prepare, lm, facts)
    ahead, prepared = timed(editor.prepare, lm, facts)  # the first time compiled
    state = editor.init(lm)
    for i in range(len(facts)):
        own = take(prepared, i, i + 1)
        seconds = {"prepare": ahead / len(facts) if i else first}
        if isinstance(editor, LocateThenEdit) and not editor.values_ahead:
            seconds["bind"], now = timed(editor.bind, lm, state)
            seconds["values"], values = timed(editor.found, now, own.values)
            begun = time.perf_counter()
            edited, _ = editor.update(now, state, own.keys, values)
            state = jax.block_until_ready(editor.after(edited, state, own))
            seconds["keys and solve"] = time.perf_counter() - begun
        else:
            name = "keys and solve" if editor.values_ahead else "training"
            seconds[name], (state, _) = timed(editor.edit, lm, state, own)
        yield seconds


def needed(lm: Transformer, editor: Any, facts: list[Fact]) -> tuple[float, int]:
    """What an edit cannot do without: operations in matrix products, and tokens of a step."""
    c = lm.config
    block = 2 * (4 * c.d_model**2 + 2 * c.d_model * c.d_ff)
    head = 2 * c.d_model * c.vocab_size
    last = editor.layers[-1]
    if not isinstance(editor, LocateThenEdit):
        rows = editor.prepare(lm, facts)
        tokens = rows.mask.sum() / len(facts)
        above = c.n_layers - editor.layers[0]
        # Backward: activations through the blocks above, weights of one matrix.
        step = tokens * (2 * above * block + 2 * c.d_model * c.d_ff) + 3 * head
        return tokens * editor.layers[0] * block + editor.steps * step, round(tokens)
    values = value_rows(lm.tokenizer, facts, CONTEXTS)
    keys = key_rows(lm.tokenizer, facts, CONTEXTS)
    n = len(facts)
    tails = values.mask.sum(-1) - values.lookup  # [n, R]
    tails[:, -1] = 1  # of the subject's own row the divergence needs one token
    predicted = values.target_mask.sum() * values.predict.shape[1] + n
    above = c.n_layers - last - 1 + (ATTENTION_OUT in editor.sites)
    once = values.mask.sum() * c.n_layers * block
    steps = (2 * STEPS - 1) * (tails.sum() * above * block + predicted * head)
    # Each edited block runs once for its keys, and its last matrix again once it is solved.
    walk = keys.mask.sum() * ((last + 1) * block + len(editor.layers) * 2 * c.d_model * c.d_ff)
    solves = len(editor.layers) * 4 * c.d_ff * (c.d_model + c.d_ff)
    together = len(facts) if editor.values_ahead else 1
    return (once + steps + walk) / n + solves, round(tails.sum() / n) * together


def rate(rows: int) -> float:
    """Operations a second of a product as large as a step's, [rows, 256] x [256, 1024]."""
    a, b = jnp.ones((rows, 256)), jnp.ones((256, 1024))
    product = jax.jit(lambda a, b: a @ b)
    best = min(timed(lambda: [product(a, b) for _ in range(200)])[0] for _ in range(10))
    return 200 * 2 * rows * 256 * 1024 / best


def row(lm: Transformer, method: str, facts: list[Fact]) -> dict[str, str]:
    """One line of the table."""
    editor = editor_of(method, lm.config.d_ff)
    found = list(one_by_one(lm, editor, facts))
    later = found[len(found) // 2 :]
    warm = {name: stats.median(x[name] for x in later) for name in found[0]}
    total = sum(warm.values())
    operations, rows = needed(lm, editor, facts)
    speed = rate(rows)
    authors = [
        f"{seconds[method] / total:.1f} ({threads} thread{'s' * (threads > 1)}: {seconds[method]})"
        for (threads, _), seconds in AUTHORS.items()
        if method in seconds
    ]
    return {
        "method": method,
        "first edit, s": f"{sum(found[0].values()):.1f}",
        "warm, s": f"{total:.4f}",
        "of which": ", ".join(f"{name} {seconds:.4f}" for name, seconds in warm.items()),
        "GFLOP": f"{operations / 1e9:.2f}",
        "GFLOP/s": f"{speed / 1e9:.0f}",
        "share of the floor": f"{100 * operations / speed / total:.0f} %",
        "authors / ours": "; ".join(authors) or "-",
    }


def main(_: list[str]) -> None:
    lm, facts = model(), short_facts(EDITS.value)
    tokens = value_rows(lm.tokenizer, facts, CONTEXTS).mask.sum(-1).mean()
    print(f"{EDITS.value} facts, rows of {tokens:.1f} tokens, {len(os.sched_getaffinity(0))} cores")
    for i, method in enumerate(METHODS.value):
        cells = row(lm, method, facts)
        if not i:
            print(f"| {' | '.join(cells)} |\n|{'---|' * len(cells)}")
        print(f"| {' | '.join(cells.values())} |", flush=True)


if __name__ == "__main__":
    app.run(main)
