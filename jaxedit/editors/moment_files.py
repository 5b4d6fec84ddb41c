"""Second moments on disk: a file a layer, and one for a pass that has not come to its end.

A file's name is a hash of what it holds, and a label inside says the same in full. A file with
another label than its name asks for (copied, renamed, of another model) is refused and never
used; one that cannot be read is reported and made again.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from jaxedit.editors.statistics import GROUP, SITE, Pass, check_moments
from jaxedit.errors import UserError
from jaxedit.models.batches import MOST_ROWS, TOKENS

FORM = 1  # of the files; another number, other files
MODEL_DIGITS = 12
UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError)


@dataclass(frozen=True)
class Request:
    """What second moments are asked for, but for the layer: the key of their files.

    Attributes:
      model: fingerprint.
      dtype: of the forward pass.
      corpus: identity of the text.
      tokens: how many are wanted, or None.
      documents: how many are wanted, or None.
      length: tokens kept of a document.
      site: where keys are read.
      form: of the files.
    """

    model: str
    dtype: str
    corpus: str
    tokens: int | None
    documents: int | None
    length: int
    site: str = SITE
    form: int = FORM

    def label(self, layer: int) -> dict[str, Any]:
        """What the file of a layer says of itself."""
        return {**asdict(self), "layer": layer}

    def path(self, directory: Path, layer: int) -> Path:
        """The file of a layer."""
        name = f"{_prefix(self.model)}-layer{layer}-{_hash(self.label(layer))}.npz"
        return directory / name

    def pass_label(self, layers: Sequence[int], devices: int) -> dict[str, Any]:
        """What the file of an unfinished pass says: how batches are formed belongs to it."""
        batches = {"devices": devices, "group": GROUP, "tokens": TOKENS, "rows": MOST_ROWS}
        return {**asdict(self), "layers": sorted(layers), "batches": batches}

    def pass_path(self, directory: Path, layers: Sequence[int], devices: int) -> Path:
        """The file of an unfinished pass."""
        label = self.pass_label(layers, devices)
        return directory / f"unfinished-{self.model[:MODEL_DIGITS]}-{_hash(label)}.npz"


class Stored(NamedTuple):
    """The second moment of one layer as it was kept.

    Attributes:
      matrix: C, [v, v] float64; None in a listing.
      tokens: N.
      label: what the file says it is of.
      source: the corpus, as it was called then.
      path: the file.
    """

    matrix: np.ndarray | None
    tokens: int
    label: dict[str, Any]
    source: str
    path: Path


def _prefix(model: str) -> str:
    return f"moments-{model[:MODEL_DIGITS]}"


def _hash(label: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(label).encode()).hexdigest()[:16]


def _text(label: Mapping[str, Any]) -> str:
    return json.dumps(label, sort_keys=True)


def load(path: Path, label: Mapping[str, Any], d_ff: int) -> Stored | None:
    """The second moment in a file; None if there is none, or none that can be read.

    Args:
      path: the file.
      label: what it is to say of itself.
      d_ff: width of its matrix.

    Raises:
      UserError: it is of something else, or its matrix is no second moment.
    """
    arrays = _read(path, label)
    if arrays is None:
        return None
    try:
        layer, matrix, tokens = label["layer"], arrays["matrix"], int(arrays["tokens"])
        source = str(arrays["source"])
    except (KeyError, TypeError, ValueError) as error:
        _unusable(path, error)
        return None
    check_moments({layer: matrix}, [layer], d_ff, f"{path} (remove it)")
    return Stored(matrix, tokens, dict(label), source, path)


def save(
    files: Mapping[Path, tuple[Mapping[str, Any], np.ndarray]], tokens: int, source: str
) -> None:
    """Writes second moments, (label, matrix) by file.

    All are written beside and only then renamed: a reader sees a whole file, and there is next to
    no time at which some layers of a pass are kept and others are not.
    """
    beside = {path: _beside(path) for path in files}
    try:
        for path, (label, matrix) in files.items():
            _write(beside[path], label, {"matrix": matrix, "tokens": tokens, "source": source})
        for path, written in beside.items():
            os.replace(written, path)
    finally:
        for written in beside.values():
            written.unlink(missing_ok=True)


def load_pass(path: Path, label: Mapping[str, Any]) -> Pass | None:
    """How far an earlier pass got; None if there was none, or its file cannot be read.

    Raises:
      UserError: the file is of another pass.
    """
    arrays = _read(path, label)
    if arrays is None:
        return None
    try:
        sums = {layer: arrays[f"layer_{layer}"] for layer in label["layers"]}
        counts = {name: int(arrays[name]) for name in Pass._fields if name != "sums"}
    except (KeyError, TypeError, ValueError) as error:
        _unusable(path, error)
        return None
    return Pass(sums, **counts)


def save_pass(path: Path, label: Mapping[str, Any], state: Pass) -> None:
    """Writes how far a pass is, beside and renamed."""
    counts = {name: getattr(state, name) for name in Pass._fields if name != "sums"}
    sums = {f"layer_{layer}": np.asarray(total) for layer, total in state.sums.items()}
    beside = _beside(path)
    try:
        _write(beside, label, {**counts, **sums})
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def listed(directory: Path, model: str) -> list[Stored]:
    """What is kept of a model, by corpus, number and layer; matrices are not read."""
    found = []
    for path in directory.glob(f"{_prefix(model)}-*.npz"):
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                label = json.loads(str(stored["label"]))
                if label["model"] == model:
                    tokens, source = int(stored["tokens"]), str(stored["source"])
                    found.append(Stored(None, tokens, label, source, path))
        except (*UNREADABLE, TypeError) as error:
            logging.warning("%s cannot be read (%s); remove it", path, error)
    return sorted(found, key=lambda one: (one.source, one.tokens, one.label["layer"]))


def _read(path: Path, label: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """The arrays of a file that says it is of `label`."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            said = str(stored["label"]) if "label" in stored else ""
            arrays = {name: stored[name] for name in stored.files} if said == _text(label) else {}
    except UNREADABLE as error:
        _unusable(path, error)
        return None
    if not arrays:
        raise UserError(
            f"{path} holds something else than its name says ({_difference(said, label)}); "
            "remove the file or give another --cache, and the statistics are computed again"
        )
    return arrays


def _difference(said: str, label: Mapping[str, Any]) -> str:
    """In what a file's label differs from the one asked for."""
    try:
        there = dict(json.loads(said))
    except (ValueError, TypeError):
        return "its label is not one of statistics"
    names = [name for name in (*label, *there) if there.get(name) != label.get(name)]
    return "; ".join(
        f"{name} {_short(there.get(name))} instead of {_short(label.get(name))}"
        for name in dict.fromkeys(names)
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:MODEL_DIGITS]}..."


def _unusable(path: Path, error: Exception) -> None:
    logging.warning("%s is not used (%s); the statistics are computed again", path, error)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _write(path: Path, label: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    with path.open("wb") as file:
        np.savez(file, label=_text(label), **arrays)
        file.flush()
        os.fsync(file.fileno())
