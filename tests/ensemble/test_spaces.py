"""Relative spaces on disk: found again, made again, refused."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging

from jaxedit.ensemble import spaces
from jaxedit.ensemble.implicit import Basis
from jaxedit.ensemble.relative import Space, make_space
from jaxedit.ensemble.spaces import Label, embeddings_hash, open_space
from jaxedit.errors import UserError
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from tests.tiny import tiny_model


@functools.cache
def plug(changed: bool = False) -> Transformer:
    """The tiny model with other embeddings, one row of which training may have changed."""
    lm = tiny_model()
    tokens = lm.params["embed"]["tokens"]
    other = jax.random.normal(jax.random.key(7), tokens.shape)
    other = other.at[5, 3].add(1e-3) if changed else other
    params = {**lm.params, "embed": {**lm.params["embed"], "tokens": other}}
    return dataclasses.replace(lm.with_params(params), name="plug")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models whose side was made rather than read."""
    names: list[str] = []

    def noted(*args: Any, name: str, **settings: Any) -> Any:
        names.append(name)
        return side(*args, name=name, **settings)

    side = spaces.side
    monkeypatch.setattr(spaces, "side", noted)
    return names


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: found.append(text % args))
    return found


def same(a: Space, b: Space) -> None:
    assert a.anchors == b.anchors
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def files(cache: Path) -> set[Path]:
    return set(cache.iterdir())


def test_a_space_is_found_again(tmp_path: Path, made: list[str]) -> None:
    first = open_space(tiny_model(), plug(), cache=tmp_path)
    assert made == ["tiny", "plug"]
    same(open_space(tiny_model(), plug(), cache=tmp_path), first)
    assert len(made) == 2
    assert len(files(tmp_path)) == 2
    assert first.table.dtype == jnp.int32
    assert not isinstance(first.main, Basis)


def test_one_changed_row_of_the_plug_in_makes_its_side_alone(
    tmp_path: Path, made: list[str]
) -> None:
    before = open_space(tiny_model(), plug(), cache=tmp_path)
    after = open_space(tiny_model(), plug(changed=True), cache=tmp_path)
    assert made == ["tiny", "plug", "plug"]
    np.testing.assert_array_equal(before.main, after.main)
    assert (np.asarray(before.plug) != np.asarray(after.plug)).any()
    open_space(tiny_model(), plug(), cache=tmp_path)
    assert len(made) == 3


def test_settings_have_files_of_their_own(tmp_path: Path, made: list[str]) -> None:
    open_space(tiny_model(), plug(), cache=tmp_path)
    rounded = open_space(tiny_model(), plug(), cache=tmp_path, dtype=jnp.bfloat16)
    cooler = open_space(tiny_model(), plug(), cache=tmp_path, temperature=10.0)
    assert len(made) == 6
    same(open_space(tiny_model(), plug(), cache=tmp_path, dtype=jnp.bfloat16), rounded)
    same(open_space(tiny_model(), plug(), cache=tmp_path, temperature=10.0), cooler)
    assert len(made) == 6


def test_words_are_compared_by_either_embeddings(tmp_path: Path, made: list[str]) -> None:
    by_input = open_space(tiny_model(), plug(), cache=tmp_path)
    by_output = open_space(tiny_model(), plug(), cache=tmp_path, embeddings="output")
    head = tiny_model().params["head"]["kernel"].T  # either model's
    same(by_output, make_space(head, head, by_input.anchors))
    assert made == ["tiny", "plug", "tiny"]
    tied = dataclasses.replace(plug(), config=dataclasses.replace(plug().config, tied=True))
    one = open_space(tied, tied, cache=tmp_path, embeddings="output")
    np.testing.assert_array_equal(one.main, by_input.plug)  # found: it is the same embedding


def test_a_space_for_several_devices_is_on_all(tmp_path: Path) -> None:
    many = dataclasses.replace(tiny_model(), mesh=make_mesh(2))
    first = open_space(many, dataclasses.replace(plug(), mesh=make_mesh(2)), cache=tmp_path)
    again = open_space(many, dataclasses.replace(plug(), mesh=make_mesh(2)), cache=tmp_path)
    same(first, again)
    for one in (first, again):
        assert {len(x.sharding.device_set) for x in jax.tree.leaves(one)} == {2}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flipped, emptied])
def test_a_damaged_file_is_made_again(
    tmp_path: Path, made: list[str], warnings: list[str], damage: Any
) -> None:
    first = open_space(tiny_model(), plug(), cache=tmp_path)
    broken = min(files(tmp_path))
    damage(broken)
    same(open_space(tiny_model(), plug(), cache=tmp_path), first)
    assert len(made) == 3
    assert len(warnings) == 1
    assert str(broken) in warnings[0]
    same(open_space(tiny_model(), plug(), cache=tmp_path), first)
    assert len(made) == 3


def test_a_file_of_other_embeddings_is_refused(tmp_path: Path) -> None:
    open_space(tiny_model(), plug(), cache=tmp_path)
    old = files(tmp_path)
    open_space(tiny_model(), plug(changed=True), cache=tmp_path)
    (new,) = files(tmp_path) - old
    stale = next(path for path in old if path.name.startswith(f"relative-{start(plug())}"))
    new.write_bytes(stale.read_bytes())
    with pytest.raises(UserError, match=r"other embeddings.*embeddings \w+\.\.\. instead of \w+"):
        open_space(tiny_model(), plug(changed=True), cache=tmp_path)


def start(lm: Transformer) -> str:
    """What the names of its files begin with."""
    return embeddings_hash(lm.params["embed"]["tokens"])[: spaces.DIGITS]


def test_a_cache_that_takes_nothing_costs_only_time(
    tmp_path: Path, made: list[str], warnings: list[str]
) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")
    open_space(tiny_model(), plug(), cache=occupied)
    assert made == ["tiny", "plug"]
    assert len(warnings) == 2
    assert all(str(occupied) in text for text in warnings)


def test_r_that_is_not_held_is_not_kept(tmp_path: Path) -> None:
    free = open_space(tiny_model(), plug(), cache=tmp_path, keep=False)
    held = open_space(tiny_model(), plug(), cache=tmp_path)
    assert isinstance(free.main, Basis)
    assert isinstance(free.plug, Basis)
    np.testing.assert_array_equal(free.table, held.table)
    np.testing.assert_array_equal(free.plug_table, held.plug_table)
    assert len(files(tmp_path)) == 2
    label = Label("e", "a", free.main.shape, 100.0, "float32")
    one = spaces.side(plug().params["embed"]["tokens"], [1], keep=False)
    with pytest.raises(ValueError, match="not held"):
        spaces.save_side(tmp_path, label, one)


def test_without_the_cache_nothing_is_written(tmp_path: Path, made: list[str]) -> None:
    first = open_space(tiny_model(), plug(), cache=tmp_path, stored=False)
    same(open_space(tiny_model(), plug(), cache=tmp_path, stored=False), first)
    assert len(made) == 4
    assert not files(tmp_path)


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="plug has no tokenizer"):
        open_space(tiny_model(), dataclasses.replace(plug(), text=None), cache=tmp_path)


def test_the_hash_reads_every_row() -> None:
    assert start(plug()) != start(plug(changed=True))
    long = np.zeros((2 * spaces.ROWS + 1, 2), np.float32)
    changed = long.copy()
    changed[-1, -1] = 1
    assert embeddings_hash(long) != embeddings_hash(changed)
    assert embeddings_hash(long) == embeddings_hash(jnp.asarray(long))
