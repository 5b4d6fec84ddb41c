"""Settings of a config that the command line names, such as config.arms.d4s.values.steps.

A setting that a config has is taken as it is there. A method's may be one that the config leaves to
the model or to what is published: the method checks its name and type.
"""

from __future__ import annotations

import ast
from typing import Any

from ml_collections import ConfigDict

from jaxedit.errors import UserError
from jaxedit.typed import suggestion


def check_override(config: Any, path: str, value: str) -> None:
    """Refuses ``--config.a.b=value`` if the config has no such setting, or of another type.

    Raises:
        UserError: naming the first part that the config lacks, and its neighbour.
    """
    if is_left_out(config, path):
        return
    node, parts = config, path.split(".")[1:]
    for depth, part in enumerate(parts):
        known = list(node.keys()) if hasattr(node, "keys") else []
        if part not in known:
            where = ".".join(["--config", *parts[: depth + 1]])
            hint = suggestion(part, known) if known else "; it is a value, not a group"
            raise UserError(f"{where}: no such setting{hint}")
        parent, node = node, node[part]
    kind = parent.get_type(parts[-1])
    if kind in (int, float):
        try:
            kind(value)
        except ValueError:
            raise UserError(f"--{path}: expected {kind.__name__}, got {value!r}") from None


def is_ours(config: Any, path: str) -> bool:
    """Whether `put` has to set it, as config_flags cannot.

    That is so of what the config leaves out, and of what bears the name of a method of its
    dictionaries: ``values``.
    """
    hidden = any(hasattr(ConfigDict, part) for part in path.split(".")[1:])
    return hidden or is_left_out(config, path)


def is_left_out(config: Any, path: str) -> bool:
    """Whether it is a setting of an arm's method that the config does not have."""
    node, parts = config, path.split(".")[1:]
    for depth, part in enumerate(parts):
        if not hasattr(node, "keys"):
            return False
        if part not in node:
            return depth > 1 and parts[0] == "arms" and "method" in config.arms[parts[1]]
        node = node[part]
    return False


def put(config: ConfigDict, path: str, value: str) -> None:
    """Sets it in place to what the text means: a number, a tuple, None, ...; else a word.

    Args:
        config: changed.
        path: begins with "config.", and has passed `check_override`.
        value: as the command line has it.
    """
    *groups, name = path.split(".")[1:]
    node: Any = config
    with config.unlocked(), config.ignore_type():
        for group in groups:
            if group not in node:
                node[group] = ConfigDict()
            node = node[group]
        node[name] = _meant(value)


def _meant(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(value, value)
