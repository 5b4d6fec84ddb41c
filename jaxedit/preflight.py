"""What a run will need, by part, from shapes alone: before anything is loaded.

The parts are what the code keeps at the same time; activations are counted for the batches that
it makes, with prompts of `TOKENS` tokens. Compilers fuse and copy, so take it as an estimate.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxedit.architectures import ARCHITECTURES
from jaxedit.arm_settings import ONCEEDIT, arm_settings
from jaxedit.config import ArmConfig, RunConfig
from jaxedit.editors.settings import fields
from jaxedit.ensemble.plug_batches import Training
from jaxedit.errors import UserError
from jaxedit.experiment import is_plugin
from jaxedit.models import ModelConfig, param_shapes
from jaxedit.models.families import read_config, split_axis
from jaxedit.models.loading import EMBEDDED, load_config, resolve
from jaxedit.models.placement import bytes_per_device
from jaxedit.preflight_beside import Needs, Sizes, needs
from jaxedit.preflight_ensemble import WIDE, gated, parameter_count, serving_parts, training_parts

TOKENS = 64  # of a prompt with its prefix, rounded up to a bucket
TAIL = 16  # of these from the subject's last token on
FACTS = 16  # optimised at once on a device
PREFIXES = 6  # of MEMIT's templates
ROWS = 64  # of a scored or generated batch
EDITS = 1000  # of a run that does not say how many
SCORES = "scores: logits and key-value cache"
CHECKPOINT = "a checkpoint, also on the host"
DOUBLE = 8  # bytes
GIB = 1024**3


@dataclass(frozen=True)
class Part:
    """Bytes of one part, on one device, on a host or on disk.

    Attributes:
        name: what it is.
        size: bytes.
        phase: "always", "statistics", "training" (once, before any edit), "editing", "edited" (from
            then on), "serving" (a plug-in in one of its targets), "host" (in a process's own
            memory), or "disk" (each checkpoint, which passes through the host).
    """

    name: str
    size: int
    phase: str


@dataclass(frozen=True)
class Estimate:
    """The parts of a run, for the most demanding of its arms."""

    arm: str
    parts: tuple[Part, ...]

    @property
    def peak(self) -> int:
        """Bytes on one device at the most demanding time."""
        edited = self._total("edited")
        later = max(self._total("editing"), self._total("serving"))
        before = max(self._total("statistics"), self._total("training"))
        return self._total("always") + max(before, edited + later)

    @property
    def host(self) -> int:
        """Bytes of a process's own memory: what is kept there, and a checkpoint on its way."""
        return self._total("host") + self._total("disk")

    def _total(self, phase: str) -> int:
        return sum(part.size for part in self.parts if part.phase == phase)

    def lines(self) -> list[str]:
        """A table, one line a part."""
        width = max(len(part.name) for part in self.parts)
        rows = [
            f"{part.name:<{width}}  {_human(part.size):>10}  {part.phase}" for part in self.parts
        ]
        host = f"{'on the host':<{width}}  {_human(self.host):>10}"
        peak = f"{'peak on one device':<{width}}  {_human(self.peak):>10}  (arm {self.arm})"
        return [*rows, host, peak]

    def to_dict(self) -> dict[str, object]:
        """JSON-able."""
        parts = [{"name": p.name, "bytes": p.size, "phase": p.phase} for p in self.parts]
        held = {"peak_bytes": self.peak, "host_bytes": self.host}
        return {"arm": self.arm, **held, "parts": parts}


def known_shape(model: str, flag: str = "model") -> ModelConfig:
    """A model's shape from its directory, or of a published one without any file.

    Args:
        model: its name.
        flag: of the config, that names it.

    Raises:
        UserError: it is neither.
    """
    published = {name.lower(): raw for name, raw in ARCHITECTURES.items()}
    if not Path(model).is_dir() and model.lower() in published:
        return read_config(published[model.lower()])
    if not Path(model).is_dir() and not model.startswith(EMBEDDED):
        raise UserError(
            f"--config.{flag}={model}: no such directory, and its shape is not known without one; "
            f"known are {', '.join(ARCHITECTURES)}"
        )
    return load_config(resolve(model))


