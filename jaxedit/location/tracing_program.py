"""The compiled half of causal tracing: a fact's clean and noisy runs, and all of its cells.

A *cell* puts one state of the clean run back into all noisy runs. Cells are data, not shapes: one
program serves every fact of a padded length. They run some at a time, and begin at the first
layer of their stage, from the state of the noisy run there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.errors import UserError
from jaxedit.models.batches import rows_per_device
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.sites import Add, Set, Tap
from jaxedit.models.text import round_up

KINDS = ("none", "mlp", "attn", "severed_mlp", "severed_attn")
BLOCK, MLP, ATTENTION = "block.out", "mlp.down.out", "attn.o.out"
SITES = {"mlp": MLP, "attn": ATTENTION, "severed_mlp": MLP, "severed_attn": ATTENTION}
EVERY = -1  # in a cell's place of a token: all of them
STAGES = 4  # layers from which cells start: more compile longer, fewer run blocks twice


@dataclass(frozen=True)
class TraceSettings:
    """How to trace; the defaults are those that were published.

    Attributes:
      kinds: which of `KINDS`.
      window: layers whose MLP or attention outputs are put back together; around layer l these
        are l - window // 2 and the window - 1 after it, as far as they exist.
      samples: noisy runs of a fact.
      noise: standard deviation of the noise, in units of that of the subjects' embeddings.
      seed: of the noise, which is drawn anew for each fact: all cells of a fact, and all facts
        with as many subject tokens, get the same.
    """

    kinds: tuple[str, ...] = ("none", "mlp", "attn")
    window: int = 10
    samples: int = 10
    noise: float = 3.0
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuses an unknown kind and counts below one."""
        for kind in self.kinds:
            if kind not in KINDS:
                raise UserError(f"kind {kind!r} of tracing is none of {', '.join(KINDS)}")
        if self.window < 1 or self.samples < 1:
            raise UserError(
                f"window {self.window} and samples {self.samples} of tracing must be at least 1"
            )

    def layers(self, kind: str, layer: int, n_layers: int) -> range:
        """The layers at which a cell puts something back."""
        if kind not in ("mlp", "attn"):
            return range(layer, layer + 1)
        low = layer - self.window // 2
        return range(max(0, low), min(n_layers, low + self.window))


class Cell(NamedTuple):
    """One thing to put back: places in `KINDS`, of a layer, of a token or `EVERY`."""

    kind: int
    layer: int
    token: int


