"""What a run is told: ml_collections at the edge, frozen and checked dataclasses inside.

A config file returns a ``ConfigDict``; `run_config` turns it into a `RunConfig` once, and from
there on nothing can be misspelt or of the wrong type.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from jaxedit.config_checks import check
from jaxedit.config_groups import (
    ArmConfig,
    ContextsConfig,
    EnsembleConfig,
    EvalConfig,
    FactsConfig,
    FitConfig,
    MeshConfig,
    StatisticsConfig,
    UnrelatedConfig,
)
from jaxedit.config_hash import LATER, told, without_none
from jaxedit.errors import UserError
from jaxedit.typed import build

__all__ = [
    "MOMENTS",
    "ArmConfig",
    "ContextsConfig",
    "EnsembleConfig",
    "EvalConfig",
    "FactsConfig",
    "FitConfig",
    "MeshConfig",
    "RunConfig",
    "StatisticsConfig",
    "UnrelatedConfig",
    "arms",
    "base",
    "run_config",
    "to_dict",
]

MOMENTS = ("before", "immediate", "checkpoint", "after_all")
COMMON = (
    "title",
    "layers",
    "batch",
    "cases",
    "alone",
    "rect",
    "prune",
)  # of an arm, whatever its method


@dataclass(frozen=True)
class RunConfig:
    """A whole run.

    Attributes:
        model: a Hugging Face directory, a hub id or "embedded:<name>".
        facts: what is edited.
        arms: the methods compared, in the order in which they run.
        layers: edited by every arm that does not name its own; None takes those that the model
            brings in its editing.json, or those published for a model of its shape.
        dtype: of the parameters; edited leaves and solves are wider in any case.
        legacy_targets: encode Llama targets as published code does; see editors/rows.py.
        checkpoint_every: edits between two checkpoints.
        keep_checkpoints: how many of the latest; None keeps all.
        values_block: facts whose values are optimised together; None is checkpoint_every.
        seed: of everything that has no seed of its own.
        about: a sentence for the report: where the hyper-parameters come from.
    """

    model: str
    facts: FactsConfig
    arms: tuple[ArmConfig, ...]
    layers: tuple[int, ...] | None = None
    dtype: str = "float32"
    legacy_targets: bool | Literal["stripped"] = False
    mesh: MeshConfig = field(default_factory=MeshConfig)
    statistics: StatisticsConfig = field(default_factory=StatisticsConfig)
    contexts: ContextsConfig = field(default_factory=ContextsConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig, metadata=LATER)
    fit: FitConfig = field(default_factory=FitConfig, metadata=LATER)
    checkpoint_every: int = 50
    keep_checkpoints: int | None = None
    values_block: int | None = None
    seed: int = 0
    about: str = ""

    @property
    def hash(self) -> str:
        """Twelve hex digits that name this config's contents.

        Settings at their defaults are left out, so that a new setting renames no old run; so are
        the devices, which change no result.
        """
        anywhere = dataclasses.replace(self, mesh=MeshConfig())
        text = json.dumps(told(to_dict(anywhere), RunConfig), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def arm_hash(self, arm: ArmConfig) -> str:
        """As ``hash``, for one arm alone: what other arms do does not concern its checkpoints."""
        return dataclasses.replace(self, arms=(arm,)).hash


def run_config(raw: Mapping[str, Any] | ConfigDict) -> RunConfig:
    """Checks a config and freezes it.

    Raises:
        UserError: an unknown key (with the nearest known one), a missing one, a value of the
            wrong type or out of range; each names the flag.
    """
    plain = _plain_dict(raw)
    arms = plain.pop("arms", None)
    if not isinstance(arms, Mapping) or not arms:
        raise UserError(
            "--config.arms: name at least one arm, such as arms.d4s = dict(method='d4s')"
        )
    frozen = tuple(_arm(name, settings) for name, settings in arms.items())
    config = build(RunConfig, {**plain, "arms": frozen}, "--config")
    check(config)
    return config


def to_dict(config: RunConfig) -> dict[str, Any]:
    """The config in JSON's types; `run_config` reads it back."""
    raw = dataclasses.asdict(config)
    raw["arms"] = {
        arm.name: {
            "method": arm.method,
            "title": arm.title,
            "layers": arm.layers,
            "batch": arm.batch,
            "cases": arm.cases,
            "alone": arm.alone,
            "rect": arm.rect,
            "prune": arm.prune,
            **arm.settings,
        }
        for arm in config.arms
    }
    return json.loads(json.dumps(raw))


def base() -> Any:
    """A ``ConfigDict`` with every setting at its default: what config files start from."""
    config = _defaults(RunConfig, leave_out=("arms",))
    config.arms = ConfigDict(sort_keys=False)
    return config


def arms(**named: Mapping[str, Any]) -> ConfigDict:
    """The ``arms`` of a config, run in the order given."""
    return ConfigDict(
        {name: {**_arm_defaults(), **arm} for name, arm in named.items()},
        sort_keys=False,
    )


def _arm_defaults() -> dict[str, Any]:
    empty = {"layers": placeholder(tuple), "rect": placeholder(float), "prune": placeholder(float)}
    empty["cases"] = placeholder(int)
    return {**empty, "batch": 1, "alone": False}


def _defaults(cls: type, leave_out: tuple[str, ...] = ()) -> ConfigDict:
    config = ConfigDict(sort_keys=False)
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if item.name in leave_out:
            continue
        hint = without_none(hints[item.name])
        if dataclasses.is_dataclass(hint):
            config[item.name] = _defaults(hint)  # type: ignore[arg-type]
        elif item.default_factory is dict:
            config[item.name] = ConfigDict(sort_keys=False)
        elif item.default is dataclasses.MISSING or item.default is None:
            config[item.name] = placeholder(typing.get_origin(hint) or hint)
        else:
            config[item.name] = item.default
    return config


def _arm(name: str, raw: Any) -> ArmConfig:
    where = f"--config.arms.{name}"
    if not isinstance(raw, Mapping):
        raise UserError(f"{where}: expected a dictionary such as dict(method='d4s'), got {raw!r}")
    if not name.replace("_", "").replace("-", "").isalnum():
        raise UserError(f"{where}: an arm names a directory; use letters, digits, _ and -")
    settings = dict(raw)
    method = settings.pop("method", None)
    if not isinstance(method, str):
        raise UserError(f"{where}.method: name the editing method, such as 'd4s'")
    common = {key: settings.pop(key) for key in COMMON if key in settings}
    plain = json.loads(json.dumps(settings))
    values = {"name": name, "method": method, "title": name, **common, "settings": plain}
    return build(ArmConfig, values, where)


def _plain_dict(raw: Any) -> dict[str, Any]:
    """A dictionary of dictionaries of a ``ConfigDict`` (references resolved) or a mapping."""
    if hasattr(raw, "to_dict"):
        raw = raw.to_dict()
    return {
        str(key): _plain_dict(value) if isinstance(value, Mapping) else value
        for key, value in raw.items()
    }
