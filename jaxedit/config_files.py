"""Files that say what to run: Python ones with a function that returns it, JSON ones as runs keep.

`config.json` of a run directory and what `config.to_dict` gives are both read back.
"""

from __future__ import annotations

import inspect
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxedit.config import ArmConfig, arms, base
from jaxedit.errors import UserError
from jaxedit.ledger import read_json

COMMON = tuple(ArmConfig.__dataclass_fields__)  # of an arm; all else are its method's settings


def call(path: str, function: str, where: str, *arguments: str | int, too_many: str = "") -> Any:
    """What a function of a Python file returns.

    Args:
        path: the file.
        function: its name there, such as "get_config".
        where: the flag, for messages.
        arguments: passed on.
        too_many: what to say if the function takes fewer; "" says what Python does.

    Raises:
        UserError: there is no such file, it does not run, or it has no such function.
    """
    if not Path(path).is_file():
        raise UserError(f"{where}: no such file")
    try:
        found = runpy.run_path(path).get(function)
        if found is None:
            raise UserError(f"{where}: has no function {function}{_example(function)}")
        if too_many and not _takes(found, len(arguments)):
            raise UserError(too_many)
        return found(*arguments)
    except UserError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        kind = type(error).__name__
        raise UserError(f"{where}: the file does not run ({kind}: {said or kind})") from error


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    return True


def json_config(path: str, where: str) -> ConfigDict:
    """The config of a run in a JSON file; settings left at None still take values of their type.

    Args:
        path: the file.
        where: the flag, for messages.

    Raises:
        UserError: there is no such file, or no config of a run in it.
    """
    if not Path(path).is_file():
        raise UserError(f"{where}: no such file")
    raw = read_json(Path(path))
    kept = raw.get("config", raw) if isinstance(raw, Mapping) else None
    if not isinstance(kept, Mapping) or not isinstance(kept.get("arms"), Mapping):
        raise UserError(f"{where}: holds no config of a run; give config.json of a run directory")
    config = base()
    try:
        _fill(config, {name: value for name, value in kept.items() if name != "arms"})
        config.arms = arms(**{name: _arm(arm) for name, arm in kept["arms"].items()})
    except (TypeError, ValueError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{where}: a setting has the wrong type ({said})") from error
    return config


def _fill(config: ConfigDict, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        group: Any = config.get(name)
        if isinstance(value, Mapping) and isinstance(group, ConfigDict):
            _fill(group, value)
        elif value is not None:
            config[name] = tuple(value) if isinstance(value, list) else value


def _arm(arm: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if name == "layers" and value is not None else value
        for name, value in arm.items()
        if value is not None or name not in COMMON
    }


def _example(function: str) -> str:
    return "; see configs/quickstart.py" if function == "get_config" else ""
