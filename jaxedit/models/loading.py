"""Models in Hugging Face directories: config.json, *.safetensors and tokenizer.json.

Weights are memory-mapped and read one tensor at a time. Pickled weights are never read.
"""

import dataclasses
import functools
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from safetensors.numpy import save_file

from jaxedit.errors import UserError
from jaxedit.models import families
from jaxedit.models.config import ModelConfig
from jaxedit.models.families import Weight
from jaxedit.models.forward import param_shapes
from jaxedit.models.placement import Axes, axes
from jaxedit.models.sites import ADAPTERS
from jaxedit.models.stored import SINGLE, Stored, open_stored
from jaxedit.models.text import Tokenizer, read_json
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import Mesh, fetch, make_mesh, put

EMBEDDED = "embedded:"
DTYPES = ("float32", "bfloat16", "float16", "float64", "auto")
_EMBEDDED_DIR = Path(__file__).parent.parent / "data" / "factworld" / "models"
_HUB_FILES = ("*.json", "model*.safetensors")


def load_model(
    path_or_hub_id: str | Path, dtype: str = "float32", mesh: Mesh | None = None
) -> Transformer:
    """A model from a directory, the Hugging Face hub, or the package (``embedded:gptj``).

    Args:
      path_or_hub_id: what is not a local directory is looked up on the hub.
      dtype: float32, bfloat16, float16, float64 (inside ``jax.enable_x64(True)``), or auto: as
        stored, each tensor its own.
      mesh: devices to place the parameters on; by default all.

    Raises:
      UserError: something is missing, broken, unsupported or does not fit together.
    """
    _check_dtype(dtype)
    directory = resolve(str(path_or_hub_id))
    mesh = make_mesh() if mesh is None else mesh
    config = load_config(directory)
    tokenizer = None
    if (directory / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_dir(directory)
        if tokenizer.vocab_size > config.vocab_size:
            raise UserError(
                f"{directory / 'tokenizer.json'} has {tokenizer.vocab_size} tokens but the model "
                f"knows {config.vocab_size}; use the tokenizer that the model was trained with"
            )
    params = load_params(directory, config, dtype, mesh)
    return Transformer(config, params, tokenizer, mesh, str(path_or_hub_id))


def resolve(name: str) -> Path:
    """The local directory of a model's name, downloaded if need be; UserError if there is none."""
    if name.startswith(EMBEDDED):
        directory = _EMBEDDED_DIR / name.removeprefix(EMBEDDED)
        if not directory.is_dir():
            there = sorted(p.name for p in _EMBEDDED_DIR.glob("*") if p.is_dir())
            known = ", ".join(EMBEDDED + x for x in there) or "none in this installation"
            raise UserError(f"there is no model {name!r}; the embedded ones are: {known}")
        return directory
    directory = Path(name).expanduser()
    if directory.is_dir():
        return directory
    if directory.exists():
        raise UserError(f"{name} is a file; give the directory that holds config.json")
    if not re.fullmatch(r"[\w][\w.-]*(/[\w][\w.-]*)?", name):
        raise UserError(f"the model directory {name} does not exist; give one, or a hub id")
    return _download(name)


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(_HUB_FILES)))
    except Exception as error:  # offline, unknown, gated: each has its own class and a long text
        reason = (str(error).strip() or repr(error)).splitlines()[0].split(". ")[0]
        raise UserError(
            f"{hub_id} is no local directory, and the hub could not give it ({reason}); "
            "give a directory that holds config.json and *.safetensors, or check the network"
        ) from error


def load_config(directory: Path) -> ModelConfig:
    """ModelConfig of a directory; its ends of text are those of all its configs together."""
    path = directory / "config.json"
    try:
        config = families.read_config(read_json(path))
    except families.Unsupported as error:
        raise UserError(f"{path}: {error}; this model cannot be run") from error
    except KeyError as error:
        raise UserError(f"{path} has no {error}; fetch the model's config again") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} makes no sense: {error}") from error
    generation = directory / "generation_config.json"
    if not generation.is_file():
        return config
    more = read_json(generation).get("eos_token_id")
    more = [] if more is None else more if isinstance(more, list) else [more]
    return dataclasses.replace(config, eos_ids=tuple(dict.fromkeys((*config.eos_ids, *more))))


def load_params(directory: Path, config: ModelConfig, dtype: str, mesh: Mesh) -> dict[str, Any]:
    """The parameters, placed on the mesh.

    Of each tensor only the slices pass through the host that its devices hold; they are turned
    and converted there.

    Raises UserError if a tensor is missing or has another shape than the config gives it.
    """
    params: dict[str, Any] = {}
    with open_stored(directory) as stored:
        for weight, source, shape in _plan(config, stored):  # all checked before any is read
            node = params
            for key in weight.path[:-1]:
                node = node.setdefault(key, {})
            split = axes(config, weight.path, mesh)
            node[weight.path[-1]] = _leaf_of(stored, weight, source, shape, split, dtype, mesh)
    return params


