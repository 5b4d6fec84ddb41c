"""Records for methods that are trained once, or show a model examples: none is about an edit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxedit.config import FitConfig, RunConfig
from jaxedit.data.datasets import load_facts
from jaxedit.data.disjoint import disjoint
from jaxedit.data.fact import Fact
from jaxedit.data.factworld import World, training_edits
from jaxedit.editors.corpus import EMBEDDED
from jaxedit.editors.settings import fields
from jaxedit.errors import UserError

NEEDED_BY = {"trained", "demonstrations"}  # fields of editors that come from records


def needs_records(config: RunConfig) -> bool:
    """Whether any arm does."""
    return any(fields(arm.method) & NEEDED_BY for arm in config.arms)


def training_records(config: RunConfig, edits: Sequence[Fact]) -> tuple[Fact, ...]:
    """The records that a config names, as many as it asks for; none if no arm needs any.

    Records that say in any words what is asked about the edits are left out, and so are such
    neighbours of the others.

    Raises:
        UserError: their source is wrong, has none left, or is the embedded world's for a model that
            does not know it.
    """
    if not needs_records(config):
        return ()
    asked = config.fit
    if asked.source == EMBEDDED and not config.model.startswith(f"{EMBEDDED}:"):
        needing = next(arm for arm in config.arms if fields(arm.method) & NEEDED_BY)
        raise UserError(
            f"--config.fit.source: {needing.method} needs training records, and {config.model} "
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
