"""Finding and reading the files of published benchmarks: plain, gzipped, bzip2, or in a tar."""

from __future__ import annotations

import bz2
import csv
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from jaxedit.data import files
from jaxedit.errors import UserError

PACKED = ("", ".gz", ".bz2")
SPLITS = ("dev", "val", "test")


def find(data: Path, names: Sequence[str], what: str) -> Path:
    """The first of these files, packed or not, in a folder.

    Args:
        data: the folder.
        names: what the file may be called.
        what: its content, size and publisher, for the message.

    Raises:
        UserError: the folder or the file is missing.
    """
    found = find_any(data, names)
    if found is None:
        raise UserError(f"{data}: holds no {' or '.join(names)} ({what}); put the file there")
    return found


def find_any(data: Path, names: Sequence[str]) -> Path | None:
    """As :func:`find`, or None.

    Raises:
        UserError: the folder is missing.
    """
    if not data.is_dir():
        raise UserError(f"{data}: no such folder; name the one that holds the tasks' files")
    tried = [data / f"{name}{packed}" for name in names for packed in PACKED]
    return next((path for path in tried if path.exists()), None)


def read_text(path: Path) -> str:
    """A UTF-8 text, gzipped, bzip2 or plain.

    Raises:
        UserError: naming the file.
    """
    if path.suffix != ".bz2":
        return files.read_text(path)
    try:
        return bz2.decompress(path.read_bytes()).decode("utf-8-sig")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: is no bzip2 file of UTF-8 text ({error})") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; blank lines are passed over.

    Raises:
        UserError: ``file:line``; or the file has no object.
    """
    return parse_jsonl(read_text(path), str(path))


def parse_jsonl(text: str, where: str) -> list[dict[str, Any]]:
    """As :func:`read_jsonl`, of a text from ``where``."""
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            value = files.parse_json(line, where, number)
            if not isinstance(value, dict):
                raise UserError(f"{where}:{number}: {files.kind(value)}; an object is needed")
            records.append(value)
    if not records:
        raise UserError(f"{where}: holds no records")
    return records


def text(record: dict[str, Any], key: str, where: str) -> str:
    """The text under a key, as it stands.

    Raises:
        UserError: it is missing or not text.
    """
    if not isinstance(record.get(key), str):
        said = f"is {files.kind(record[key])}" if key in record else "is missing"
        raise UserError(f'{where}: "{key}" {said}; it must be text')
    return record[key]


def one_of(record: dict[str, Any], key: str, known: Sequence[str], where: str) -> int:
    """Which of ``known`` the value under a key is; a number is taken as its text.

    Raises:
        UserError: it is none of them.
    """
    value = record.get(key)
    if str(value) not in known:
        raise UserError(f'{where}: "{key}" is {value!r}; it must be one of {", ".join(known)}')
    return known.index(str(value))


def four_choice(path: Path) -> dict[str, dict[str, list[dict[str, str]]]]:
    """MMLU's questions: {split: {subject: records of question, A, B, C, D, answer}}.

    From a tar or a folder with .jsonl files, or .csv files without a header (the authors' own), a
    subject each; a folder's name says which split its files belong to.

    Raises:
        UserError: naming the file and the member.
    """
    found: dict[str, dict[str, list[dict[str, str]]]] = {split: {} for split in SPLITS}
    for member, content in _members(path):
        folders = [part.removesuffix("-jsonl") for part in member.parts[:-1]]
        split = next((f for f in reversed(folders) if f in SPLITS), None)
        if split is not None and member.suffix in (".jsonl", ".csv"):
            subject = member.stem.removesuffix(f"_{split}")
            where = f"{path}: {member}"
            rows = _csv(content, where) if member.suffix == ".csv" else parse_jsonl(content, where)
            found[split][subject] = rows
    if not found["test"]:
        raise UserError(f"{path}: has no folder test with a .jsonl or .csv file for each subject")
    return found


def _members(path: Path) -> Iterator[tuple[PurePosixPath, str]]:
    """(name, text) of every file; nothing is unpacked to disk."""
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.suffix in (".jsonl", ".csv")):
            yield PurePosixPath(file.relative_to(path).as_posix()), read_text(file)
        return
    try:
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda m: m.name):
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None and member.name.endswith((".jsonl", ".csv")):
                    yield PurePosixPath(member.name), content.read().decode("utf-8-sig")
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: cannot be read as a tar of UTF-8 texts ({reason})") from None


def _csv(content: str, where: str) -> list[dict[str, str]]:
    names = ("question", "A", "B", "C", "D", "answer")
    records = []
    for number, row in enumerate(csv.reader(io.StringIO(content)), start=1):
        if len(row) != len(names):
            raise UserError(f"{where}:{number}: has {len(row)} columns; {len(names)} are needed")
        records.append(dict(zip(names, row, strict=True)))
    return records
