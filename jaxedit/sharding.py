"""One mesh, one way to run a function over rows: parameters everywhere, rows split.

Every forward pass, value optimisation and score goes through `data_parallel`, on one
device as on eight, so that nothing has a second code path that only clusters take.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxedit.errors import UserError

DATA = "data"
Tree = Any


@dataclass(frozen=True)
class Mesh:
    """The devices of a run, all of them along the data axis.

    Attributes:
      devices: the devices in the order of their rows.
    """

    devices: tuple[Any, ...]

    @property
    def data(self) -> int:
        """Number of devices that rows are split over."""
        return len(self.devices)

    @property
    def replicated(self) -> NamedSharding:
        """A whole copy on every device."""
        grid = jax.sharding.Mesh(np.asarray(self.devices), (DATA,))
        return NamedSharding(grid, PartitionSpec())


def make_mesh(data: int | None = None) -> Mesh:
    """The first `data` local devices, or all of them.

    Raises:
      UserError: there are fewer devices than asked for.
    """
    devices = tuple(jax.local_devices())
    data = len(devices) if data is None else data
    if not 1 <= data <= len(devices):
        raise UserError(
            f"mesh.data={data}, but this process has {len(devices)} device(s); "
            f"choose 1 to {len(devices)}"
        )
    return Mesh(devices[:data])


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """Puts a whole copy of every leaf on every device, once."""
    return jax.device_put(tree, mesh.replicated)


def data_parallel(
    fn: Callable[..., Tree], mesh: Mesh, *, chunk: int | None = None, **static: Any
) -> Callable[..., Tree]:
    """`fn(params, batch, **static)` with the rows of `batch` split over the devices.

    Args:
      fn: a module-level function; what it returns has one row a row of the batch.
      mesh: where to run.
      chunk: rows a device and call, to bound memory; all at once if None. A smaller last
        call is filled up to 4, 16, or a larger power of two, so that few shapes are ever compiled.
      **static: hashable settings; each combination compiles once and is kept.

    Returns:
      A function of (params, batch). Every leaf of the batch has the same number of rows;
      rows are repeated to fill up the devices and the surplus is cut again.
      `params` should already be replicated, or each call sends them anew.
    """
    compiled = _compiled(fn, mesh, tuple(sorted(static.items())))

    def call(params: Tree, batch: Tree) -> Tree:
        rows = jax.tree.leaves(batch)[0].shape[0]
        step = rows if chunk is None else chunk * mesh.data
        parts = []
        for start in range(0, rows, step):
            count = min(step, rows - start)
            size = count if chunk is None else min(step, _filled(count))
            size += -size % mesh.data
            part = jax.tree.map(lambda x, s=start, c=count, n=size: _fill(x[s : s + c], n), batch)
            out = compiled(params, jax.tree.map(lambda x: _split(x, mesh.data), part))
            parts.append(jax.tree.map(lambda x, c=count: _merge(x, mesh.data, c), out))
        return parts[0] if len(parts) == 1 else jax.tree.map(_concatenate, *parts)

    return call


def data_parallel_sum(fn: Callable[..., Tree], mesh: Mesh, **static: Any) -> Callable[..., Tree]:
    """As `data_parallel`, for a `fn` that returns sums over its rows; they are added up.

    Rows that fill up the last device are zeros, so `fn` must give them no weight
    (a mask of zeros does).
    """
    compiled = _compiled(fn, mesh, tuple(sorted(static.items())))

    def call(params: Tree, batch: Tree) -> Tree:
        split = jax.tree.map(
            lambda x: _split(_fill(x, len(x) + -len(x) % mesh.data, zeros=True), mesh.data), batch
        )
        sums = compiled(params, split)
        return sums if mesh.data == 1 else jax.tree.map(lambda x: x.sum(axis=0), sums)

    return call


@functools.cache
def _compiled(fn: Callable, mesh: Mesh, static: tuple[tuple[str, Any], ...]) -> Callable:
    bound = functools.partial(fn, **dict(static))
    if mesh.data == 1:  # the same rows without a leading axis of one
        return jax.jit(bound)
    return jax.pmap(bound, axis_name=DATA, in_axes=(None, 0), devices=mesh.devices)


def _fill(x: Any, size: int, *, zeros: bool = False) -> Any:
    """Fills up to `size` rows, with the last row repeated or with zeros."""
    surplus = size - x.shape[0]
    if not surplus:
        return x
    # On the host: a batch that is cut differently must not compile a new program.
    x = np.asarray(x)
    fill = np.zeros_like(x[-1:]) if zeros else x[-1:]
    return np.concatenate([x, np.repeat(fill, surplus, axis=0)])


def _split(x: Any, devices: int) -> Any:
    """[B, ...] -> [devices, B / devices, ...]; as it is for one device."""
    if devices == 1:
        return x
    return x.reshape((devices, x.shape[0] // devices, *x.shape[1:]))


def _merge(x: jax.Array, devices: int, rows: int) -> Any:
    """[devices, B', ...] -> [rows, ...]; surplus rows are cut on the host."""
    if devices > 1:
        x = x.reshape((x.shape[0] * x.shape[1], *x.shape[2:]))
    return x if x.shape[0] == rows else np.asarray(x)[:rows]


def _filled(n: int) -> int:
    """The smallest of 1, 4, 16, 32, 64, ... from n on."""
    bits = (n - 1).bit_length()
    return 1 << (bits if bits > 4 else 2 * -(-bits // 2))


def _concatenate(*parts: Any) -> Any:
    """On the host if any part was cut there."""
    on_host = any(isinstance(part, np.ndarray) for part in parts)
    return (np if on_host else jax.numpy).concatenate(parts)
