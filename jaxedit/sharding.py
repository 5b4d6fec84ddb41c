"""One mesh, one way to run a function over rows: rows split, parameters placed by rules.

Every forward pass, value optimisation and score goes through `data_parallel`, on one
device as on eight, on one host as on many, so that nothing has a second code path that only
clusters take.

The mesh has two axes. Rows are split over ``data``. Parameters stand whole on each device where
``model`` is 1; else the devices of a model axis hold slices of them (`placed`), and the compiler
adds the collectives. With one process and a model axis of 1 the rows go through `jax.pmap`, else
through `jax.jit` of a `shard_map` that is manual over data and automatic over model. The layout
of a batch is the same.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from jaxedit.compilation import naming
from jaxedit.errors import UserError

DATA, MODEL = "data", "model"
Tree = Any


@dataclass(frozen=True)
class Mesh:
    """The devices of a run, those of all its processes.

    Attributes:
      devices: in the order of their rows; the ``model`` devices that share one copy of the
        parameters are neighbours.
      model: how many these are.
    """

    devices: tuple[Any, ...]
    model: int = 1

    @property
    def data(self) -> int:
        """Number of shares that rows are split into."""
        return len(self.devices) // self.model

    @property
    def hosts(self) -> bool:
        """Whether other processes have some of the devices."""
        return any(device.process_index != jax.process_index() for device in self.devices)

    @property
    def local(self) -> "Mesh":
        """The devices of this process alone, all of them along the data axis."""
        own = [d for d in self.devices if d.process_index == jax.process_index()]
        return Mesh(tuple(own))

    @property
    def grid(self) -> jax.sharding.Mesh:
        """The devices by both axes."""
        return jax.sharding.Mesh(
            np.asarray(self.devices).reshape(self.data, self.model), (DATA, MODEL)
        )

    def told(self) -> str:
        """For people: how many devices, of which kind."""
        shape = f"{self.data}" if self.model == 1 else f"{self.data} x {self.model}"
        return f"{shape} x {self.devices[0].device_kind}"

    def sharding(self, *axes: str | None) -> NamedSharding:
        """Dimensions of an array split over axes of the mesh; whole copies if none is named."""
        return NamedSharding(self.grid, PartitionSpec(*axes))


def make_mesh(data: int | None = None, model: int = 1) -> Mesh:
    """The first `data` x `model` devices of the run, or as many as there are.

    Raises:
      UserError: there are fewer devices than asked for, or they do not go round.
    """
    devices = tuple(jax.devices())
    if not 1 <= model <= len(devices) or (data is None and len(devices) % model):
        raise UserError(
            f"mesh.model={model}, but the run has {len(devices)} device(s); choose a divisor"
        )
    data = len(devices) // model if data is None else data
    if not 1 <= data * model <= len(devices):
        raise UserError(
            f"mesh.data={data} times mesh.model={model} devices are asked for, but the run has "
            f"{len(devices)}; choose fewer"
        )
    chosen = devices[: data * model]
    if {device.process_index for device in chosen} != set(range(jax.process_count())):
        raise UserError(
            f"mesh.data={data} leaves some of the {jax.process_count()} processes without a "
            "device; start fewer, or leave mesh.data out"
        )
    return Mesh(chosen, model)


def put(tree: Tree, mesh: Mesh, *axes: str | None) -> Tree:
    """Puts every leaf on the mesh, split over these axes; whole copies if none is named.

    On several hosts each puts its own part of an array that all of them hold.
    """
    sharding = mesh.sharding(*axes)

    def own(x: Any) -> jax.Array:
        if not mesh.hosts or (isinstance(x, jax.Array) and not x.is_fully_addressable):
            return jax.device_put(x, sharding)
        host = np.asarray(x)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(own, tree)


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """Puts a whole copy of every leaf on every device, once."""
    return put(tree, mesh)


def fetch(tree: Tree) -> Tree:
    """Every leaf as a NumPy array, whole on every process, wherever its parts are."""

    def whole(x: Any) -> np.ndarray:
        if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
            return np.asarray(multihost_utils.process_allgather(x, tiled=True))
        return np.asarray(x)

    return jax.tree.map(whole, tree)


@contextmanager
def solving(place: str) -> Iterator[None]:
    """What is not on the mesh, such as the float64 sums of an editor, is kept and computed there.

    Args:
      place: "device", the first one, or "host", by its CPU.
    """
    if place == "device":
        yield
        return
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield


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
      `params` should already be on the mesh, or each call sends them anew.
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
            out = compiled(params, _split(part, mesh))
            parts.append(jax.tree.map(lambda x, c=count: _merge(x, mesh, c), out))
        return parts[0] if len(parts) == 1 else jax.tree.map(_concatenate, *parts)

    return call


def data_parallel_sum(fn: Callable[..., Tree], mesh: Mesh, **static: Any) -> Callable[..., Tree]:
    """As `data_parallel`, for a `fn` that returns sums over its rows; they are added up.

    Rows that fill up the last device are zeros, so `fn` must give them no weight
    (a mask of zeros does).
    """
    compiled = _compiled(fn, mesh, tuple(sorted(static.items())), sums=True)

    def call(params: Tree, batch: Tree) -> Tree:
        full = jax.tree.map(lambda x: _fill(x, len(x) + -len(x) % mesh.data, zeros=True), batch)
        sums = compiled(params, _split(full, mesh))
        return jax.tree.map(lambda x: x.sum(axis=0), sums) if _mapped(mesh) else sums

    return call


def _mapped(mesh: Mesh) -> bool:
    """Whether pmap runs it: the rows of several devices of one process."""
    return mesh.data > 1 and mesh.model == 1 and not mesh.hosts


@functools.cache
def _compiled(
    fn: Callable, mesh: Mesh, static: tuple[tuple[str, Any], ...], sums: bool = False
) -> Callable:
    settings = dict(static)

    def bound(params: Tree, batch: Tree) -> Tree:
        naming(fn, batch)
        return fn(params, batch, **settings)

    bound.__name__ = fn.__name__
    if len(mesh.devices) == 1 and not mesh.hosts:  # the same rows without a leading axis of one
        return jax.jit(bound)
    if _mapped(mesh):
        return jax.pmap(bound, axis_name=DATA, in_axes=(None, 0), devices=mesh.devices)

    def summed(params: Tree, batch: Tree) -> Tree:
        total = bound(params, batch)
        # Over an axis of one there is nothing to add up, and a compiler that fails over it.
        return total if mesh.data == 1 else jax.lax.psum(total, DATA)

    rows, whole = PartitionSpec(DATA), PartitionSpec()
    spread = jax.shard_map(
        summed if sums else bound,
        mesh=mesh.grid,
        in_specs=(whole, rows),
        out_specs=whole if sums else rows,
        axis_names={DATA},
        check_vma=False,  # loops of the functions start from constants
    )
    return jax.jit(spread)


def _fill(x: Any, size: int, *, zeros: bool = False) -> Any:
    """Fills up to `size` rows, with the last row repeated or with zeros."""
    surplus = size - x.shape[0]
    if not surplus:
        return x
    # On the host: a batch that is cut differently must not compile a new program.
    x = np.asarray(x)
    fill = np.zeros_like(x[-1:]) if zeros else x[-1:]
    return np.concatenate([x, np.repeat(fill, surplus, axis=0)])


def _split(batch: Tree, mesh: Mesh) -> Tree:
    """The rows as the compiled function takes them: [devices, B / devices, ...] for pmap."""
    if _mapped(mesh):
        return jax.tree.map(lambda x: x.reshape((mesh.data, -1, *x.shape[1:])), batch)
    return batch if len(mesh.devices) == 1 and not mesh.hosts else put(batch, mesh, DATA)


def _merge(x: jax.Array, mesh: Mesh, rows: int) -> Any:
    """Rows as they were before `_split`; surplus ones are cut on the host."""
    if _mapped(mesh):
        x = x.reshape((x.shape[0] * x.shape[1], *x.shape[2:]))
    if mesh.hosts:
        return fetch(x)[:rows]
    return x if x.shape[0] == rows else np.asarray(x)[:rows]


def _filled(n: int) -> int:
    """The smallest of 1, 4, 16, 32, 64, ... from n on."""
    bits = (n - 1).bit_length()
    return 1 << (bits if bits > 4 else 2 * -(-bits // 2))


def _concatenate(*parts: Any) -> Any:
    """On the host if any part was cut there."""
    on_host = any(isinstance(part, np.ndarray) for part in parts)
    return (np if on_host else jax.numpy).concatenate(parts)
