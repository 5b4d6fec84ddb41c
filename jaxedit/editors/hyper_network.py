"""The networks of MEND and MALMEN: from a token's key and gradient to better ones.

For each shape of kernel one network, shared by the kernels of that shape (its modules m); it works
on y = [u ; delta], u the linear's input and delta the gradient at its output, both normalised by
their mean and standard deviation over the training records. Each of its blocks is low-rank and
adds to what it is given:

  MEND    (Mitchell et al. 2021, equation 4 with the "IDMLP" of its code)
            y <- y + max(0, s_m (U V y + b) + t_m)
  MALMEN  (Tan et al. 2023, as its code has it)
            y <- y + s_m max(0, U V y + b) + t_m

V ~ N(0, 1), U, b and t are zero and s is one at first, so that a network begins as the identity.
All of it stands at the kink of the max there: the slope at zero is taken as 1, as in the authors'
framework, or nothing would ever be learned.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.editors.captures import Captured
from jaxedit.editors.normaliser import EPSILON, Normaliser, follow

Kind = Literal["mend", "malmen"]


class Blocks(NamedTuple):
    """One shape's network of L blocks: width D = inputs + outputs, rank r, M modules.

    Attributes:
      down: V, [L, D, r].
      up: U, [L, r, D].
      bias: b, [L, D].
      scale: s, [L, M, D].
      shift: t, [L, M, D].
    """

    down: Any
    up: Any
    bias: Any
    scale: Any
    shift: Any


def shape_name(shape: Sequence[int]) -> str:
    """What kernels that share a network have in common: "inputs x outputs"."""
    return f"{shape[0]}x{shape[1]}"


def modules(shapes: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
    """By shape: the names of its kernels, sorted; a module's number is its place there."""
    found: dict[str, list[str]] = {}
    for name in sorted(shapes):
        found.setdefault(shape_name(shapes[name]), []).append(name)
    return found


def initial_network(
    shapes: Mapping[str, Sequence[int]], rank: int, blocks: int, seed: int
) -> dict[str, Blocks]:
    """Networks that are the identity, by shape; float32."""
    made = {}
    for turn, (shape, names) in enumerate(sorted(modules(shapes).items())):
        width = sum(shapes[names[0]])
        draw = np.random.default_rng((seed, turn))
        made[shape] = Blocks(
            draw.normal(size=(blocks, width, rank)).astype(np.float32),
            np.zeros((blocks, rank, width), np.float32),
            np.zeros((blocks, width), np.float32),
            np.ones((blocks, len(names), width), np.float32),
            np.zeros((blocks, len(names), width), np.float32),
        )
    return made


def rewrite(network: Blocks, module: int, y: jax.Array, kind: Kind) -> jax.Array:
    """Normalised rows [N, D] as the network gives them, [N, D]."""
    for block in range(network.down.shape[0]):
        inner = y @ network.down[block] @ network.up[block] + network.bias[block]
        scale, shift = network.scale[block, module], network.shift[block, module]
        mend = kind == "mend"
        y = y + (_ramp(scale * inner + shift) if mend else scale * _ramp(inner) + shift)
    return y


def _ramp(x: jax.Array) -> jax.Array:
    """max(0, x), with slope 1 at zero."""
    return jnp.where(x >= 0, x, 0)


class Scales(NamedTuple):
    """Of one shape's rows [u ; delta]: their mean and standard deviation, [D] float32."""

    mean: Any
    std: Any

    @classmethod
    def of(cls, seen: Normaliser) -> "Scales":
        """Of all rows that were seen; a lone one has no deviation, and 1 is taken for it."""
        spread = np.sqrt(np.asarray(seen.square) / max(float(seen.rows) - 1, 1))
        spread = spread if float(seen.rows) > 1 else np.ones_like(spread)
        return cls(np.asarray(seen.mean, np.float32), spread.astype(np.float32))

    def __call__(self, rows: jax.Array) -> jax.Array:
        """(rows - mean) / (std + eps), rows [N, D]."""
        return (rows - self.mean) / (self.std + EPSILON)


