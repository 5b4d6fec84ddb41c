"""Parameters on the devices: each leaf whole, or split by the rule of its name."""

from collections.abc import Mapping
from typing import Any

import jax

from jaxedit.models.config import ModelConfig
from jaxedit.models.families import Path, split_axis
from jaxedit.models.forward import param_shapes
from jaxedit.models.sites import ADAPTERS
from jaxedit.sharding import MODEL, Mesh, put

Axes = tuple[str | None, ...]


def axes(config: ModelConfig, path: Path, mesh: Mesh) -> Axes:
    """The mesh's axis that each dimension of a leaf is split over (``families.SPLIT``)."""
    axis = split_axis(config, path, mesh.model)
    return () if axis is None else (*(None,) * axis, MODEL)


def put_leaf(value: Any, config: ModelConfig, path: Path, mesh: Mesh) -> jax.Array:
    """A leaf on the mesh."""
    return put(value, mesh, *axes(config, path, mesh))


def put_params(params: Mapping[str, Any], config: ModelConfig, mesh: Mesh) -> dict[str, Any]:
    """All parameters on the mesh; adapters among them stand whole on every device."""

    def placed(node: Any, path: Path) -> Any:
        if path == (ADAPTERS,):
            return put(node, mesh)
        if isinstance(node, Mapping):
            return {key: placed(inner, (*path, key)) for key, inner in node.items()}
        return put_leaf(node, config, path, mesh)

    return placed(params, ())


def placed_shapes(config: ModelConfig, mesh: Mesh, dtype: Any) -> dict[str, Any]:
    """Shapes, dtypes and places of a model's parameters; nothing is allocated."""

    def placed(node: Any, path: Path) -> Any:
        if isinstance(node, Mapping):
            return {key: placed(inner, (*path, key)) for key, inner in node.items()}
        where = mesh.sharding(*axes(config, path, mesh))
        return jax.ShapeDtypeStruct(node.shape, node.dtype, sharding=where)

    return placed(param_shapes(config, dtype), ())


def bytes_per_device(config: ModelConfig, model: int, dtype: Any) -> int:
    """What one of the ``model`` devices that share a copy of the parameters holds of them."""

    def held(node: Any, path: Path) -> int:
        if isinstance(node, Mapping):
            return sum(held(inner, (*path, key)) for key, inner in node.items())
        share = 1 if split_axis(config, path, model) is None else model
        return node.size // share * node.dtype.itemsize

    return held(param_shapes(config, dtype), ())
