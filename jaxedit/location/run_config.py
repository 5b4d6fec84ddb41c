"""Writes the config of a run with the layers that were found: a Python file like configs/*.py."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxedit.data.fact import Fact
from jaxedit.data.factworld.edits import SHOWN
from jaxedit.errors import UserError
from jaxedit.ledger import plain, write_whole
from jaxedit.location.task import WORLD, Task

LIMIT = 100  # facts of the run
EVERY = 20  # edits between two scores of all facts so far

TEMPLATE = '''\
"""Layers that were looked for: ``config.about`` says how.

    python -m jaxedit.run --config={path} --workdir=out/edits
"""

from ml_collections import ConfigDict

from jaxedit.config import arms, base


def get_config() -> ConfigDict:
    config = base()
    config.about = {about}
    config.model = {model}
    config.dtype = {dtype}
    config.layers = {layers}
    config.legacy_targets = {legacy_targets}

{facts}

    config.arms = arms({method}={arm})

    config.statistics.source = {corpus}
    config.statistics.tokens = {tokens}

    config.eval.every = {every}
    config.eval.generate = ("before", "after_all")
    return config
'''


def write_run_config(
    workdir: Path,
    task: Task,
    layers: Sequence[int],
    why: str,
    settings: Mapping[str, Any],
    facts: Sequence[Fact],
    edited: Sequence[Fact],
) -> None:
    """Writes config.py, and facts.jsonl where the facts came in a form that runs do not read.

    Args:
      workdir: where.
      task: model, method and source of the facts.
      layers: those that were found.
      why: how they were chosen.
      settings: the method's hyper-parameters.
      facts: all that were read.
      edited: those that the layers were chosen on.
    """
    own = dict(settings)
    legacy = bool(own.pop("legacy_targets", False))
    arm = {"method": task.method, "title": task.method, **plain(_asdict(own))}
    lines = _facts(workdir, task, facts, edited)
    literals = {
        "about": f"Layers {', '.join(map(str, layers))} of {task.model}: {why}.",
        "model": task.model,
        "dtype": task.dtype,
        "layers": tuple(layers),
        "legacy_targets": legacy,
        "arm": arm,
        "corpus": task.text.source,
        "tokens": task.tokens,
        "every": EVERY,
    }
    text = TEMPLATE.format(
        path=workdir / "config.py",
        method=task.method,
        facts="\n".join(f"    config.facts.{name} = {_literal(x)}" for name, x in lines.items()),
        **{name: _literal(value, indent=4) for name, value in literals.items()},
    )
    write_whole(workdir / "config.py", text)


def _literal(value: Any, indent: int = 0) -> str:
    """The value as Python: strings in double quotes, an entry of a dictionary a line."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict):
        return repr(value)
    inside = " " * (indent + 4)
    lines = [f"{inside}{_literal(k)}: {_literal(v, indent + 4)},\n" for k, v in value.items()]
    return "{\n" + "".join(lines) + " " * indent + "}"


def _asdict(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
        for name, value in settings.items()
    }


def _facts(
    workdir: Path, task: Task, facts: Sequence[Fact], edited: Sequence[Fact]
) -> dict[str, Any]:
    """Settings of config.facts: others than those that the layers were chosen on, if possible."""
    source = task.source
    if source.startswith(WORLD):
        return {"source": source, "seed": SHOWN, "limit": LIMIT}
    name = source.removesuffix(".gz")
    if name.endswith(".jsonl"):
        return {"source": "jsonl", "path": source}
    if not name.endswith(".json"):
        return {"source": source, "limit": LIMIT}
    path = workdir / "facts.jsonl"
    others = [fact for fact in facts if fact not in edited and fact.previous] or list(edited)
    if not others:
        raise UserError(f"{source} holds no fact with another answer; name other --facts")
    distinct = {fact.question: dataclasses.asdict(fact) for fact in others}
    text = "".join(json.dumps(fact, ensure_ascii=False) + "\n" for fact in distinct.values())
    write_whole(path, text)
    return {"source": "jsonl", "path": str(path)}
