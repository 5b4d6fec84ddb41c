"""Fusion and search against DeePEn's public classes (PyTorch, CPU, float32).

Every `onceedit/pair_*.npz` and `onceedit/eps_regime*.npz` that lies in the folder is taken.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.ensemble.anchors import Anchors
from jaxedit.ensemble.certificate import bounds_of
from jaxedit.ensemble.fusion import FROM_ZERO, ONE_HOT, Fusion, choose, fuse
from jaxedit.ensemble.maps import Map
from jaxedit.ensemble.relative import Space, relative
from jaxedit.ensemble.search import oracle, search, search_column
from tests.shared import GOLDEN

PAIRS = sorted((GOLDEN / "onceedit").glob("pair_*.npz"))
REGIMES = sorted((GOLDEN / "onceedit").glob("eps_regime*.npz"))
MODES = ("deepen", "dw", "dw_zi", "dw_ta", "dw_ee")

every_pair = pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
every_mode = pytest.mark.parametrize("mode", MODES)


@functools.cache
def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as found:
        return {name: found[name] for name in found.files}


@functools.cache
def space_of(path: Path) -> Space:
    made = arrays(path)
    anchors = Anchors(
        made["anchors_l"], made["anchors_s"], tuple(made["anchor_tokens"].tolist()), "deepen"
    )
    main, plug = jnp.asarray(made["R_l"]), jnp.asarray(made["R_s"])
    peaks = jnp.maximum(main.max(0), plug.max(0))
    return Space(anchors, main, plug, made["table_T"], made["table_S"], peaks)


def shares(path: Path, mode: str) -> np.ndarray:
    alpha = arrays(path)["alpha"]
    return np.full_like(alpha, 0.5) if mode == "deepen" else alpha


def meaningless(path: Path, mode: str) -> np.ndarray:
    """Rows where P = q: the gradient there is rounding noise."""
    return (shares(path, mode) == 0) & (mode in ("deepen", "dw"))


@jax.jit(static_argnames=("steps", "one_hot"))
def searched(main, start, target, rate, *, one_hot, steps):
    """The search, by one column of R where the target is one-hot."""
    settings = {"learning_rate": rate, "steps": steps, "trace": True}
    target_map = Map(main)
    if not one_hot:
        return search(target_map, start, target, **settings)
    column = target_map.columns(jnp.argmax(target, -1))
    return search_column(column, target_map.anchors, start, **settings)


@every_pair
@every_mode
def test_the_fused_distribution_is_deepens(path, mode):
    made = arrays(path)
    expected = made.get(f"{mode}/P", made["dw/P"])
    found = jax.jit(fuse)(space_of(path), made["p_l"], made["p_s"], shares(path, mode))
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)
    target = made[f"{mode}/target"]
    if mode in ONE_HOT:
        found = np.eye(found.shape[1], dtype=np.float32)[np.argmax(found, -1)]
    np.testing.assert_allclose(found, target, rtol=0, atol=5e-6)


@every_pair
@every_mode
def test_every_step_of_the_search_is_the_published_one(path, mode):
    made = arrays(path)
    start = np.zeros_like(made["logits_l"]) if mode in FROM_ZERO else made["logits_l"]
    found = searched(
        space_of(path).main,
        start,
        made[f"{mode}/target"],
        float(made["lr"]),
        one_hot=mode in ONE_HOT,
        steps=int(made["steps"]),
    )
    kept = ~meaningless(path, mode)
    z, losses = np.asarray(found.values), np.asarray(found.losses)
    p = np.asarray(jax.nn.softmax(z))
    compare = functools.partial(np.testing.assert_allclose, rtol=0, atol=5e-5)
    compare(np.asarray(found.trajectory)[kept], made[f"{mode}/traj"][kept])
    compare(z[kept], made[f"{mode}/z"][kept])
    compare(losses, made[f"{mode}/loss"])
    compare(p[kept], made[f"{mode}/p"][kept])
    np.testing.assert_array_equal(z.argmax(-1)[kept], made[f"{mode}/tok"][kept])


@every_pair
@every_mode
def test_tokens_are_the_published_ones(path, mode):
    made, space = arrays(path), space_of(path)
    settings = {
        "learning_rate": float(made["lr"]),
        "steps": int(made["steps"]),
        "mask_gate": False,
        "eos": "fuse",
    }
    decide = jax.jit(choose, static_argnums=0)
    ways = [(Fusion(mode, "search", **settings), None)]
    if mode == "dw_ee":
        ways += [(Fusion(mode, "table", **settings), b) for b in (None, bounds_of(space))]
    for fusion, bounds in ways:
        tokens = decide(
            fusion, space, made["logits_l"], made["logits_s"], made["alpha"], bounds=bounds
        )
        np.testing.assert_array_equal(tokens, made[f"{mode}/tok"])


@every_pair
def test_the_gate_is_left_out_as_published(path):
    made, space = arrays(path), space_of(path)
    if "p_s_maskW" not in made:
        pytest.skip("no such array")
    gate = int(np.flatnonzero((made["p_s_maskW"] == 0).all(0) & (made["p_s"] > 0).any(0))[0])
    without = jax.nn.softmax(jnp.asarray(made["logits_s"]).at[:, gate].set(-jnp.inf))
    np.testing.assert_allclose(without, made["p_s_maskW"], rtol=0, atol=5e-6)
    fused = fuse(space, made["p_l"], made["p_s_maskW"], made["alpha"])
    tokens = choose(
        Fusion(eos="fuse"),
        space,
        made["logits_l"],
        made["logits_s"],
        made["alpha"],
        gate_id=gate,
    )
    np.testing.assert_array_equal(tokens, made["table_T"][np.argmax(fused, -1)])


@every_pair
def test_every_column_of_the_table_is_where_the_search_ends(path):
    space = space_of(path)
    columns = np.arange(space.main.shape[1])
    np.testing.assert_array_equal(oracle(Map(space.main), columns), space.table)


class Regime:
    """Embeddings of which R is made again, with searches in some of its columns.

    What is what is told by shape: V words, A anchors, n columns.
    """

    def __init__(self, path: Path) -> None:
        self.arrays = arrays(path)
        self.traj = self.arrays["traj"]  # [n, steps kept, V]
        self.table = self.arrays["table_T"]
        self.anchors = len(self.table)
        self.rate = float(self.arrays.get("lr", 0.15))

    @property
    def columns(self) -> np.ndarray:
        """[n, V], as given."""
        given = self.arrays["R_cols"]
        return given if given.shape == (len(self.traj), self.traj.shape[-1]) else given.T

    def one(self, fits) -> np.ndarray | None:
        found = [x for name, x in self.arrays.items() if name != "table_T" and fits(name, x)]
        return found[0] if found else None

    def relative(self) -> jax.Array | None:
        """R [V, A]; None where its embeddings cannot be told from the rest."""
        words = self.traj.shape[-1]
        embeddings = self.one(
            lambda name, x: (
                x.ndim == 2 and len(x) == words and x.dtype.kind == "f" and name[:2] != "R_"
            )
        )
        ids = self.one(lambda _, x: x.shape == (self.anchors,) and x.dtype.kind in "iu")
        if embeddings is None:
            return None
        return relative(embeddings, np.arange(self.anchors) if ids is None else ids)

    def soft_targets(self) -> np.ndarray | None:
        rows = len(self.arrays["soft_traj_0_1_5"])
        return self.one(
            lambda name, x: (
                x.shape == (rows, self.anchors) and x.dtype.kind == "f" and name[:2] != "R_"
            )
        )


every_regime = pytest.mark.parametrize("path", REGIMES, ids=lambda path: path.stem)


def steps_kept(count: int) -> list[int]:
    """Which steps a trajectory of so many entries has: the start, the first two, the last."""
    return [0, 1, 2, 5] if count == 4 else list(range(count))


@every_regime
def test_tiny_gradients_are_damped_as_published(path):
    """Gradients near AdamW's epsilon: the mean over the anchors counts."""
    regime = Regime(path)
    column, kept = jnp.asarray(regime.columns), steps_kept(regime.traj.shape[1])
    found = search_column(
        column,
        regime.anchors,
        jnp.zeros_like(column),
        learning_rate=regime.rate,
        steps=kept[-1],
        trace=True,
    )
    assert found.trajectory is not None
    np.testing.assert_allclose(found.trajectory[:, kept], regime.traj, rtol=0, atol=5e-5)
    np.testing.assert_array_equal(found.values.argmax(-1), regime.columns.argmax(-1))


@every_regime
def test_soft_targets_from_zero_are_the_published_ones(path):
    regime = Regime(path)
    matrix, fused = regime.relative(), regime.soft_targets()
    if matrix is None or fused is None:
        pytest.skip("its embeddings or soft targets are under no name that tells them apart")
    zeros = jnp.zeros((len(fused), len(matrix)), jnp.float32)
    found = search(
        Map(matrix), zeros, jnp.asarray(fused), learning_rate=regime.rate, steps=5, trace=True
    )
    assert found.trajectory is not None
    path_kept = np.asarray(found.trajectory)[:, [0, 1, 5]]
    np.testing.assert_allclose(path_kept, regime.arrays["soft_traj_0_1_5"], rtol=0, atol=5e-5)
    first = regime.arrays["soft_step1_score_argmax"].reshape(-1)
    np.testing.assert_array_equal(path_kept[:, 1].argmax(-1), first)
