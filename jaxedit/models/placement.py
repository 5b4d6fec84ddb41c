"""Parameters on the devices: each leaf whole, or split by the rule of its name."""

from collections.abc import Mapping
from typing import Any

import jax

from jaxedit.models.config import ModelConfig
from jaxedit.models.families import Path, split_axis
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
