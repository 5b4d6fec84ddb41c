"""What names a config: all that it says beyond the defaults."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

LATER = {"later": True}  # a group that runs are older than: at its defaults no part of a hash


def told(raw: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """What a plain config says beyond the defaults of its dataclass."""
    found = {}
    hints = typing.get_type_hints(cls)
    defaults = {item.name: _default(item) for item in dataclasses.fields(cls)}
    later = {item.name for item in dataclasses.fields(cls) if item.metadata.get("later")}
    for name, value in raw.items():
        hint = without_none(hints.get(name, Any))
        many = typing.get_args(hint)
        if isinstance(value, Mapping) and many and dataclasses.is_dataclass(many[0]):
            kind = many[0]
            found[name] = [[key, told(item, kind)] for key, item in value.items()]  # type: ignore[arg-type]
        elif isinstance(value, Mapping) and dataclasses.is_dataclass(hint):
            own = told(value, hint)  # type: ignore[arg-type]
            if own or name not in later:
                found[name] = own
        elif name not in defaults or value != json.loads(json.dumps(defaults[name])):
            found[name] = value
    return found


def _default(item: dataclasses.Field[Any]) -> Any:
    if item.default_factory is not dataclasses.MISSING:
        return None if dataclasses.is_dataclass(item.default_factory) else item.default_factory()
    return "" if item.default is dataclasses.MISSING else item.default


def without_none(hint: Any) -> Any:
    """The hint of an optional value's other kind."""
    kinds = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    return kinds[0] if typing.get_origin(hint) is types.UnionType else hint
