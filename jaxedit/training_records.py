"""Records for methods that are trained once, or show a model examples: none is about an edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxedit.config import ArmConfig, FitConfig, RunConfig
from jaxedit.data.datasets import load_facts
from jaxedit.data.disjoint import disjoint
from jaxedit.data.fact import Fact
from jaxedit.data.factworld import World, training_edits
from jaxedit.editors import EDITORS
from jaxedit.editors.corpus import EMBEDDED
from jaxedit.editors.settings import fields
from jaxedit.errors import UserError


def needs_records(arm: ArmConfig, settings: Mapping[str, Any]) -> bool:
    """Whether an arm's method is trained once, or shows or learns from examples.

    Args:
        arm: the arm.
        settings: its hyper-parameters as resolved.
    """
    known = fields(arm.method)
    if "demonstrations" not in known:
        return "trained" in known
    own = {name: value for name, value in settings.items() if name in known}
    return EDITORS[arm.method](**own).needs_demonstrations


def training_records(
    config: RunConfig, edits: Sequence[Fact], settings: Mapping[str, Mapping[str, Any]]
) -> tuple[Fact, ...]:
    """The records that a config names, as many as it asks for; none if no arm needs any.

    Records that say in any words what is asked about the edits are left out, and so are such
    neighbours of the others.

    Args:
        config: the run's.
        edits: that they are not to be about.
        settings: by arm, its hyper-parameters as resolved.

    Raises:
        UserError: their source is wrong, has none left, or is the embedded world's for a model that
            does not know it.
    """
    needing = [arm for arm in config.arms if needs_records(arm, settings[arm.name])]
    if not needing:
        return ()
    asked = config.fit
    if asked.source == EMBEDDED and not config.model.startswith(f"{EMBEDDED}:"):
        raise UserError(
            f"--config.fit.source: {needing[0].method} needs training records, and {config.model} "
            "does not know the embedded world; name a data set or a file of facts"
        )
    found = disjoint(_loaded(asked), edits)
    if not found:
        raise UserError(
            f"--config.fit.source: {asked.source} has no record that is not about the edits; "
            "name another source"
        )
    return found[: asked.limit]


def _loaded(asked: FitConfig) -> list[Fact]:
    if asked.source == EMBEDDED:
        return training_edits(World())
    drawn: Any = (asked.seed, None, asked.split)
    return load_facts(asked.source, asked.path, None, *drawn).facts
