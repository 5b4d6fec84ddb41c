"""What an editor has trained once: taken from the cache, or trained now and kept there.

It is kept under a hash of the model, the method with all of its settings, and the training records.
A training that is broken off goes on when the same is asked for again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from absl import logging

from jaxedit import hosts
from jaxedit.cache import default_cache
from jaxedit.checkpoints import Checkpoints, Meta
from jaxedit.data.fact import Fact
from jaxedit.editors.meta_training import TrainedOnce, train
from jaxedit.editors.resources import check_writable, fingerprint
from jaxedit.models.transformer import Transformer

FORMAT = 1  # of what is kept, and of the numbers that the same settings give
HASH_DIGITS = 16

Editor = TypeVar("Editor", bound=TrainedOnce)


def is_trained_once(method: type) -> bool:
    """Whether a method's editor needs training records."""
    return issubclass(method, TrainedOnce)


def fitted(
    editor: Editor, lm: Transformer, facts: Sequence[Fact], cache: Path | None = None
) -> Editor:
    """The editor with what it has trained on these records.

    Args:
      editor: the method with its settings.
      lm: the unedited model.
      facts: training records, none of which is about an edit.
      cache: directory; `default_cache` by default.

    Raises:
      UserError: there are too few records, or the cache cannot be written.
      NotFinite: a loss is not; the same call goes on from the last checkpoint.
    """
    base = default_cache() if cache is None else Path(cache)
    owner = key(editor, lm, facts)
    name = type(editor).__name__.lower()
    directory = base / "trained" / f"{name}-{owner[:HASH_DIGITS]}"
    tree = _kept(directory / "network")
    if not hosts.agreed(tree is not None):
        check_writable(base)
        problem = editor.problem(lm, facts)
        made = train(problem, editor.training, directory=directory / "training", owner=owner)
        tree = editor.pack(made.params)
        with Checkpoints(directory / "network") as checkpoints:
            checkpoints.save(tree, Meta(made.steps, name, fingerprint(lm), owner, (), ""))
        if hosts.first():
            shutil.rmtree(directory / "training", ignore_errors=True)
    else:
        logging.info("%s: trained already (%s)", name, directory)
    return dataclasses.replace(editor, trained=editor.unpack(lm, tree))  # type: ignore[type-var]


def key(editor: TrainedOnce, lm: Transformer, facts: Sequence[Fact]) -> str:
    """A hash of all that the trained numbers depend on, as 64 hex digits."""
    said: Mapping[str, Any] = {
        "format": FORMAT,
        "method": type(editor).__name__,
        "model": fingerprint(lm),
        "settings": editor.trained_by(),
        "records": [dataclasses.asdict(fact) for fact in facts],
    }
    text = json.dumps(said, default=_plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else str(value)  # type: ignore[arg-type]


def _kept(directory: Path) -> Any:
    """What was kept there; None if there is nothing."""
    with Checkpoints(directory, read_only=True) as checkpoints:
        found = checkpoints.restore()
    return None if found is None else found.state
