"""Where an edit is written: named leaves of the parameters, mostly down-projection kernels.

The literature writes W in R^{u x v} (u = d_model, v = d_ff) and Delta likewise; a Flax kernel
is W^T. An edited leaf is float32 or wider, whatever the other parameters are: a small delta
added to a bfloat16 weight is mostly rounded away.

A leaf's name is its block and its place in it: "layers_3/mlp.down" is the kernel of a linear,
"layers_3/mlp.down.bias" its bias.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.errors import UserError
from jaxedit.models.families import FAMILIES
from jaxedit.models.placement import put_leaf
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import replicate

DOWN = "mlp.down"
BLOCK = "block"  # a module of this name is everything in the block


class EditedLeaves(NamedTuple):
    """The state of a method that writes into the parameters and remembers nothing else.

    Attributes:
      leaves: the edited leaves by name, float32 or wider.
      edits: facts edited so far.
    """

    leaves: dict[str, Any]
    edits: int


def leaf_names(
    lm: Transformer,
    layers: Iterable[int],
    modules: Iterable[str] = (DOWN,),
    *,
    biases: bool = False,
) -> tuple[str, ...]:
    """Names of the kernels of some linears, or of everything in a block.

    Args:
      lm: the model.
      layers: which blocks.
      modules: linears such as "mlp.down", or "block".
      biases: the linears' biases, too, where there are any.

    Raises:
      UserError: the model has no such linear.
    """
    found = []
    for layer in layers:
        for module in modules:
            if module == BLOCK:
                block, _ = jax.tree_util.tree_flatten_with_path(lm.params[f"layers_{layer}"])
                found += [_name(layer, [step.key for step in path]) for path, _ in block]
                continue
            linears = FAMILIES[lm.config.hf_type].linears
            if module not in linears:
                raise UserError(f"{lm.name} has no linear {module!r}; it has {', '.join(linears)}")
            found.append(f"layers_{layer}/{module}")
            if biases and "bias" in _node(lm.params, f"layers_{layer}/{module}"):
                found.append(f"layers_{layer}/{module}.bias")
    return tuple(found)


def _name(layer: int, path: list[str]) -> str:
    return f"layers_{layer}/{'.'.join(path).removesuffix('.kernel')}"


def _node(params: Any, name: str) -> Any:
    """What stands at a name: a leaf, or the dictionary of a linear."""
    block, _, inside = name.partition("/")
    node = params[block]
    for part in inside.split("."):
        node = node[part]
    return node


def leaf(lm: Transformer, name: str) -> jax.Array:
    """The leaf of that name."""
    node = _node(lm.params, name)
    return node["kernel"] if isinstance(node, Mapping) else node


def leaves(lm: Transformer, names: Iterable[str]) -> dict[str, jax.Array]:
    """The leaves of these names, in float32 or wider."""
    return {name: _wide(leaf(lm, name)) for name in names}


def with_leaves(lm: Transformer, new: Mapping[str, Any]) -> Transformer:
    """`lm` with other leaves; the given model is not changed."""
    placed = {
        name: put_leaf(value, lm.config, _path(lm.params, name), lm.mesh)
        for name, value in new.items()
    }
    return lm.with_params(insert(lm.params, placed))


def insert(params: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with other leaves, by name; nothing is copied."""
    tree = dict(params)
    for name, value in new.items():
        block, *inside = _path(params, name)
        tree[block] = _with(tree[block], inside, value)
    return tree


def _path(params: Any, name: str) -> tuple[str, ...]:
    """The keys to the leaf of that name."""
    block, _, inside = name.partition("/")
    end = ("kernel",) if isinstance(_node(params, name), Mapping) else ()
    return (block, *inside.split("."), *end)


def _with(tree: Mapping[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """A copy of nested dictionaries with another leaf."""
    inner = value if len(path) == 1 else _with(tree[path[0]], path[1:], value)
    return {**tree, path[0]: inner}


class WritesLeaves:
    """What editors share whose state is the leaves that they have written."""

    def bind(self, lm: Transformer, state: Any) -> Transformer:
        """The model with the edited leaves."""
        return with_leaves(lm, state.leaves)

    def snapshot(self, state: Any) -> Any:
        """The edited leaves, by block."""
        tree: dict[str, dict[str, Any]] = {}
        for name, value in state.leaves.items():
            block, _, inside = name.partition("/")
            tree.setdefault(block, {})[inside] = value
        return {"leaves": tree, "edits": np.int64(state.edits)}

    def restore(self, lm: Transformer, tree: Any) -> Any:
        """The leaves as they were kept."""
        kept = tree["leaves"]
        found = {f"{block}/{name}": leaf for block in kept for name, leaf in kept[block].items()}
        return EditedLeaves(found, int(tree["edits"]))


def kernel(lm: Transformer, layer: int) -> jax.Array:
    """The down-projection of block `layer`, [d_ff, d_model]."""
    return leaf(lm, f"layers_{layer}/{DOWN}")


def add_delta(lm: Transformer, layer: int, delta: jax.Array, scale: float = 1.0) -> Transformer:
    """W + scale * Delta at the down-projection of `layer`, rounded once to float32 (or wider).

    Args:
      lm: the model.
      layer: which block.
      delta: [u, v] float64.
      scale: factor of delta.
    """
    old = kernel(lm, layer)
    wide = jnp.promote_types(old.dtype, jnp.float32)
    with jax.enable_x64(True):
        change = _scaled(delta, jnp.asarray(scale, delta.dtype), dtype=jnp.dtype(wide).name)
    return with_leaves(lm, {f"layers_{layer}/{DOWN}": _sum(old, replicate(change, lm.mesh))})


@jax.jit(static_argnames="dtype")
def _scaled(delta: jax.Array, scale: jax.Array, *, dtype: str) -> jax.Array:
    return (delta * scale).astype(dtype).T


@jax.jit
def _sum(old: jax.Array, change: jax.Array) -> jax.Array:
    return old.astype(change.dtype) + change


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def check_layers(lm: Transformer, layers: tuple[int, ...]) -> None:
    """Refuses layers that the model does not have, or that do not ascend.

    Raises:
      UserError: naming the layer and the model's range.
    """
    for layer in layers:
        if not 0 <= layer < lm.config.n_layers:
            raise UserError(
                f"editor layer {layer} does not exist: {lm.name} has layers 0 to "
                f"{lm.config.n_layers - 1}; set layers to some of these"
            )
    if not layers or list(layers) != sorted(set(layers)):
        raise UserError(f"editor layers {list(layers)} must be ascending and not empty")
