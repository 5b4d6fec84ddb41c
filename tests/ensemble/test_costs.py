"""The cost model against Table 5 of the OnceEdit paper, from shapes and Table 9's anchors."""

import dataclasses
import functools
from typing import NamedTuple

import pytest

from jaxedit.architectures import ARCHITECTURES
from jaxedit.ensemble.costs import Build, Migration, forward_operations, migration
from jaxedit.models.config import ModelConfig
from jaxedit.models.families import read_config


class Row(NamedTuple):
    """A model of Tables 5 and 9."""

    model: str
    words: int
    anchors: int
    tera_per_token: float
    tera: float
    tokens: int


TABLE = (
    Row("meta-llama/Llama-2-7b-hf", 32000, 31999, 0.013, 12.638, 973),
    Row("mistralai/Mistral-7B-v0.1", 32000, 24184, 0.014, 9.552, 683),
    Row("EleutherAI/gpt-j-6b", 50400, 17830, 0.011, 9.739, 886),
)
each_row = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.model)


def shape(model: str) -> ModelConfig:
    """A published model's."""
    return read_config(ARCHITECTURES[model])


def plug_shape() -> ModelConfig:
    """TinyLlama's with the row of [WEIGHT]."""
    plain = shape("TinyLlama/TinyLlama-1.1B-Chat-v1.0")
    return dataclasses.replace(plain, vocab_size=plain.vocab_size + 1)


@functools.cache
def of_row(row: Row) -> Migration:
    """What the cost model says of it."""
    return migration(shape(row.model), plug_shape(), row.anchors)


@each_row
def test_table_5_comes_out(row: Row) -> None:
    made = of_row(row)
    assert (made.tera, made.tera_per_token, made.tokens) == (
        row.tera,
        row.tera_per_token,
        row.tokens,
    )
    assert (made.target.words, made.target.width) == (row.words, 4096)
    assert (made.plug.words, made.plug.width) == (32001, 2048)


def counted(row: Row, **constants: int) -> float:
    """TFLOP of a row with other constants."""
    whole = of_row(row)
    target, plug = (dataclasses.replace(side, **constants) for side in (whole.target, whole.plug))
    return Migration(target, plug, whole.per_token).tera


def test_only_one_exponential_gives_table_5() -> None:
    fitting = [n for n in range(60) if all(counted(r, exponential=n) == r.tera for r in TABLE)]
    assert fitting == [25]


@pytest.mark.parametrize("root", [0, 100])
def test_the_square_root_does_not_matter(root: int) -> None:
    assert all(counted(row, square_root=root) == row.tera for row in TABLE)


def test_operations_counted_one_by_one() -> None:
    made = Build(words=3, anchors=2, width=5, exponential=7, square_root=11)
    assert made.products == 6 * (5 + 4)  # five products and four sums an entry
    assert made.lengths == 5 * (5 + 4 + 11)
    assert made.divisions == 6
    assert made.softmax == 6 * 7 + 3 * 1 + 6  # exponentials, a sum a row, divisions
    assert made.total == 3 * 2 * (2 * 5 + 7 + 2) + 5 * (2 * 5 - 1 + 11) - 3
    assert made.scaling == 24


def test_sizes_and_uses() -> None:
    made = of_row(TABLE[2])
    assert round(made.held() / 1e9, 2) == 5.88
    assert made.held(bytes_each=2) * 2 == made.held()
    assert round(made.fuse / 1e9, 2) == 2.94
    assert round(made.search_step / 1e9, 2) == 3.59


def test_small_models_have_a_number_too() -> None:
    small = dataclasses.replace(plug_shape(), d_model=32, d_ff=64, n_layers=1, n_heads=4)
    small = dataclasses.replace(small, n_kv_heads=4, head_dim=8, rotary_dim=8)
    assert 0 < forward_operations(small) < 10**6
    made = migration(small, small, 100)
    assert made.tokens >= made.operations / made.per_token
