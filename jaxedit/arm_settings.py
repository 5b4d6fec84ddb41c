"""What an arm's method is set to: what its config gives, over what comes with the model."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxedit.config import ArmConfig, RunConfig
from jaxedit.editors import EDITORS
from jaxedit.editors.settings import fields, settings_for
from jaxedit.ensemble.plug_batches import Training
from jaxedit.errors import UserError
from jaxedit.models.config import ModelConfig
from jaxedit.typed import suggestion, typed_settings

GIVEN = (
    "layers",
    "statistics",
    "contexts",
    "legacy_targets",
    "unrelated",
    "demonstrations",
    "trained",
    "format",
    "partway",
)  # fields that are no setting
ONCEEDIT = "onceedit"


def check_settings(arm: ArmConfig) -> dict[str, Any]:
    """The hyper-parameters that an arm's config gives, typed.

    Raises:
        UserError: the method or a setting is unknown or of the wrong type.
    """
    where = f"--config.arms.{arm.name}"
    if arm.method not in EDITORS:
        hint = suggestion(arm.method, EDITORS)
        raise UserError(f"{where}.method: {arm.method!r} is no editing method{hint}")
    return typed_settings(EDITORS[arm.method], arm.settings, where, given=GIVEN)


def arm_settings(config: RunConfig, arm: ArmConfig, model: ModelConfig) -> dict[str, Any]:
    """An arm's layers and hyper-parameters: its own, over those that come with the model.

    Raises:
        UserError: no layers are named and none come with the model, or one does not exist.
    """
    given = check_settings(arm)
    layers = arm.layers or config.layers
    try:
        found = settings_for(model, config.model, arm.method)
    except UserError as error:
        if layers is None and "layers" in fields(arm.method) and arm.method != ONCEEDIT:
            raise UserError(
                f"--config.layers: missing, and {config.model} brings none for {arm.method}; name "
                f"the layers to edit, of 0 to {model.n_layers - 1}, such as --config.layers=1,2,3"
            ) from error
        found = {}
    found.pop("legacy_targets", None)  # the whole run's, in its config
    for group in ("values", "training"):  # what is given of them, over what comes with the model
        base = found.get(group, getattr(EDITORS[arm.method], group, None))
        if base is not None and group in given:
            changes = {name: getattr(given[group], name) for name in arm.settings[group]}
            given[group] = dataclasses.replace(base, **changes)
    layers = found.get("layers", ()) if layers is None else layers
    if arm.method == ONCEEDIT:  # prompts are wrapped alike in training and in every answer
        training = given.get("training") or found.get("training") or Training()
        given["training"] = dataclasses.replace(training, format=config.eval.prompt_format)
    if arm.method == ONCEEDIT or "layers" not in fields(arm.method):
        layers = ()
    for layer in layers:
        if not 0 <= layer < model.n_layers:
            where = f"--config.arms.{arm.name}.layers" if arm.layers else "--config.layers"
            raise UserError(
                f"{where}: layer {layer} does not exist; {config.model} has layers 0 to "
                f"{model.n_layers - 1}"
            )
    return {**found, **given, "layers": layers}
