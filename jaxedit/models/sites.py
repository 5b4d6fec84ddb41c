"""Named places inside a layer: read them, add to them, set them, or adapt them.

A *site* is ``block.in``, ``block.out``, or a linear's input and output: ``attn.q.in``,
``attn.q.out``, ... for ``attn.{q,k,v,o}`` and ``mlp.{up,gate,down}``. ``mlp.down.in`` is the
key of a locate-then-edit method; ``mlp.down.out`` is the output of the MLP, ``attn.o.out``
that of attention. ``mlp.gate`` is there in gated MLPs (Llama's) only.

At one site the order is: sets, adds, taps. So a tap shows what goes on through the model.

An *adapter* stands behind one linear and may give another output. One that is a pytree can travel
with the parameters, in ``params["adapters"]`` under its linear's name ("layers_3/mlp.down"): then
every call of the model, scoring and generation among them, goes through it. What it gives besides
its output is its memory: where tokens are cached, it comes back with them (see ``Cache``), so that
a choice made at the prompt holds for the whole answer.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

GATED = ("attn.q", "attn.k", "attn.v", "attn.o", "mlp.up", "mlp.gate", "mlp.down")
PLAIN = tuple(linear for linear in GATED if linear != "mlp.gate")
ADAPTERS = "adapters"  # where they are among the parameters
STATIC = {"static": True}  # part of the tree's structure: no tracer, compiled into the program


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Tap:
    """Ask for what passes a site.

    ``positions`` [B, P] are indices along the T axis of the call (None: all of them; an index
    below 0 gives zeros and a False mask). ``reduce(x, mask)`` with x [B, P|T, F] and mask
    [B, P|T] (True where the token is real) may sum up on the spot; without it x is the result.
    """

    layer: int = dataclasses.field(metadata=STATIC)
    site: str = dataclasses.field(metadata=STATIC)
    positions: jax.Array | None = None
    reduce: Callable[[jax.Array, jax.Array], Any] | None = dataclasses.field(
        default=None, metadata=STATIC
    )

    def read(self, x: jax.Array, mask: jax.Array) -> Any:
        """The tap's result for x [B, T, F], mask [B, T]."""
        if self.positions is not None:
            at = jnp.maximum(self.positions, 0)
            x = jnp.take_along_axis(x, at[..., None], axis=1)  # [B, P, F]
            mask = jnp.take_along_axis(mask, at, axis=1) & (self.positions >= 0)
            x = jnp.where(mask[..., None], x, jnp.zeros((), x.dtype))
        return x if self.reduce is None else self.reduce(x, mask)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Add:
    """Add ``value`` at ``positions`` of a site; differentiable in ``value``.

    positions [B] with value [B, F], or [B, P] with [B, P, F]: indices along T, below 0: nothing.
    Or positions [B, T] bool with value [B, T, F] (or what broadcasts to it): where they are True.
    The sum is taken in the wider dtype and rounded to the site's.
    """

    layer: int = dataclasses.field(metadata=STATIC)
    site: str = dataclasses.field(metadata=STATIC)
    positions: jax.Array
    value: jax.Array

    def apply(self, x: jax.Array) -> jax.Array:
        """x [B, T, F] with the change made."""
        for here, value in _spread(self.positions, self.value, x):
            x = (x + jnp.where(here, value, jnp.zeros((), value.dtype))).astype(x.dtype)
        return x


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Set:
    """Put ``value`` in place of what passes a site; shapes as in :class:`Add`."""

    layer: int = dataclasses.field(metadata=STATIC)
    site: str = dataclasses.field(metadata=STATIC)
    positions: jax.Array
    value: jax.Array

    def apply(self, x: jax.Array) -> jax.Array:
        """x [B, T, F] with the change made."""
        for here, value in _spread(self.positions, self.value, x):
            x = jnp.where(here, value.astype(x.dtype), x)
        return x


