"""What a config's values may be, beyond their types."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from jaxedit.downstream.tasks import check_tasks
from jaxedit.errors import UserError
from jaxedit.metrics.formats import FORMATS
from jaxedit.metrics.protocols import check_protocol
from jaxedit.metrics.records import Role, When

if TYPE_CHECKING:
    from jaxedit.config import RunConfig

DTYPES = ("float32", "bfloat16")
ORDERS = ("file", "shuffled")
PLACES = ("device", "host")
SPLITS = ("train", "validation", "test")


def check(config: RunConfig) -> None:
    """Ranges and names; the types are right already.

    Raises:
        UserError: naming the flag.
    """
    _one_of(config.dtype, DTYPES, "--config.dtype")
    _one_of(config.mesh.solve, PLACES, "--config.mesh.solve")
    _one_of(config.facts.order or "file", ORDERS, "--config.facts.order")
    _one_of(config.facts.split or "train", SPLITS, "--config.facts.split")
    _one_of(config.fit.split or "train", SPLITS, "--config.fit.split")
    for protocol in config.eval.protocols:
        check_protocol(protocol, "--config.eval.protocols")
    for role, form in config.eval.formats.items():
        _one_of(role, get_args(Role), "--config.eval.formats")
        if not isinstance(form, str) or FORMATS.get(form, form).count("{}") != 1:
            known = ", ".join(FORMATS)
            raise UserError(
                f"--config.eval.formats.{role}: needs exactly one {{}} for the prompt, or one of "
                f"the names {known}"
            )
    for moment in config.eval.generate:
        _one_of(moment, get_args(When), "--config.eval.generate")
    positive = {
        "facts.limit": config.facts.limit,
        "fit.limit": config.fit.limit,
        "statistics.tokens": config.statistics.tokens,
        "statistics.documents": config.statistics.documents,
        "statistics.length": config.statistics.length,
        "eval.every": config.eval.every,
        "eval.max_new_tokens": config.eval.max_new_tokens,
        "eval.heldout_texts": config.eval.heldout_texts,
        "eval.tasks_limit": config.eval.tasks_limit,
        **{f"eval.at, {count}": count for count in config.eval.at},
        "checkpoint_every": config.checkpoint_every,
        "keep_checkpoints": config.keep_checkpoints,
        "ensemble.every": config.ensemble.every,
        "values_block": config.values_block,
        **{f"arms.{arm.name}.batch": arm.batch for arm in config.arms},
        **{f"arms.{arm.name}.cases": arm.cases for arm in config.arms},
        "mesh.data": config.mesh.data,
        "mesh.model": config.mesh.model,
    }
    for name, value in positive.items():
        if value is not None and value < 1:
            raise UserError(f"--config.{name}: must be at least 1, got {value}")
    if config.eval.tasks:
        check_tasks(config.eval.tasks, config.eval.tasks_data, "--config.eval.tasks")
    if config.eval.tasks_shots is not None and config.eval.tasks_shots < 0:
        raise UserError(f"--config.eval.tasks_shots: {config.eval.tasks_shots} is negative")
    for template in sum(config.contexts.templates or (), ()):
        if template.count("{}") != 1:
            raise UserError(f"--config.contexts.templates: {template!r} needs exactly one {{}}")
    for where, layers in [("layers", config.layers)] + [
        (f"arms.{arm.name}.layers", arm.layers) for arm in config.arms
    ]:
        if layers is not None and (not layers or tuple(sorted(set(layers))) != layers):
            raise UserError(f"--config.{where}: layers must ascend, each once; got {layers}")
    for arm in config.arms:
        if arm.alone and not config.eval.immediate:
            raise UserError(f"--config.eval.immediate: arm {arm.name} edits alone and needs it")
        if arm.rect is not None and not 0 < arm.rect <= 1:
            raise UserError(f"--config.arms.{arm.name}.rect: must be above 0 and at most 1")
        if arm.prune is not None and arm.prune <= 1:
            raise UserError(f"--config.arms.{arm.name}.prune: a logarithm's base is above 1")
    if config.ensemble.every is not None and config.keep_checkpoints is not None:
        raise UserError(
            "--config.keep_checkpoints: ensemble.every asks the checkpoints along the run; leave "
            "it at None, so that all are kept"
        )
    if config.eval.prompt_format.count("{}") != 1:
        raise UserError("--config.eval.prompt_format: needs exactly one {} for the prompt")
    if config.facts.order == "shuffled" and config.facts.seed is None:
        raise UserError("--config.facts.seed: facts.order=shuffled needs a seed")


def _one_of(value: str, known: tuple[str, ...], where: str) -> None:
    if value not in known:
        raise UserError(f"{where}: {value!r} is not one of {', '.join(known)}")
