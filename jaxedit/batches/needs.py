"""What the runs of a work list need, from shapes alone: memory, devices, GPU hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from jaxedit.batches.batch import DONE, Job
from jaxedit.batches.gpu_hours import hours
from jaxedit.batches.gpu_work import SHARE
from jaxedit.config import RunConfig
from jaxedit.errors import UserError
from jaxedit.models import ModelConfig
from jaxedit.models.loading import EMBEDDED
from jaxedit.preflight import GIB, estimate, known_shape

DEVICE = 0.9 * 139 * GIB  # bytes of an H200 that a run may fill
SPLITS = (1, 2, 4, 8)  # devices that may share a model
HEADS = ("run", "arms", "facts", "on a device", "devices", "GPU hours", "note")


class Need(NamedTuple):
    """Of a run.

    Attributes:
        facts: edited, at most.
        memory: bytes on each device.
        devices: that share the model; 0 if more than `SPLITS` has.
        gpu_hours: of all devices together.
        note: what is missing here.
    """

    facts: int
    memory: int
    devices: int
    gpu_hours: float
    note: str = ""


def needs(work_list: Sequence[Job]) -> list[str]:
    """A table and its sums, of the runs whose models are not embedded; nothing if all are.

    What is done counts no more. No file of weights or facts has to be there; a model whose shape
    is not known is told.
    """
    asked = [job for job in work_list if not job.config.model.startswith(EMBEDDED)]
    if not asked:
        return []
    rows: list[Sequence[str]] = [HEADS]
    found = []
    for job in asked:
        name, arms = _named(job), str(len(job.config.arms))
        try:
            need = need_of(job.config)
        except UserError as error:
            rows.append([name, arms, *["-"] * 4, str(error)])
            continue
        hours = need.gpu_hours * (job.state() != DONE)
        found.append(need._replace(gpu_hours=hours))
        devices = str(need.devices or f"over {SPLITS[-1]}")
        memory = f"{need.memory / GIB:.0f} GiB"
        note = "done" if job.state() == DONE else need.note
        rows.append([name, arms, f"{need.facts:,}", memory, devices, f"{hours:.1f}", note])
    return ["", *_aligned(rows), *_sums(len(asked), found), ""]


def _named(job: Job) -> str:
    """By its first name; the list above has more."""
    more = len(job.names) - 1
    return f"{job.names[0]} (+{more})" if more else job.names[0]


def need_of(config: RunConfig) -> Need:
    """What a run needs on H200s.

    Raises:
        UserError: a model's shape is not known, or an arm's settings make no sense.
    """
    model = known_shape(config.model)
    targets = {name: known_shape(name, "ensemble.targets") for name in config.ensemble.targets}
    counted = hours(config, model, targets)
    memory, devices = _fitting(config, model, targets)
    note = "" if counted.there else f"{config.facts.source} not there"
    took = counted.gpu_hours(devices or SPLITS[-1])
    return Need(counted.edits, memory, devices, took, note)


def _fitting(
    config: RunConfig, model: ModelConfig, targets: dict[str, ModelConfig]
) -> tuple[int, int]:
    """Bytes on each of so many devices; 0 devices where `SPLITS` has not enough."""
    peak = 0
    for count in SPLITS:
        if count >= config.mesh.model or count == SPLITS[-1]:
            mesh = replace(config.mesh, data=1, model=max(count, config.mesh.model))
            peak = estimate(replace(config, mesh=mesh), model, targets).peak
            if peak <= DEVICE:
                return peak, mesh.model
    return peak, 0


def _sums(jobs: int, found: Sequence[Need]) -> list[str]:
    total = sum(need.gpu_hours for need in found)
    most = max((need.devices for need in found), default=0)
    longest = max((need.gpu_hours / (need.devices or SPLITS[-1]) for need in found), default=0.0)
    return [
        f"{jobs} jobs of at most {most} devices: {total:.1f} GPU hours, the longest takes "
        f"{longest:.1f} h; counted for H200s at {100 * SHARE:.0f} % of their peak"
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADS))]
    lines = []
    for row in rows:
        cells = [text.rjust(width) for text, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells, row[-1]]).rstrip())
    return lines