class TokenRows(NamedTuple):
    """One kernel's captures as rows.

    Attributes:
      key: u, [N, inputs].
      gradient: delta, [N, outputs].
      real: which count, [N]: neither factor is all zeros, as padding's are.
    """

    key: jax.Array
    gradient: jax.Array
    real: jax.Array

    @classmethod
    def of(cls, captured: Captured, name: str) -> "TokenRows":
        """Of the kernel of that name."""
        key, gradient = captured.keys[name], captured.gradients[name]
        key = key.reshape((-1, key.shape[-1]))
        gradient = gradient.reshape((-1, gradient.shape[-1]))
        return cls(key, gradient, (key != 0).any(-1) & (gradient != 0).any(-1))

    @property
    def joined(self) -> jax.Array:
        """[u ; delta], [N, inputs + outputs]."""
        return jnp.concatenate([self.key, self.gradient], axis=-1)


def captured_shapes(captured: Captured) -> dict[str, tuple[int, int]]:
    """Of the kernels that were captured."""
    pairs = captured.keys, captured.gradients
    return {name: (pairs[0][name].shape[-1], pairs[1][name].shape[-1]) for name in pairs[0]}


def rewritten(
    network: Mapping[str, Blocks], scales: Mapping[str, Scales], captured: Captured, kind: Kind
) -> Iterator[tuple[str, TokenRows, jax.Array, jax.Array]]:
    """(name, its rows, u~ [N, inputs], delta~ [N, outputs]) of each kernel; zeros do not count."""
    for shape, names in modules(captured_shapes(captured)).items():
        for number, name in enumerate(names):
            rows = TokenRows.of(captured, name)
            y = rewrite(network[shape], number, scales[shape](rows.joined), kind)
            y = jnp.where(rows.real[:, None], y, 0)
            inputs = rows.key.shape[1]
            yield name, rows, y[:, :inputs], y[:, inputs:]


def no_rows(shapes: Mapping[str, Sequence[int]]) -> dict[str, Normaliser]:
    """Normalisers that have seen nothing, by shape."""
    return {shape_name(shape): Normaliser.empty(sum(shape)) for shape in shapes.values()}


def follow_rows(seen: Mapping[str, Normaliser], captured: Captured) -> dict[str, Normaliser]:
    """The normalisers, by shape, once they have seen the captures of some facts; float64."""
    after = {}
    for shape, names in modules(captured_shapes(captured)).items():
        found = [TokenRows.of(captured, name) for name in names]
        rows, real = (jnp.stack(x) for x in zip(*((r.joined, r.real) for r in found), strict=True))
        with jax.enable_x64(True):
            after[shape] = follow(seen[shape], rows, real)
    return after


def multiplications(shapes: Mapping[str, Sequence[int]], rank: int, blocks: int) -> int:
    """Of one token of each of these kernels, through its network."""
    return sum(2 * blocks * rank * sum(shape) for shape in shapes.values())


Shift = Callable[[Any, Captured], dict[str, jax.Array]]


class Trained(NamedTuple):
    """All that training gives.

    Attributes:
      network: by shape of kernel; see `hyper_network`.
      rates: by kernel, how far it moves, [].
      ridges: by kernel, the logarithm of its ridge, []; empty where there is none.
      scales: by shape, of the rows on the unedited model; set before training, not trained.
    """

    network: dict[str, Blocks]
    rates: dict[str, Any]
    ridges: dict[str, Any]
    scales: dict[str, Scales]


def shifted(trained: Trained, captured: Captured, *, shift: Shift) -> dict[str, jax.Array]:
    """The change of each kernel; a method may solve in float64."""
    with jax.enable_x64(True):
        return _shifted(trained, captured, shift=shift)


def pulled(
    trained: Trained, captured: Captured, slope: Mapping[str, jax.Array], *, shift: Shift
) -> Trained:
    """The gradient of what is trained, from that of the changed kernels."""
    with jax.enable_x64(True):
        return _pulled(trained, captured, dict(slope), shift=shift)


@partial(jax.jit, static_argnames="shift")
def _shifted(trained: Trained, captured: Captured, *, shift: Shift) -> dict[str, jax.Array]:
    return shift(trained, captured)


@partial(jax.jit, static_argnames="shift")
def _pulled(trained: Trained, captured: Captured, slope: Any, *, shift: Shift) -> Trained:
    return jax.vjp(lambda own: shift(own, captured), trained)[1](slope)[0]