def estimate(
    run: RunConfig, model: ModelConfig, targets: Mapping[str, ModelConfig] | None = None
) -> Estimate:
    """The memory of a run of this model: that of its most demanding arm and target.

    Args:
        run: the run.
        model: the shape of its model.
        targets: of OnceEdit, by name.
    """
    plug = gated(model) if is_plugin(run) else model
    joined = [_served(run, name, shape, plug) for name, shape in (targets or {}).items()]
    most = max(joined, key=lambda parts: sum(part.size for part in parts), default=())
    found = [Estimate(arm.name, (*_of_arm(run, plug, arm), *most)) for arm in run.arms]
    return max(found, key=lambda item: item.peak)


def remedies(
    run: RunConfig, model: ModelConfig, targets: Mapping[str, ModelConfig] | None, devices: int
) -> Iterator[tuple[str, Estimate]]:
    """Settings that need less memory, as flags, with what they need; the mildest first.

    Args:
        run: the run.
        model: as for `estimate`.
        targets: as for `estimate`.
        devices: that the run has.
    """
    widths = ["float32", "bfloat16"] if run.dtype == "float32" else [run.dtype]
    splits = [n for n in range(run.mesh.model, devices + 1) if devices % n == 0]
    places = ["device", "host"] if run.mesh.solve == "device" else [run.mesh.solve]
    for split, place, dtype in itertools.product(splits, places, widths):
        mesh = replace(run.mesh, data=None, model=split, solve=place)
        told = {
            f"--config.dtype={dtype}": dtype != run.dtype,
            f"--config.mesh.model={split}": split != run.mesh.model,
            f"--config.mesh.solve={place}": place != run.mesh.solve,
        }
        flags = " ".join(flag for flag, changed in told.items() if changed)
        if flags:
            yield flags, estimate(replace(run, dtype=dtype, mesh=mesh), model, targets)


def refuse_if_too_large(
    needed: Estimate,
    available: int | None,
    host: int | None = None,
    ways: Callable[[], Iterable[tuple[str, Estimate]]] = tuple,
) -> None:
    """Stops a run that cannot fit before it loads anything.

    Args:
        needed: the estimate.
        available: bytes of one device; None if it does not say.
        host: bytes of the machine's own memory; None if unknown, or counted as the device's.
        ways: gives other settings, with what they need.

    Raises:
        UserError: with the largest part and what to change.
    """
    if host is not None and needed.host > host:
        raise UserError(
            f"the run keeps about {_human(needed.host)} in the memory of a machine that has "
            f"{_human(host)}: try fewer --config.layers, or a larger machine"
        )
    if available is None or needed.peak <= available:
        return
    fitting = (flags for flags, other in ways() if other.peak <= available)
    way = next(fitting, None)
    there = (part for part in needed.parts if part.phase not in ("disk", "host"))
    largest = max(there, key=lambda part: part.size)
    advice = (
        "try fewer --config.layers, or larger or more devices" if way is None else f"{way} would do"
    )
    raise UserError(
        f"the run needs about {_human(needed.peak)} on a device that has {_human(available)}; "
        f"the largest part is {largest.name} ({_human(largest.size)}): {advice}"
    )


