"""Arrays of the authors' public code, and the same set-up for ours.

`locate_then_edit/arrays/{model}__{method}__{dtype}.npz` with their settings beside them in JSON,
and `locate_then_edit/data/` with the models. A folder with other models runs without a change.
"""

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.editors import EDITORS
from jaxedit.editors.pmet import RELAXED
from jaxedit.editors.rows import Contexts
from jaxedit.editors.values import Values, ValueSettings
from jaxedit.editors.weights import kernel
from jaxedit.models.forward import forward
from jaxedit.models.loading import load_model
from jaxedit.models.text import pad_batch
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh, replicate
from tests.shared import GOLDEN

ROOT = GOLDEN / "locate_then_edit"
METHODS = {  # the stored name, and ours
    "d4s": "d4s",
    "memit": "memit",
    "memit_c4": "memit",
    "ee_memit": "memit",
    "rome": "rome",
    "ee_rome": "rome",
    "ee_r_rome": "r_rome",
    "emmet": "emmet",
    "pmet": "pmet",
    "ee_pmet": "pmet",
    "alphaedit": "alphaedit",
    "ft": "ft_l",
    "ee_ft_l": "ft_l",
    "ee_ft_m": "ft_m",
}
# Published code that encodes a target without the bare "▁" of a Llama-2 tokenizer: EMMET's strips
# it, and EasyEdit's PMET puts no space before the target.
STRIPPED = ("emmet", "ee_pmet")
MEAN_OF_ALL = ("rome", "ee_rome", "ee_r_rome")  # one group of prefix templates


class Tolerance(NamedTuple):
    """Largest error, relative to the largest entry of the array."""

    path: float
    value: float
    key: float
    delta: float
    logits: float
    tuned: float


TOLERANCES = {
    "float64": Tolerance(path=1e-9, value=1e-9, key=1e-9, delta=1e-8, logits=1e-9, tuned=1e-8),
    "float32": Tolerance(path=1e-4, value=1e-4, key=2e-5, delta=3e-4, logits=1e-4, tuned=1e-3),
}


class Golden(NamedTuple):
    """One run of the authors' code, and the same set-up for ours."""

    arrays: dict[str, np.ndarray]
    lm: Transformer
    facts: list[Fact]
    editor: Any
    info: dict[str, Any]
    tolerance: Tolerance
    dtype: str


def runs(methods: Iterable[str]) -> list[str]:
    """The stored runs of methods of ours."""
    chosen = set(methods)
    found = [path.stem for path in ROOT.glob("arrays/*__*__*.npz")]
    split = [(run, *run.split("__")[1:]) for run in sorted(found)]
    return [
        run for run, name, dtype in split if METHODS.get(name) in chosen and dtype in TOLERANCES
    ]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def model_directory(kind: str) -> Path:
    for path in sorted((ROOT / "data").glob("*/config.json")):
        if read(path)["model_type"] == kind:
            return path.parent
    raise FileNotFoundError(f"no model of type {kind} in {ROOT / 'data'}")


def contexts(name: str) -> Contexts:
    kept = read(ROOT / "data" / "context_templates.json")
    return (tuple(kept["rome"]),) if name in MEAN_OF_ALL else tuple(map(tuple, kept["memit"]))


def requests(ids: list[int]) -> list[Fact]:
    known = {}
    for path in (ROOT / "data").glob("requests*.json"):
        known.update({item["case_id"]: item for item in read(path)})
    return [
        Fact(known[i]["prompt"], known[i]["subject"], known[i]["target_new"], id=str(i))
        for i in ids
    ]


def golden(run: str) -> Golden:
    """Call inside the right precision."""
    kind, name, dtype = run.split("__")
    info = read(ROOT / "arrays" / f"{run}.json")
    directory = model_directory(kind)
    lm = load_model(str(directory), mesh=make_mesh(1))
    lm = lm.with_params(jax.tree.map(lambda x: jnp.asarray(x, dtype), lm.params))
    with np.load(ROOT / "arrays" / f"{run}.npz") as stored:
        arrays = dict(stored)
    editor = editor_of(name, info, directory)
    return Golden(
        arrays, lm, requests(info["requests_used"]), editor, info, TOLERANCES[dtype], dtype
    )


