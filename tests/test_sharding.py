"""Rows over devices, parameters whole or in slices: the numbers are those of one device."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.api import Edited, edit
from jaxedit.errors import UserError
from jaxedit.models.families import SPLIT, split_axis
from jaxedit.models.loading import load_model, save_hf
from jaxedit.models.placement import put_params
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import MODEL, data_parallel, data_parallel_sum, fetch, make_mesh, put
from tests.models.tiny import CONFIGS, tiny_lm
from tests.tiny import tiny_model
from tests.tiny_run import even_facts

MESHES = ((1, 1), (8, 1), (4, 2), (1, 2))
FACTS = even_facts(4)
PROMPTS, TARGETS = [fact.question for fact in FACTS], [fact.target for fact in FACTS]
METHODS = ("d4s", "memit", "alphaedit", "rome", "pmet", "ultraedit", "kn", "ft_m")
CONTEXTS = (("{}",), ("The old harbour. {}",))


def affine(params: Any, batch: Any) -> Any:
    return batch["x"] @ params["w"], batch["n"] + 1


def summed(params: Any, batch: Any) -> Any:
    return {"sum": (batch["x"] @ params["w"]).sum(0)}


@pytest.mark.parametrize("shape", [*MESHES, (2, 4), (1, 8)])
@pytest.mark.parametrize("rows", [1, 7, 24])
def test_rows_come_back_in_their_order(shape: tuple[int, int], rows: int) -> None:
    mesh = make_mesh(*shape)
    rng = np.random.default_rng(rows)
    params = {"w": rng.standard_normal((6, 8)).astype(np.float32)}
    placed = put(params, mesh, None, MODEL)  # the columns of a matrix are split
    batch = {"x": rng.standard_normal((rows, 6)).astype(np.float32), "n": np.arange(rows)}
    y, n = data_parallel(affine, mesh, chunk=2)(placed, batch)
    np.testing.assert_allclose(y, batch["x"] @ params["w"], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(n, batch["n"] + 1)
    total = data_parallel_sum(summed, mesh)(placed, batch)["sum"]
    np.testing.assert_allclose(total, (batch["x"] @ params["w"]).sum(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("data", "model"), [(9, 1), (3, 4), (None, 3), (0, 1), (1, 0)])
def test_devices_that_are_not_there(data: int | None, model: int) -> None:
    with pytest.raises(UserError, match=r"mesh\.(data|model)="):
        make_mesh(data, model)


@pytest.mark.parametrize("family", CONFIGS)
def test_every_leaf_has_its_rule(family: str) -> None:
    config, one = CONFIGS[family], tiny_lm(family, make_mesh(1))
    mesh = make_mesh(2, 2)
    placed = put_params(one.params, config, mesh)
    for path, leaf in jax.tree_util.tree_leaves_with_path(placed):
        keys = tuple(step.key for step in path)
        name = ".".join(key for key in keys if not key.startswith("layers_"))
        axis = split_axis(config, keys, 2)
        assert (name in SPLIT) or leaf.is_fully_replicated
        held = leaf.addressable_shards[0].data.shape
        whole = list(leaf.shape)
        if axis is not None:
            whole[axis] //= 2
        assert held == tuple(whole), keys


def test_heads_go_whole() -> None:
    config = dataclasses.replace(CONFIGS["llama"], n_heads=6, n_kv_heads=2)
    path = ("layers_0", "attn", "q", "kernel")
    assert [split_axis(config, path, n) for n in (1, 2, 4)] == [None, 1, None]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    save_hf(tiny_model(), made)
    return made


def loaded(directory: Path, shape: tuple[int, int]) -> Transformer:
    return load_model(directory, "float32", make_mesh(*shape))


def edited(directory: Path, method: str, shape: tuple[int, int]) -> Edited:
    rng = np.random.default_rng(0)
    keys = rng.standard_normal((200, 48))
    return edit(
        loaded(directory, shape),
        FACTS,
        method,
        batch=1 if method in ("rome", "kn") else 2,
        statistics=dict.fromkeys(range(4), keys.T @ keys / 200),
        contexts=CONTEXTS,
        layers=(2,) if method == "rome" else (1, 2),
        **({"threshold": 0.7} if method == "alphaedit" else {}),  # a third of the directions
    )


def test_edits_and_scores_are_those_of_one_device(directory: Path) -> None:
    check(directory, "d4s", ((1, 1), (2, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_way_of_editing_on_every_mesh(directory: Path, method: str) -> None:
    check(directory, method, MESHES)


def check(directory: Path, method: str, shapes: Sequence[tuple[int, int]]) -> None:
    found = {shape: edited(directory, method, shape) for shape in shapes}
    one = found[1, 1]
    kernels = {
        s: fetch(e.model.params["layers_2"]["mlp"]["down"]["kernel"]) for s, e in found.items()
    }
    for shape, other in found.items():
        np.testing.assert_allclose(
            kernels[shape], kernels[1, 1], rtol=1e-4, atol=1e-5, err_msg=str(shape)
        )
        for a, b in zip(
            one.teacher_forced(PROMPTS, TARGETS),
            other.teacher_forced(PROMPTS, TARGETS),
            strict=True,
        ):
            np.testing.assert_allclose(a.logprobs, b.logprobs, rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(a.predicted_ids, b.predicted_ids)
        assert one.generate(PROMPTS, 4) == other.generate(PROMPTS, 4)


def test_an_edited_kernel_stays_in_its_slices(directory: Path) -> None:
    model = edited(directory, "d4s", (4, 2)).model
    kernel = model.params["layers_2"]["mlp"]["down"]["kernel"]
    assert kernel.addressable_shards[0].data.shape == (24, 24)
    assert kernel.dtype == jnp.float32


def test_slices_of_a_file_are_the_file(directory: Path) -> None:
    whole, parts = loaded(directory, (1, 1)), loaded(directory, (2, 4))
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params), strict=True):
        np.testing.assert_array_equal(fetch(a), fetch(b))