def available_memory() -> int | None:
    """Bytes of the first device; of the machine where that is its CPU; None if unknown."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    return _machine_memory()


def host_memory() -> int | None:
    """Bytes of the machine; None where its CPU is the device, which `available_memory` counts."""
    return None if jax.local_devices()[0].platform == "cpu" else _machine_memory()


def _machine_memory() -> int:
    return min(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), _cgroup_limit())


def _cgroup_limit() -> int:
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        text = "max"
    return int(text) if text.isdigit() else 2**62


def _of_arm(run: RunConfig, model: ModelConfig, arm: ArmConfig) -> tuple[Part, ...]:
    settings = arm_settings(run, arm, model)
    if arm.method == ONCEEDIT:
        return _of_plugin(run, model, settings["training"])
    batch = arm.batch if arm.cases is None else arm.cases
    edits = run.facts.limit or EDITS
    needed = needs(arm.method, settings, Sizes(model, run.model, edits, batch, TOKENS))
    if needed is not None:
        return _of_beside(run, model, settings["layers"], needed)
    layers = settings["layers"] or tuple(range(model.n_layers))
    width = jnp.dtype(run.dtype).itemsize
    kernel = model.d_ff * model.d_model
    if "block" in settings.get("modules", ()):
        kernel = 2 * kernel + 4 * model.d_model**2
    square = model.d_ff**2 * DOUBLE * len(layers)
    needs_statistics = "statistics" in fields(arm.method)
    state = _editor_state(arm.method, kernel * len(layers), square)
    solved = "host" if run.mesh.solve == "host" else None
    return (
        *_always(run, model, kernel * len(layers)),
        *(
            Part(name, size, (solved if "float64" in name else None) or "edited")
            for name, size in state.items()
        ),
        *(_solving(square, solved) if needs_statistics else ()),
        *((Part("statistics, float64", square, "host"),) if needs_statistics else ()),
        Part("activations of values or training", _values(model, layers, width), "editing"),
        Part(SCORES, _scores(run, model, width), "editing"),
        Part(CHECKPOINT, _checkpoint(arm.method, kernel * len(layers), square), "disk"),
    )


def _always(run: RunConfig, model: ModelConfig, entries: int) -> tuple[Part, ...]:
    """The model, a slice of it on its way, and so many entries of it as edited."""
    share, width = _share(model, run), jnp.dtype(run.dtype).itemsize
    slice_ = max(leaf.size for leaf in jax.tree.leaves(param_shapes(model))) * width // share
    edited = Part("edited leaves, float32, old and new", 2 * entries * 4 // share, "edited")
    return (
        Part("parameters", _parameters(model, run), "always"),
        *((edited,) if entries else ()),
        Part("a slice of the weights, while loading", slice_, "host"),
    )


def _of_beside(
    run: RunConfig, model: ModelConfig, layers: tuple[int, ...], needed: Needs
) -> tuple[Part, ...]:
    """An arm that keeps its edits beside the model, or trains something once."""
    width = jnp.dtype(run.dtype).itemsize
    phases = {
        "edited": needed.kept,
        "training": needed.training,
        "editing": needed.editing,
        "host": needed.host,
    }
    values = _values(model, layers, width)
    prepares = layers and not needed.written  # those that write count their own
    asked = sum(_scores(run, shape, width, needed.front) for shape in (model, *needed.others))
    return (
        *_always(run, model, needed.written),
        *(Part(name, size, phase) for phase, own in phases.items() for name, size in own.items()),
        *((Part("activations of values or training", values, "editing"),) if prepares else ()),
        Part(SCORES, asked, "editing"),
        Part(CHECKPOINT, needed.checkpoint, "disk"),
    )


def _of_plugin(run: RunConfig, plug: ModelConfig, training: Training) -> tuple[Part, ...]:
    """An arm that fine-tunes its whole model."""
    whole = WIDE * parameter_count(plug)
    width = jnp.dtype(run.dtype).itemsize
    steps = training_parts(plug, training, TOKENS)
    [moments] = (size // 2 for name, size in steps.items() if "moments" in name)
    return (
        Part("parameters", _parameters(plug, run), "always"),
        Part("all parameters as edited, float32", whole, "edited"),
        *(Part(name, size, "editing") for name, size in steps.items()),
        Part(SCORES, _scores(run, plug, width), "editing"),
        Part(CHECKPOINT, whole, "disk"),
        Part("an update under way: parameters and moments", whole + moments, "disk"),
    )


def _served(run: RunConfig, name: str, target: ModelConfig, plug: ModelConfig) -> tuple[Part, ...]:
    """One target with the plug-in; targets are there one after another."""
    both = sum(_scores(run, shape, jnp.dtype(run.dtype).itemsize) for shape in (target, plug))
    data = run.mesh.data or jax.device_count() // run.mesh.model
    devices = data if run.ensemble.sharded and jax.process_count() == 1 else 1
    held = serving_parts(name, target, plug, devices, run.ensemble.held)
    return (
        Part(f"parameters of {name}", _parameters(target, run), "serving"),
        *(Part(n, size, "serving") for n, size in held.items()),
        Part(f"asking {name}: logits and both key-value caches", both, "serving"),
    )


def _parameters(model: ModelConfig, run: RunConfig) -> int:
    return bytes_per_device(model, run.mesh.model, jnp.dtype(run.dtype))


def _share(model: ModelConfig, run: RunConfig) -> int:
    """Devices that share an edited kernel."""
    path = ("layers_0", "mlp", "down", "kernel")
    return 1 if split_axis(model, path, run.mesh.model) is None else run.mesh.model


def _solving(squares: int, place: str | None) -> tuple[Part, Part]:
    return (
        Part("statistics, sums of a batch and of all", 2 * squares, "statistics"),
        Part("lambda C and its factor, float64", 2 * squares, place or "editing"),
    )


def _editor_state(method: str, entries: int, squares: int) -> Mapping[str, int]:
    """What a method keeps beside the edited leaves.

    Args:
        method: its name.
        entries: of all edited matrices.
        squares: bytes of a float64 matrix as wide as the keys, for all layers.
    """
    if method == "d4s":
        return {
            "D4S sums R K^T and K K^T, float64": entries * DOUBLE + squares,
            "D4S inverse and delta, float64": entries * DOUBLE + squares,
        }
    if method == "alphaedit":  # null spaces of nearly the whole width, at most
        return {"null spaces, sums of keys and their inverse, float64": 3 * squares}
    if method in ("ft", "ft_l", "ft_m", "locft_bf"):
        return {"gradient and Adam's moments, float32": 3 * 4 * entries}
    return {}


def _checkpoint(method: str, entries: int, squares: int) -> int:
    if method == "d4s":
        return entries * DOUBLE + squares
    return entries * 4 + (squares if method == "alphaedit" else 0)


def _values(model: ModelConfig, layers: tuple[int, ...], width: int) -> int:
    """What a step of Adam keeps for its gradient in the blocks above, and their caches."""
    above = model.n_layers - (layers[-1] + 1 if layers else 0)
    rows = FACTS * (PREFIXES + 1)
    cached = 2 * TOKENS * model.n_kv_heads * model.head_dim * width
    per_token = 8 * model.d_model + 3 * model.d_ff
    attention = model.n_heads * TAIL * (TOKENS + TAIL)
    step = TAIL * per_token * width + attention * 4
    logits = 3 * 4 * model.vocab_size * 4  # four predicting columns, with log p and its gradient
    return rows * (above * (cached + step) + logits)


def _scores(run: RunConfig, model: ModelConfig, width: int, front: int = 0) -> int:
    """A batch of prompts with answers: logits at the answers, or a cache while generating.

    So many tokens stand before each prompt.
    """
    prompt = TOKENS + front
    cache = 2 * (prompt + run.eval.max_new_tokens) * model.n_kv_heads * model.head_dim * width
    cache *= model.n_layers
    block = prompt * (2 * model.d_ff + 4 * model.d_model) * width
    return ROWS * (cache + block + 8 * model.vocab_size * 4)


def _human(size: int) -> str:
    if size >= GIB:
        return f"{size / GIB:.1f} GiB"
    return f"{size / 1024**2:.1f} MiB"
