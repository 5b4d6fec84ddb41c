"""What the stages of a run's editing cost an accelerator, counted from shapes alone.

One function a stage gives its arithmetic and what it moves through memory; whichever takes longer
counts, at a share of what an H200 can do at best. Prompts and answers have typical lengths, and
nothing stops early.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxedit.config import ArmConfig, RunConfig
from jaxedit.editors import EDITORS
from jaxedit.editors.locate import LocateThenEdit
from jaxedit.editors.settings import fields
from jaxedit.ensemble.costs import forward_operations
from jaxedit.ensemble.plug_batches import Training
from jaxedit.models import ModelConfig
from jaxedit.preflight_ensemble import parameter_count

SHARE = 0.4  # of the peak that is reached
PEAK: Mapping[str, float] = {"bfloat16": 989e12, "float16": 989e12}  # H200, dense
WIDE_PEAK = 60e12  # float32 without rounded inputs, and float64
BANDWIDTH = 0.6 * 4.8e12  # bytes a second
HOST_PEAK = 2e12  # float64, where sums are solved on the host

PROMPT, PREFIX, TAIL, ANSWER, TEXT, DOCUMENT = 16, 10, 8, 4, 200, 500  # tokens
CONTEXTS = 7  # prompts that a value is optimised behind, MEMIT's templates and the subject's own
ROWS = 64  # of a batch of questions or of sampled texts


@dataclass(frozen=True)
class Work:
    """A stage.

    Attributes:
        stage: its name.
        dense: operations, a product and a sum being two, in the parameters' dtype.
        wide: operations in float64, or in float32 without rounding.
        moved: bytes that pass through a device's memory, in place of the arithmetic where that is
            less: parameters for each call, above all.
        seconds: of anything else.
    """

    stage: str
    dense: float = 0.0
    wide: float = 0.0
    moved: float = 0.0
    seconds: float = 0.0

    def on_a_gpu(self, dtype: str) -> float:
        """Seconds of one GPU."""
        peak = PEAK.get(dtype, WIDE_PEAK)
        arithmetic = (self.dense / peak + self.wide / WIDE_PEAK) / SHARE
        return max(arithmetic, self.moved / BANDWIDTH) + self.seconds


@dataclass(frozen=True)
class Costs:
    """What a model costs, its parameters having so many bytes each."""

    config: ModelConfig
    width: int

    @cached_property
    def blocks(self) -> float:
        """Of all blocks, a token."""
        return forward_operations(self.config)

    @property
    def head(self) -> float:
        """Of the LM head, a token."""
        return 2.0 * self.config.d_model * self.config.vocab_size

    @cached_property
    def size(self) -> float:
        """Bytes of all parameters: what a call moves at least."""
        return self.width * parameter_count(self.config)

    def above(self, layer: int) -> float:
        """The share of the blocks behind a layer."""
        return (self.config.n_layers - 1 - layer) / self.config.n_layers


def statistics(
    config: RunConfig, model: Costs, settings: Sequence[Mapping[str, Any]]
) -> Iterator[Work]:
    """Second moments of the keys: forward passes up to the last layer, and an outer product."""
    pairs = zip(config.arms, settings, strict=True)
    layers = {j for arm, own in pairs if "statistics" in fields(arm.method) for j in own["layers"]}
    if not layers:
        return
    asked, v = config.statistics, model.config.d_ff
    tokens = asked.tokens or 10 * v
    if asked.documents:
        tokens = asked.documents * min(asked.length or DOCUMENT, DOCUMENT)
    share = 1 - model.above(max(layers))
    outer = 2.0 * len(layers) * tokens * v**2
    yield Work("statistics", dense=tokens * share * model.blocks, wide=outer)
    if asked.source == "model":  # the text is sampled first
        moved = tokens / ROWS * model.size
        yield Work("statistics", dense=tokens * (model.blocks + model.head), moved=moved)


def fitting(model: Costs, settings: Mapping[str, Any]) -> Iterator[Work]:
    """What is trained once: a record's edit and its questions, forward and back, twice over.

    SERAC trains a model of its own, as deep as its first blocks.
    """
    training = settings.get("training")
    if training is None or isinstance(training, Training):
        return
    share = 1.0
    if "depth" in settings:
        share = (settings["depth"] or model.config.n_layers / 4) / model.config.n_layers
    calls = training.steps * training.accumulate
    dense = 2 * 3 * calls * training.batch * 2 * (PROMPT + ANSWER) * share * model.blocks
    yield Work("training once", dense=dense, moved=3 * calls * share * model.size)


def editing(
    config: RunConfig, arm: ArmConfig, model: Costs, settings: Mapping[str, Any], edits: int
) -> Iterator[Work]:
    """All updates of an arm."""
    updates = math.ceil(edits / (arm.cases or arm.batch))
    if isinstance(settings.get("training"), Training):
        yield fine_tuning(model, settings["training"], edits)
    elif issubclass(EDITORS[arm.method], LocateThenEdit):
        ahead = arm.method == "d4s" or arm.alone
        calls = math.ceil(edits / (config.values_block or config.checkpoint_every))
        yield values(model, settings, edits, min(updates, calls) if ahead else updates)
        yield keys(model, settings, edits, updates)
        yield from solves(config, arm, model, settings, edits, updates)
    else:
        yield gradients(model, settings, edits, updates)


def values(model: Costs, settings: Mapping[str, Any], edits: int, calls: int) -> Work:
    """Values: the tokens before the subject's end once, the rest forward and back each step."""
    last, steps = settings["layers"][-1], settings["values"].steps
    rows = edits * CONTEXTS
    once = rows * (PREFIX + PROMPT + ANSWER) * model.blocks
    step = rows * ((TAIL + ANSWER) * model.above(last) * model.blocks + ANSWER * model.head)
    moved = calls * 2 * steps * model.above(last) * model.size
    return Work("values", dense=once + (2 * steps - 1) * step, moved=moved)