def _spread(positions: jax.Array, value: jax.Array, x: jax.Array):
    """Pairs (where [B, T, 1], value [B, 1|T, F]): one a column of indices, or one in all."""
    if positions.dtype == bool:
        yield positions[..., None], value
        return
    if positions.ndim == 1:
        positions, value = positions[:, None], value[:, None]
    steps = jnp.arange(x.shape[1], dtype=positions.dtype)
    for p in range(positions.shape[1]):
        yield (steps == positions[:, p, None])[..., None], value[:, p, None]


class Context(NamedTuple):
    """What an adapter may want to know besides its linear's input and output."""

    layer: int
    mask: jax.Array  # [B, T] True where the token is real
    positions: jax.Array  # [B, T] int32, -1 at pads
    prompt: jax.Array  # [B, T] True for tokens that were given, not answered
    memory: Any = None  # what this adapter gave for the cached tokens; None if there are none


Adapter = Callable[[jax.Array, jax.Array, Context], tuple[jax.Array, Any]]
Adapters = Mapping[tuple[int, str], Adapter]


def carried(params: Mapping[str, Any]) -> dict[tuple[int, str], Adapter]:
    """The adapters that travel with parameters, by layer and linear."""
    found = {}
    for name, adapter in params.get(ADAPTERS, {}).items():
        block, _, linear = name.partition("/")
        found[int(block.removeprefix("layers_")), linear] = adapter
    return found


@dataclasses.dataclass(frozen=True)
class Interventions:
    """All that one forward call reads and changes, checked once."""

    taps: tuple[Tap, ...] = ()
    adds: tuple[Add, ...] = ()
    sets: tuple[Set, ...] = ()
    adapters: Adapters = dataclasses.field(default_factory=dict)

    def check(self, layers: range, linears: tuple[str, ...]) -> None:
        """Raises ValueError for a site that does not exist or a layer that does not run."""
        sites = ("block.in", "block.out", *(f"{x}.{end}" for x in linears for end in ("in", "out")))
        named = [(x.layer, x.site, sites) for x in (*self.taps, *self.adds, *self.sets)]
        named += [(layer, name, linears) for layer, name in self.adapters]
        for layer, site, known in named:
            if site not in known:
                raise ValueError(f"no site {site!r}; there are {', '.join(known)}")
            if layer not in layers:
                raise ValueError(
                    f"layer {layer} of site {site!r} does not run in this call "
                    f"(layers {layers.start}..{layers.stop - 1} do)"
                )


@dataclasses.dataclass(frozen=True)
class LayerSites:
    """The interventions of one layer, and what they find as the layer runs.

    ``found`` (by the tap's place in the order) and ``aux`` are filled while one layer of one
    call is traced; they start empty and live no longer than that call. ``memory`` is what the
    adapters gave for the cached tokens.
    """

    layer: int
    what: Interventions
    context: Context
    memory: Mapping[tuple[int, str], Any] = dataclasses.field(default_factory=dict)
    found: dict[int, Any] = dataclasses.field(default_factory=dict)
    aux: dict[tuple[int, str], Any] = dataclasses.field(default_factory=dict)

    def visit(self, site: str, x: jax.Array) -> jax.Array:
        """x [B, T, F] passes ``site``: what it becomes."""
        for change in (*self.what.sets, *self.what.adds):
            if (change.layer, change.site) == (self.layer, site):
                x = change.apply(x)
        for i, tap in enumerate(self.what.taps):
            if (tap.layer, tap.site) == (self.layer, site):
                self.found[i] = tap.read(x, self.context.mask)
        return x

    def adapt(self, linear: str, x: jax.Array, y: jax.Array) -> jax.Array:
        """y = linear(x) goes through the adapter of that linear, if it has one."""
        adapter = self.what.adapters.get((self.layer, linear))
        if adapter is None:
            return y
        own = self.context._replace(memory=self.memory.get((self.layer, linear)))
        y, aux = adapter(x, y, own)
        self.aux[(self.layer, linear)] = aux
        return y
