"""Llama-3-70B on eight devices that share its parameters: compiled, without weights.

What matters is what travels: two sums over the devices a layer, and never a parameter.
"""

import dataclasses
import math
import re
from collections import Counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from jaxedit.architectures import ARCHITECTURES
from jaxedit.editors.packing import Packed
from jaxedit.editors.rows import ValueRows
from jaxedit.editors.values import BLOCK_OUT, ValueSettings, _optimise
from jaxedit.models.config import ModelConfig
from jaxedit.models.families import read_config
from jaxedit.models.packed import Batch
from jaxedit.models.placement import bytes_per_device, placed_shapes
from jaxedit.models.scoring import _score
from jaxedit.sharding import DATA, Mesh, _compiled, make_mesh

WHOLE = read_config(ARCHITECTURES["meta-llama/Meta-Llama-3-70B"])
MODEL = 8
ROWS, LENGTH = 8, 64
MOVES = (
    r"= (?P<made>\(?[a-z].*?) (?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all)(-start)?\("
)


class Move(NamedTuple):
    """A collective operation of a compiled program: its kind, and entries of each result."""

    kind: str
    sizes: tuple[int, ...]


def cut(layers: int) -> ModelConfig:
    return dataclasses.replace(WHOLE, n_layers=layers)


def moves(fn: Any, config: ModelConfig, batch: Any, **static: Any) -> list[Move]:
    """What travels in a program of parameters and rows."""
    mesh = make_mesh(1, MODEL)
    params = placed_shapes(config, mesh, jnp.bfloat16)
    placed = jax.tree.map(lambda x: on(mesh, x), batch)
    settings = tuple(sorted({"config": config, **static}.items()))
    text = _compiled(fn, mesh, settings).lower(params, placed).compile().as_text()
    found = []
    for match in re.finditer(MOVES, text):
        shapes = re.findall(r"[a-z]+\d*\[([\d,]*)\]", match["made"])
        sizes = tuple(math.prod(map(int, filter(None, dims.split(",")))) for dims in shapes)
        found.append(Move(match["kind"], sizes))
    return found


def on(mesh: Mesh, x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=mesh.sharding(DATA))


def ints(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def check_evaluation(layers: int) -> None:
    config = cut(layers)
    found = moves(_score, config, Batch(*(ints(ROWS, LENGTH) for _ in Batch._fields)))
    hidden = ROWS * LENGTH * config.d_model
    sums = [move for move in found if move.kind == "all-reduce" and hidden in move.sizes]
    # Of attention and of the MLP in each layer, and one of the embedding.
    assert sum(move.sizes.count(hidden) for move in sums) == 2 * layers + 1
    smallest = config.d_model * config.n_kv_heads * config.head_dim // MODEL
    others = [move for move in found if move not in sums]
    assert all(max(move.sizes) < smallest // 64 for move in others), "a parameter travels"


def check_values(layers: int) -> None:
    config = cut(layers)
    n, rows, targets = 4, 7, 4
    inputs = ValueRows(
        ints(n, rows, LENGTH),
        jax.ShapeDtypeStruct((n, rows, LENGTH), jnp.bool_),
        ints(n, rows),
        ints(n, rows - 1, targets),
        ints(n, targets),
        jax.ShapeDtypeStruct((n, targets), jnp.bool_),
    )
    columns = [ints(n, size) for size in (48, 48, 192, 192)]
    packed = Packed(*columns, *(ints(n, rows), ints(n, rows - 1, targets)))
    found = moves(
        _optimise,
        config,
        (inputs, packed),
        layer=layers // 2,
        settings=ValueSettings(),
        sites=(BLOCK_OUT,),
        trace=False,
    )
    kinds = Counter(move.kind for move in found)
    assert kinds["all-reduce"] >= 2 * layers
    kernel = config.d_model * config.d_ff // MODEL
    gathered = [move for move in found if move.kind != "all-reduce"]
    assert all(max(move.sizes) < kernel // 4 for move in gathered), "a parameter travels"


def test_evaluation_of_three_layers() -> None:
    check_evaluation(3)


def test_values_of_two_layers() -> None:
    check_values(2)


@pytest.mark.slow
def test_the_whole_model() -> None:
    check_evaluation(WHOLE.n_layers)
    check_values(WHOLE.n_layers)


def test_its_share_of_a_device() -> None:
    whole = bytes_per_device(WHOLE, 1, jnp.bfloat16)
    assert whole == 2 * 70_553_706_496  # meta-llama/Meta-Llama-3-70B
    norms = 2 * (2 * WHOLE.n_layers + 1) * WHOLE.d_model
    assert bytes_per_device(WHOLE, MODEL, jnp.bfloat16) == (whole - norms) // MODEL + norms
