"""GPU hours that a run will take, counted from its config and its models' shapes alone.

Nothing is cached from another run, and every shape is compiled in the time to start. Left out:
checkpoints on their way to the disk, norms, conditions. Take it as right within a factor of two
where a method uses the accelerator well; `gpu_work` has the assumptions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from jaxedit.arm_settings import arm_settings
from jaxedit.batches.gpu_answers import arm_scoring, downstream, questions_of, scoring, serving
from jaxedit.batches.gpu_work import PEAK, ROWS, Costs, Work, editing, fitting, statistics
from jaxedit.config import RunConfig
from jaxedit.data import catalogue
from jaxedit.data.catalogue import DATASETS
from jaxedit.editors import EDITORS
from jaxedit.errors import UserError
from jaxedit.experiment import is_plugin
from jaxedit.models import ModelConfig
from jaxedit.preflight_ensemble import gated

START = 240.0  # seconds until a run is loaded and has compiled what it begins with
START_ARM = 60.0  # of each arm


@dataclass(frozen=True)
class Hours:
    """What a run takes.

    Attributes:
        edits: facts, at most.
        there: whether the file of the facts is on this machine.
        work: its stages.
        dtype: of the parameters.
    """

    edits: int
    there: bool
    dtype: str
    work: tuple[Work, ...] = ()

    def gpu_hours(self, devices: int = 1) -> float:
        """Of all devices together; starting keeps each of them busy."""
        took = sum(work.on_a_gpu(self.dtype) for work in self.work if work.stage != "start")
        start = sum(work.seconds for work in self.work if work.stage == "start")
        return (took + devices * start) / 3600

    def by_stage(self) -> dict[str, float]:
        """Hours of one GPU."""
        found: dict[str, float] = {}
        for work in self.work:
            hours = work.on_a_gpu(self.dtype) / 3600
            found[work.stage] = found.get(work.stage, 0.0) + hours
        return found


def hours(config: RunConfig, shape: ModelConfig, targets: Mapping[str, ModelConfig]) -> Hours:
    """A run's stages.

    Args:
        config: the run's.
        shape: of its model.
        targets: of OnceEdit, by name.

    Raises:
        UserError: an arm has no layers, or settings that make no sense.
    """
    width = 2 if config.dtype in PEAK else 4
    own = gated(shape) if is_plugin(config) else shape
    model = Costs(own, width)
    edits, there = edits_of(config)
    asked = edits * questions_of(config.facts.source)
    settings = [{**_defaults(arm.method), **arm_settings(config, arm, own)} for arm in config.arms]
    work = [Work("start", seconds=START + START_ARM * len(config.arms))]
    work += statistics(config, model, settings)
    work += scoring(config, model, "before", asked, math.ceil(asked / ROWS))
    work += downstream(config, model, 1)
    for arm, chosen in zip(config.arms, settings, strict=True):
        work += fitting(model, chosen)
        work += editing(config, arm, model, chosen, edits)
        work += arm_scoring(config, arm, model, chosen, edits)
        for target in targets.values():
            work += serving(config, Costs(target, width), model, asked, edits)
    return Hours(edits, there, config.dtype, tuple(work))


def _defaults(method: str) -> dict[str, Any]:
    """What a method runs with where neither the config nor its model says anything else."""
    found: dict[str, Any] = {}
    for item in fields(EDITORS[method]):
        if item.default is not MISSING:
            found[item.name] = item.default
        elif item.default_factory is not MISSING:
            found[item.name] = item.default_factory()
    return found


def edits_of(config: RunConfig) -> tuple[int, bool]:
    """How many facts at most, and whether their file is here; of a user's own file the limit."""
    facts = config.facts
    limit = facts.limit
    if facts.source.startswith("embedded"):
        return limit or 300, True
    if facts.source not in DATASETS:
        return limit or 1000, facts.path is not None
    stated = DATASETS[facts.source].records
    try:
        catalogue.find(facts.source, facts.path)
    except UserError:
        return min(limit or stated, stated), False
    return min(limit or stated, stated), True
