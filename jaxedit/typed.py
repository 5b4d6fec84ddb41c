"""Dataclasses from plain values, every key and type checked; mistakes named in one line."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from jaxedit.errors import UserError

T = TypeVar("T")


def suggestion(word: str, known: Iterable[str]) -> str:
    """ "; did you mean ...?" with the nearest known words, or the list of all of them."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(known))}"


def build(cls: type[T], raw: Mapping[str, Any], where: str) -> T:
    """A frozen dataclass from a mapping.

    Args:
        cls: its fields say what is known, required and of which type.
        raw: plain values.
        where: the flag's prefix for messages, such as "--config.eval".

    Raises:
        UserError: an unknown key (with the nearest known one), a missing one, a value of the
            wrong type; each names the flag.
    """
    hints = typing.get_type_hints(cls)
    fields = {item.name: item for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in raw:
        if key not in fields:
            raise UserError(f"{where}.{key}: no such setting{suggestion(key, fields)}")
    values = {}
    for name, item in fields.items():
        if raw.get(name) is None and _required(item):
            raise UserError(f"{where}.{name}: missing, and it has no default; set it")
        if name in raw:
            values[name] = _typed(raw[name], hints[name], f"{where}.{name}")
    return cls(**values)


def _required(item: dataclasses.Field[Any]) -> bool:
    return item.default is item.default_factory is dataclasses.MISSING


def _typed(value: Any, hint: Any, where: str) -> Any:
    """``value`` as the type hint asks, or a `UserError`; int counts as float, list as tuple."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or (hint is type(None) and value is None):
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        inner = [arg for arg in args if arg is not type(None)]
        return _typed(value, inner[0], where) if len(inner) == 1 else value
    if origin is typing.Literal and value in args:
        return value
    if origin is Mapping and isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, hint):  # type: ignore[arg-type]
            return value
        if isinstance(value, Mapping):
            return build(hint, value, where)  # type: ignore[arg-type]
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_typed(item, args[0], where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    is_count = hint is int and isinstance(value, bool)  # True is an int, but no number
    if isinstance(hint, type) and isinstance(value, hint) and not is_count:
        return value
    raise UserError(f"{where}: expected {_name(hint)}, got {value!r}")


def _name(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return f"a tuple of {_name(args[0])}"
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, args))}"
    names = {int: "int", float: "float", str: "str", bool: "True or False"}
    return names.get(hint, "a dictionary" if dataclasses.is_dataclass(hint) else str(hint))


def typed_settings(
    cls: type, raw: Mapping[str, Any], where: str, *, given: Iterable[str] = ()
) -> dict[str, Any]:
    """Keyword arguments for a dataclass, checked against its fields.

    Args:
        cls: an editor, say.
        raw: plain values.
        where: prefix for messages, such as "--config.arms.d4s".
        given: fields that are not a user's to set.

    Raises:
        UserError: as `build`.
    """
    hints = typing.get_type_hints(cls)
    known = [item.name for item in dataclasses.fields(cls) if item.init and item.name not in given]
    for key in raw:
        if key not in known:
            raise UserError(f"{where}.{key}: no such setting{suggestion(key, known)}")
    return {key: _typed(value, hints[key], f"{where}.{key}") for key, value in raw.items()}