@dataclass(frozen=True)
class Plan:
    """What is compiled; the cells of a stage start from the noisy run's state at its first layer.

    Attributes:
      settings: how to trace.
      n_layers: of the model.
      length: padded tokens of a prompt.
      starts: first layer of each stage.
    """

    settings: TraceSettings
    n_layers: int
    length: int
    starts: tuple[int, ...]

    @classmethod
    def of(cls, settings: TraceSettings, n_layers: int, length: int) -> Plan:
        """With stages of like size."""
        return cls(settings, n_layers, length, tuple(range(0, n_layers, -(-n_layers // STAGES))))

    @property
    def at_once(self) -> int:
        """Cells in one forward pass, each with all noisy rows."""
        return max(1, rows_per_device(self.length) // self.settings.samples)

    def room(self, stage: int) -> int:
        """The most cells that a stage can have, in whole passes."""
        return round_up(max(1, len(self._layers(stage)) * (self.length + 1)), self.at_once)

    def _layers(self, stage: int) -> list[tuple[str, int]]:
        """(kind, layer) whose lowest touched layer is in the stage."""
        begin, end = (*self.starts, self.n_layers)[stage : stage + 2]
        return [
            (kind, layer)
            for kind in self.settings.kinds
            for layer in range(self.n_layers)
            if begin <= self.settings.layers(kind, layer, self.n_layers).start < end
        ]

    def cells(self, tokens: range) -> list[list[Cell]]:
        """The cells of a fact whose states at these tokens are put back, by stage."""
        return [
            [
                Cell(KINDS.index(kind), layer, token)
                for kind, layer in self._layers(stage)
                for token in ([EVERY, *tokens] if kind == "none" else tokens)
            ]
            for stage in range(len(self.starts))
        ]


def trace_facts(params: Any, batch: Any, *, config: ModelConfig, plan: Plan) -> Any:
    """(high [F], low [F], scores [F, room] of each stage) of one device's facts."""
    return jax.lax.map(functools.partial(_trace_one, params, config, plan), batch)


def _trace_one(params: Any, config: ModelConfig, plan: Plan, fact: Any) -> Any:
    """As `trace_facts`, for one fact: its clean and noisy runs, then the cells."""
    samples = plan.settings.samples
    mask = jnp.broadcast_to(fact["mask"], (1 + samples, plan.length))
    last = fact["mask"].sum(dtype=jnp.int32)[None] - 1
    noise = jnp.pad(fact["noise"], ((1, 0), (0, 0), (0, 0)))  # the first row stays clean
    sites = [BLOCK, *dict.fromkeys(SITES[kind] for kind in plan.settings.kinds if kind in SITES)]
    taps = [Tap(layer, site) for site in sites for layer in range(plan.n_layers)]
    out = forward(
        config,
        params,
        jnp.broadcast_to(fact["ids"], mask.shape),
        mask,
        add=[Add(0, "block.in", mask, noise)],
        taps=[Tap(0, "block.in"), *taps],
        logits_at=jnp.broadcast_to(last, (len(mask), 1)),
    )
    passed = {(tap.site, tap.layer): x for tap, x in zip(taps, out.taps[1:], strict=True)}
    passed[BLOCK, -1] = out.taps[0]  # [1 + S, T, D] each
    p = _probability(out.logits, fact["answer"])
    scores = tuple(
        _run_stage(params, config, plan, start, passed, fact, cells)
        for start, cells in zip(plan.starts, fact["stages"], strict=True)
    )
    return p[0], p[1:].mean(), scores


def _run_stage(
    params: Any,
    config: ModelConfig,
    plan: Plan,
    start: int,
    passed: dict[tuple[str, int], jax.Array],
    fact: Any,
    cells: Any,
) -> jax.Array:
    """p(o) for the cells of a stage, [room]: some at a time, until all are done."""
    samples, size = plan.settings.samples, plan.at_once
    rows = size * samples
    noisy = jnp.tile(passed[BLOCK, start - 1][1:], (size, 1, 1))  # [C * S, T, D]
    mask = jnp.broadcast_to(fact["mask"], (rows, plan.length))
    last = jnp.broadcast_to(mask[0].sum(dtype=jnp.int32) - 1, (rows, 1))

    def some(i: jax.Array, scores: jax.Array) -> jax.Array:
        what = jax.lax.dynamic_slice_in_dim(cells["what"], i * size, size)  # [C, 3]
        out = forward(
            config,
            params,
            None,
            mask,
            start=start,
            hidden=noisy,
            sets=_sets(plan, start, passed, what),
            logits_at=last,
        )
        p = _probability(out.logits, fact["answer"]).reshape(size, samples).mean(1)
        return jax.lax.dynamic_update_slice_in_dim(scores, p, i * size, 0)

    passes = (cells["count"] + size - 1) // size
    nothing = jnp.zeros(cells["what"].shape[0], jnp.float32)
    return jax.lax.fori_loop(0, passes, some, nothing)


def _sets(
    plan: Plan, start: int, passed: dict[tuple[str, int], jax.Array], what: jax.Array
) -> list[Set]:
    """What the cells put back, or hold at its noisy value, in each layer from `start` on."""
    settings, size = plan.settings, len(what)
    kind, layer, token = what.T  # [C] each
    steps = jnp.arange(plan.length, dtype=jnp.int32)
    there = (steps == token[:, None]) | (token[:, None] == EVERY)  # [C, T]
    low = layer - settings.window // 2
    found = []
    for (site, j), states in passed.items():
        if j < start:
            continue
        # The first row is the clean run's. [C, S, T, D]
        value = jnp.broadcast_to(states[0], (size, settings.samples, *states.shape[1:]))
        if site == BLOCK:
            modules = (KINDS.index("mlp"), KINDS.index("attn"))
            put = (kind != modules[0]) & (kind != modules[1]) & (layer == j)
        else:
            name = next(name for name, own in SITES.items() if own == site)
            put = (kind == KINDS.index(name)) & (low <= j) & (j < low + settings.window)
            if f"severed_{name}" in settings.kinds:
                held = kind == KINDS.index(f"severed_{name}")
                value = jnp.where(held[:, None, None, None], states[1:], value)
                put |= held
        where = jnp.repeat(there & put[:, None], settings.samples, axis=0)  # [C * S, T]
        found.append(Set(j, site, where, value.reshape(-1, *states.shape[1:])))
    return found


def _probability(logits: jax.Array | None, answer: jax.Array) -> jax.Array:
    """p(o) at the one place that logits [B, 1, V] were taken."""
    assert logits is not None
    return jax.nn.softmax(logits[:, 0], axis=-1)[:, answer].astype(jnp.float32)