def editor_of(name: str, info: dict[str, Any], directory: Path) -> Any:
    """Our editor with the published run's settings."""
    published, method = info["hparams"], METHODS[name]
    given: dict[str, Any] = {
        "layers": tuple(published["layers"]),
        # The published code encodes " target" by itself; a Llama-2 tokenizer then adds a "▁".
        "legacy_targets": "stripped" if name in STRIPPED else True,
    }
    if method.startswith("ft"):
        return EDITORS[method](
            **given,
            learning_rate=published["lr"],
            steps=published["num_steps"],
            weight_decay=float(published["weight_decay"]),
            norm_constraint=published["norm_constraint"],
            minibatch=published["batch_size"],
        )
    with np.load(directory / "cov.npz") as moments:
        given["statistics"] = {j: moments[f"layer_{j}"].astype(float) for j in given["layers"]}
    given["contexts"] = contexts(name)
    given["values"] = ValueSettings(
        steps=published["v_num_grad_steps"],
        learning_rate=published["v_lr"],
        weight_decay=published["v_weight_decay"],
        clamp_norm_factor=published["clamp_norm_factor"],
        kl_factor=published["kl_factor"],
        relaxed_factor=RELAXED if method == "pmet" else 1.0,
    )
    if "mom2_update_weight" in published:
        given["moment_weight"] = published["mom2_update_weight"]
    if method == "emmet":
        given |= {
            "slack": published["emmet_lambda"],
            "norm_weight": published["update_norm_lambda"],
        }
    if method == "alphaedit":
        given["threshold"] = tuple(info["nullspace_threshold_used_per_layer"])
        given["ridge"] = published["L2"]
    return EDITORS[method](**given)


def precision(run: str) -> Any:
    return jax.enable_x64(True) if run.endswith("float64") else contextlib.nullcontext()


def close(ours: Any, theirs: np.ndarray, tolerance: float, what: str) -> None:
    ours = np.asarray(ours)
    assert ours.shape == theirs.shape, what
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    assert error < tolerance, f"{what}: {error:.2e} against {tolerance:.0e}"


def as_stored(delta: Any, theirs: np.ndarray) -> np.ndarray:
    """Ours [u, v] in the layout of the stored weight (transposed for GPT-2)."""
    delta = np.asarray(delta)
    return delta if delta.shape == theirs.shape else delta.T


def compare_delta(
    g: Golden, edited: Transformer, layer: int, name: str, tolerance: float | None = None
) -> None:
    """W - W_original at a layer against a stored delta."""
    ours = np.asarray(kernel(edited, layer) - kernel(g.lm, layer)).T
    theirs = g.arrays[name]
    close(as_stored(ours, theirs), theirs, tolerance or g.tolerance.delta, name)


def compare_rows(g: Golden, rows: Any, i: int, row: int = 0) -> None:
    """The tokens of optimisation `i` against row `row` of ours."""
    if f"zin_ids_{i}" not in g.arrays:
        return
    mask = g.arrays[f"zin_mask_{i}"].astype(bool)
    assert (rows.mask[row].sum(-1) == mask.sum(-1)).all()
    for ours, theirs, kept in zip(rows.ids[row], g.arrays[f"zin_ids_{i}"], mask, strict=True):
        assert (ours[: kept.sum()] == theirs[kept]).all()
    assert (rows.lookup[row] == g.arrays[f"zin_lookup_{i}"]).all()


def compare_values(g: Golden, found: Values, start: int = 0) -> None:
    """Steps, targets and the path of the optimisation of facts `start`, ..."""
    count = len(found.updates)
    theirs = {
        name: g.arrays[name][start : start + count]
        for name in ("opt_steps", "opt_x", "opt_g", "z", "z_attn", "prob_first_last")
        if name in g.arrays
    }
    assert found.delta.dtype == g.dtype
    assert (np.asarray(found.updates) == theirs["opt_steps"]).all()
    if "z" in theirs:
        close(found.target, theirs["z"], g.tolerance.value, "z")
    if "z_attn" in theirs:
        twin = (found.initial + found.delta)[:, 1]
        close(twin, theirs["z_attn"], g.tolerance.value, "z_attn")
    if "prob_first_last" in theirs:
        ours = np.stack([found.initial_probability, found.probability], axis=1)
        close(ours, theirs["prob_first_last"], g.tolerance.value, "probabilities")
    for name, path in (("opt_x", found.path), ("opt_g", found.gradients)):
        assert path is not None
        ours = np.asarray(path).reshape(*path.shape[:2], -1)[:, : theirs[name].shape[1]]
        if g.dtype == "float32":  # the paths of two float32 runs part; their beginnings do not
            if name == "opt_g":
                close(ours[:, 0], theirs[name][:, 0], g.tolerance.path, "first gradient")
            continue
        assert (np.isnan(ours) == np.isnan(theirs[name])).all(), name
        close(np.nan_to_num(ours), np.nan_to_num(theirs[name]), g.tolerance.path, name)


def compare_logits(g: Golden, lm: Transformer, name: str, tolerance: float | None = None) -> None:
    if name not in g.arrays:
        return
    prompts = [lm.tokenizer.encode(p) for p in read(ROOT / "data" / "probe_prompts.json")]
    theirs = g.arrays[name]
    ids, mask = pad_batch(prompts, side="right", length=theirs.shape[1], pad_id=lm.tokenizer.pad_id)
    run = jax.jit(lambda params: forward(lm.config, params, ids, mask).logits)
    ours = np.asarray(run(replicate(lm.params, lm.mesh)))
    real = np.asarray(mask, bool)
    close(ours[real], theirs[real], tolerance or g.tolerance.logits, name)