def keys(model: Costs, settings: Mapping[str, Any], edits: int, updates: int) -> Work:
    """One walk up to the last edited layer, whose down-projections run again once solved."""
    share = 1 - model.above(settings["layers"][-1])
    rows = edits * CONTEXTS * (PREFIX + PROMPT)
    return Work("keys", dense=1.2 * rows * share * model.blocks, moved=updates * share * model.size)


def solves(
    config: RunConfig,
    arm: ArmConfig,
    model: Costs,
    settings: Mapping[str, Any],
    edits: int,
    updates: int,
) -> Iterator[Work]:
    """Least squares in float64: the factors once, of D4S also at checkpoints; then updates."""
    layers, u, v = len(settings["layers"]), model.config.d_model, model.config.d_ff
    first = 9 * v**3 if arm.method == "alphaedit" else v**3 / 3  # eigenvectors, or Cholesky
    again = 2 * v**3 * edits / config.checkpoint_every if arm.method == "d4s" else 0
    wide = layers * (first + again), layers * edits * 4.0 * v * (u + v)
    if config.mesh.solve == "host":
        yield Work("solves", seconds=sum(wide) / (SHARE * HOST_PEAK))
    else:
        yield Work("solves", wide=wide[0])
        yield Work("solves", wide=wide[1], moved=layers * updates * 3 * 8 * v * (u + v))


def fine_tuning(model: Costs, training: Training, edits: int) -> Work:
    """A whole model, forward and back, on edits and on unrelated questions."""
    rows = training.epochs * edits * (1 + training.ratio)
    steps = training.epochs * math.ceil(edits / training.batch)
    tokens = PROMPT + ANSWER
    dense = 3 * rows * (tokens * model.blocks + ANSWER * model.head)
    moved = steps * (3 * model.size + 8 * 4 * parameter_count(model.config))  # Adam's, float32
    return Work("fine-tuning", dense=dense, moved=moved)


def gradients(model: Costs, settings: Mapping[str, Any], edits: int, updates: int) -> Work:
    """Steps of gradient descent on some weights, values or neurons; one where none are named.

    Methods that show a model examples (IKE) take no step and so cost a pass.
    """
    steps = settings.get("steps", 1)
    lowest = min(settings.get("layers") or (0,))
    share = (model.config.n_layers - lowest) / model.config.n_layers
    step = (PROMPT + ANSWER) * share * 2 * model.blocks + 3 * ANSWER * model.head
    dense = edits * ((PROMPT + ANSWER) * model.blocks + steps * step)
    return Work("gradients", dense=dense, moved=updates * steps * 2 * share * model.size)
