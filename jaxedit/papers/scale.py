"""How large an experiment is: which models, data and numbers stand for the paper's.

At scale "paper" the real models, data sets and numbers; at "tiny" the models that ship with the
package and the world that they know. All that a batch file says besides is the same at both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from jaxedit.config import arms, base
from jaxedit.errors import UserError
from jaxedit.papers.readers import Where

TINY, PAPER = "tiny", "paper"
SCALES = (TINY, PAPER)
SHOWN, POOLS = 1, 4  # the embedded pool for showing; every fourth seed orders it anew
Arms = Mapping[str, Mapping[str, Any]]


class Data(NamedTuple):
    """What is edited.

    Attributes:
        source, path: as in `config.FactsConfig`.
        prompt: the method's own prompt around questions of this data.
        unrelated: source of questions that no edit touches.
    """

    source: str
    path: str | None = None
    prompt: str = "{}"
    unrelated: str = "embedded"


def check_scale(scale: str) -> None:
    """Raises a UserError where the papers' batches have no such scale."""
    if scale not in SCALES:
        raise UserError(f"--scale={scale}: this batch has the scales {' and '.join(SCALES)}")


def run(
    scale: str, about: str, model: str, data: Data, count: int, some: Arms, seed: int = 0
) -> Any:
    """A run that edits one model; what both papers' experiments have in common.

    Args:
        scale: "tiny" or "paper".
        about: of the config.
        model: a directory, a hub id or "embedded:<name>".
        data: what is edited.
        count: how many facts.
        some: the arms.
        seed: draws and orders the facts.
    """
    config = base()
    config.about = about
    config.model = model
    config.facts.source = data.source
    if data.path:
        config.facts.path = data.path
    config.facts.limit = count
    config.facts.seed = SHOWN + POOLS * seed if data.source.startswith("embedded") else seed
    config.arms = arms(**some)
    config.eval.max_new_tokens = 10 if scale == TINY else 32
    config.eval.prompt_format = data.prompt
    config.statistics.source = "embedded" if scale == TINY else "model"
    config.contexts.seed = 42
    config.keep_checkpoints = 1 if scale == TINY else 2
    config.values_block = 50
    config.seed = seed
    return config


def named(scale: str, name: str, config: ConfigDict) -> Iterator[tuple[str, ConfigDict]]:
    """The config under its name: whole at the tiny scale, an arm a run where models are large."""
    if scale == TINY:
        yield name, config
        return
    for arm, settings in config.arms.items():
        own = config.copy_and_resolve_references()
        own.arms = arms(**{arm: settings.to_dict()})
        yield f"{name}: {arm}", own


def place(scale: str, name: str, arm: str, **more: Any) -> Where:
    """Where an arm of a config is found that `named` has named."""
    return Where(name if scale == TINY else f"{name}: {arm}", arm, **more)
