"""Reading the text and JSON files that facts come in."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from jaxedit.errors import UserError

GZIP = b"\x1f\x8b"
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # an escaped half of a pair, its other half or not


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, gzipped or not, without its byte order mark.

    Raises:
        UserError: naming the file, if it is missing, unreadable, truncated or not UTF-8.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(GZIP) else data
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a directory, not a file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(f"{path}: the gzip file is truncated or damaged; fetch it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None


def parse_json(text: str, where: str, line: int | None = None) -> Any:
    """The JSON value in ``text``.

    Args:
        text: JSON.
        where: the name of its file, for the message.
        line: the text's line in that file, if the text is one line of it.

    Raises:
        UserError: ``file:line`` and what is wrong there.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except json.JSONDecodeError as error:
        place = f"{where}:{line or error.lineno}"
        raise UserError(f"{place}: broken JSON at column {error.colno}: {error.msg}") from None
    except UnicodeEncodeError:
        place = where if line is None else f"{where}:{line}"
        raise UserError(f"{place}: a string holds half of a surrogate pair; mend it") from None
    except (ValueError, RecursionError) as error:
        place = where if line is None else f"{where}:{line}"
        raise UserError(f"{place}: broken JSON: {error}") from None


def read_records(path: str | Path) -> list[Any]:
    """The list that a JSON file holds, or the values of a ``.jsonl`` file, one a line.

    Raises:
        UserError: if the file is missing or broken, holds something else, or the list is empty.
    """
    text = read_text(path)
    if str(path).removesuffix(".gz").endswith(".jsonl"):
        value = [record for _, record in json_lines(text, str(path))]
    else:
        value = parse_json(text, str(path))
    if not isinstance(value, list):
        raise UserError(f"{path}: holds {kind(value)}; a list of records is needed")
    if not value:
        raise UserError(f"{path}: holds no records")
    return value


def json_lines(text: str, where: str) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) of each line that is not blank.

    Raises:
        UserError: ``file:line`` and what is wrong there.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, parse_json(line.strip(), where, number)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def kind(value: Any) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    names |= {int: "a number", float: "a number", type(None): "null"}
    return names[type(value)]


def text_of(record: dict[str, Any], key: str) -> str:
    """The stripped text under ``key``.

    Raises:
        UserError: if it is missing or not text.
    """
    if key not in record:
        raise UserError(f'"{key}" is missing')
    value = record[key]
    if not isinstance(value, str):
        raise UserError(f'"{key}" is {kind(value)}; it must be text')
    return value.strip()


def texts_of(record: dict[str, Any], key: str) -> tuple[str, ...]:
    """The stripped texts of the list under ``key``, or none if the key is not there.

    Raises:
        UserError: if it is not a list of texts.
    """
    values = record.get(key, [])
    try:
        return tuple(map(str.strip, values)) if isinstance(values, list) else _refuse_list(key)
    except TypeError:  # str.strip takes nothing but text
        return _refuse_list(key)


def _refuse_list(key: str) -> NoReturn:
    raise UserError(f'"{key}" must be a list of texts') from None


def object_of(record: dict[str, Any], key: str) -> dict[str, Any]:
    """The object under ``key``.

    Raises:
        UserError: if it is missing or not an object.
    """
    value = record.get(key)
    if not isinstance(value, dict):
        raise UserError(f'"{key}" is missing or not an object')
    return value


def objects_of(record: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects of the list under ``key``, or none if the key is not there.

    Raises:
        UserError: if it is not a list of objects.
    """
    values = record.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise UserError(f'"{key}" must be a list of objects')
    return values