def _leaf_of(
    stored: Stored,
    weight: Weight,
    source: str | None,
    shape: tuple[int, ...],
    split: Axes,
    dtype: str,
    mesh: Mesh,
) -> jax.Array:
    """One leaf, from the slices of its stored tensor; zeros if that is None."""
    split = (*split, *(None,) * (len(shape) - len(split)))
    if source is None:
        kind = "float32" if dtype == "auto" else dtype
        return put(np.zeros(shape, jnp.dtype(kind)), mesh, *split)
    theirs = shape[::-1] if weight.transpose else shape
    there = mesh.sharding(*(split[::-1] if weight.transpose else split))
    slices: dict[tuple, np.ndarray] = {}  # devices with the same one share it

    def read(index: tuple[slice, ...] | None) -> np.ndarray:
        assert index is not None
        key = tuple((s.start, s.stop) for s in index)
        if key not in slices:
            slices[key] = stored.read(source, index, weight.part)
        return slices[key]

    value = jax.make_array_from_callback(theirs, there, read)
    wanted = value.dtype if dtype == "auto" else jnp.dtype(dtype)
    if not weight.transpose and wanted == value.dtype:
        return value
    return _turned(mesh.sharding(*split), str(wanted), weight.transpose)(value)


@functools.cache
def _turned(there: NamedSharding, dtype: str, transpose: bool) -> Callable[[jax.Array], jax.Array]:
    """On the devices: conversion to a dtype, and where asked for the transpose."""

    def turn(x: jax.Array) -> jax.Array:
        return (x.T if transpose else x).astype(dtype)

    return jax.jit(turn, out_shardings=there)


def _plan(config: ModelConfig, stored: Stored) -> list[tuple[Weight, str | None, tuple[int, ...]]]:
    """Every leaf, the name it is stored under (None: zeros), and the leaf's shape."""
    prefix = families.FAMILIES[config.hf_type].prefix
    shapes = param_shapes(config)
    plan = []
    for weight in families.weights(config):
        names = (weight.name, weight.name.removeprefix(prefix))
        source = next((name for name in names if name in stored), None)
        leaf = _leaf(shapes, weight.path)
        if source is not None:
            asked = _stored_shape(weight, leaf.shape)
            if stored.shape(source) != asked:
                raise UserError(
                    f"{stored.files[source]}: tensor {source} has shape "
                    f"{list(stored.shape(source))} where config.json asks for {list(asked)}; "
                    "use the config of these weights"
                )
        plan.append((weight, source, leaf.shape))
    some_optional = any(source for weight, source, _ in plan if weight.optional)
    for weight, source, _ in plan:
        if source is None and (some_optional or not weight.optional):
            raise UserError(
                f"{stored.directory} holds no tensor {weight.name}, which its config.json asks "
                "for; fetch the model again, or use the config of these weights"
            )
    return plan


def _stored_shape(weight: Weight, shape: tuple[int, ...]) -> tuple[int, ...]:
    shape = shape[::-1] if weight.transpose else shape
    return shape if weight.part is None else (*shape[:-1], shape[-1] * weight.part[1])


def _leaf(tree: Any, path: families.Path) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _check_dtype(dtype: str) -> None:
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is none of {', '.join(DTYPES)}")
    if dtype == "float64" and jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise UserError("dtype float64 is there only inside `with jax.enable_x64(True):`")


def save_hf(lm: Transformer, directory: str | Path) -> None:
    """Write config.json, model.safetensors and the tokenizer's files; a reader sees all or none.

    Raises UserError if adapters travel with the parameters.

    Every tensor keeps its dtype, so float32 leaves among bfloat16 ones stay float32
    (``load_model(directory, dtype="auto")`` reads them back as they are).
    """
    if ADAPTERS in lm.params:
        names = ", ".join(lm.params[ADAPTERS])
        raise UserError(
            f"{lm.name}: an edit that stands beside the weights, in {names}, has no place in a "
            "Hugging Face directory; keep it with save()"
        )
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    raw = families.write_config(lm.config)
    raw["dtype"] = str(lm.params["embed"]["tokens"].dtype)
    tensors = {name: np.ascontiguousarray(x) for name, x in stored_tensors(lm.config, lm.params)}
    temporary = directory / f"{SINGLE}.part"
    save_file(tensors, temporary, metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
    if lm.text is not None:
        lm.text.save(directory)
    os.replace(temporary, directory / SINGLE)


def stored_tensors(
    config: ModelConfig, params: Mapping[str, Any]
) -> Iterator[tuple[str, np.ndarray]]:
    """(stored name, host array in the stored layout) of every tensor, parts joined."""
    groups: dict[str, list[Weight]] = {}
    for weight in families.weights(config):
        groups.setdefault(weight.name, []).append(weight)
    for name, group in groups.items():
        parts = []
        for weight in group:
            value = fetch(_leaf(params, weight.path))
            parts.append(value.T if weight.transpose else value)
        yield name, parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
