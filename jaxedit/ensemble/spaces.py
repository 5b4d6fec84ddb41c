"""Relative spaces of models, kept on disk for the next run: a file for each model and its anchors.

A file's name is a hash of what it was made from (every byte of the model's input embeddings, the
anchors' ids, the temperature and the form), and a label inside says the same in full. A file with
another label than its name asks for is refused, and one that is damaged is made again. The
target's file serves any plug-in with the same anchors: when a plug-in is edited again, its own
side alone is made anew.
"""

import functools
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jaxedit import hosts
from jaxedit.cache import default_cache
from jaxedit.ensemble.anchors import find_anchors
from jaxedit.ensemble.implicit import Basis
from jaxedit.ensemble.relative import TEMPERATURE, Side, Space, join, placed, side
from jaxedit.ensemble.spelling import spell
from jaxedit.errors import UserError
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import Mesh, fetch, replicate

FORM = 1  # of the files; another number, other files
ROWS = 4096  # of the embeddings, hashed at a time
DIGITS = 12
MATRIX = "relative"

Embeddings = Literal["input", "output"]


@dataclass(frozen=True)
class Label:
    """What a file's content was made from.

    Attributes:
      embeddings: hash of the model's input embeddings.
      anchors: hash of the anchors' ids in it.
      shape: words and anchors.
      temperature: of the softmax.
      dtype: of R.
      unit: whether rows of cosines were divided by their lengths.
      form: of the file.
    """

    embeddings: str
    anchors: str
    shape: tuple[int, int]
    temperature: float
    dtype: str
    unit: bool = True
    form: int = FORM

    def text(self) -> str:
        """As it stands in the file."""
        return json.dumps(asdict(self), sort_keys=True)

    def path(self, directory: Path) -> Path:
        """The file."""
        name = hashlib.sha256(self.text().encode()).hexdigest()[:16]
        return directory / f"relative-{self.embeddings[:DIGITS]}-{name}.safetensors"


def open_space(
    target: Transformer,
    plug: Transformer,
    rule: str = "deepen",
    *,
    cache: str | Path | None = None,
    temperature: float = TEMPERATURE,
    dtype: Any = jnp.float32,
    keep: bool = True,
    stored: bool = True,
    spelt: bool = False,
    sharded: bool = False,
    embeddings: Embeddings = "input",
    unit: bool = True,
) -> Space:
    """The relative space of a target and a plug-in, from the cache where it is, else made and kept.

    Args:
      target: the model to correct.
      plug: the plug-in, with its gate's row if it has one.
      rule: of the anchors; see `anchors.find_anchors`.
      cache: directory; the cache of statistics by default.
      temperature: of the softmax.
      dtype: of R, float32 or bfloat16.
      keep: whether R is held; if not it is computed where it is needed, and nothing is on disk.
      stored: whether to read and write the cache; a GPU makes R faster than a disk gives it.
      spelt: whether the target spells the plug-in's words that are no anchors (see spelling.py).
      sharded: whether each device holds only its columns of R, where there are several.
      embeddings: by which words are compared: of the input, or of the output, the head's rows.
      unit: whether rows of cosines are divided by their lengths; see `relative.side`.

    Raises:
      UserError: nothing is in common, an embedding is missing or not finite, or a file of the
        cache is of something else.
    """
    anchors = find_anchors(target.tokenizer, plug.tokenizer, rule)
    directory = default_cache() if cache is None else Path(cache)
    of = functools.partial(
        _side,
        directory=directory if keep and stored else None,
        temperature=temperature,
        dtype=jnp.dtype(dtype),
        keep=keep,
        sharded=sharded,
        which=embeddings,
        unit=unit,
    )
    space = join(
        anchors,
        of(target, anchors.main, name=target.name or "the target"),
        of(plug, anchors.plug, name=plug.name or "the plug-in"),
    )
    if not spelt:
        return space
    words = spell(target.tokenizer, plug.tokenizer, anchors)
    return replace(space, spelt=replicate(words, target.mesh))


def _side(
    lm: Transformer,
    ids: np.ndarray,
    *,
    directory: Path | None,
    temperature: float,
    dtype: Any,
    keep: bool,
    sharded: bool,
    which: Embeddings,
    unit: bool,
    name: str,
) -> Side:
    embeddings = _embeddings(lm, which)
    embeddings = fetch(embeddings) if len(lm.mesh.devices) > 1 else embeddings
    make = functools.partial(
        side,
        temperature=temperature,
        dtype=dtype,
        keep=keep,
        mesh=lm.mesh,
        sharded=sharded,
        unit=unit,
        name=name,
    )
    if directory is None:
        return make(embeddings, ids)
    asked = Label(
        embeddings_hash(embeddings),
        hashlib.sha256(np.ascontiguousarray(ids, np.int32).tobytes()).hexdigest(),
        (embeddings.shape[0], len(ids)),
        float(temperature),
        dtype.name,
        unit,
    )
    found = load_side(directory, asked, lm.mesh, sharded=sharded)
    if found is not None:
        return found
    logging.info("relative space: %d words of %s by %d anchors", asked.shape[0], name, len(ids))
    made = make(embeddings, ids)
    try:
        save_side(directory, asked, made)
    except OSError as error:
        # Making it again costs less than stopping here would.
        reason = error.strerror or error
        logging.warning("the cache %s does not take the relative space (%s)", directory, reason)
    return made


def _embeddings(lm: Transformer, which: Embeddings) -> Any:
    """[V, d]; where the head is the embedding, both are one."""
    if which == "output" and not lm.config.tied:
        return lm.params["head"]["kernel"].T
    return lm.params["embed"]["tokens"]


def embeddings_hash(embeddings: Any) -> str:
    """A hash of every byte: fine-tuning may change no more than a few rows."""
    made = hashlib.sha256(f"{embeddings.shape} {embeddings.dtype}".encode())
    for start in range(0, embeddings.shape[0], ROWS):
        made.update(np.ascontiguousarray(embeddings[start : start + ROWS]).tobytes())
    return made.hexdigest()


def load_side(directory: Path, label: Label, mesh: Mesh, *, sharded: bool = False) -> Side | None:
    """What a file holds, on the devices; None if there is none, or it is damaged.

    Raises:
      UserError: it is of something else.
    """
    path = label.path(directory)
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as stored:
            said = stored.metadata() or {}
            sums = json.loads(said.get("sums", "{}"))
            arrays = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        return _damaged(path, str(error))
    if said.get("label") != label.text():
        raise UserError(
            f"{path} holds the relative space of other embeddings than its name says "
            f"({_difference(said.get('label', ''), label)}); remove the file or give another "
            "cache, and it is made again"
        )
    wrong = _wrong(arrays, sums, label)
    if wrong is not None:
        return _damaged(path, wrong)
    names = ("peaks", "tops", "nearest")
    held = Side(arrays[MATRIX], *(arrays[name] for name in names))
    return placed(held, mesh, sharded=sharded)


def save_side(directory: Path, label: Label, made: Side) -> None:
    """Writes the file, beside and renamed: a reader sees a whole file or none.

    Raises:
      OSError: it cannot be written.
      ValueError: R is not held.
    """
    if isinstance(made.relative, Basis):
        raise ValueError("an R that is not held has nothing to be kept")
    if not hosts.first():
        return
    anchors = label.shape[1]  # without columns that only fill up
    held = {
        MATRIX: jax.device_get(made.relative)[:, :anchors],
        "peaks": jax.device_get(made.peaks)[:anchors],
        "tops": jax.device_get(made.tops)[:anchors],
        "nearest": jax.device_get(made.nearest),
    }
    arrays = {name: np.ascontiguousarray(x) for name, x in held.items()}
    sums = {name: _sum(array) for name, array in arrays.items()}
    said = {"label": label.text(), "sums": json.dumps(sums)}
    path = label.path(directory)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    directory.mkdir(parents=True, exist_ok=True)
    try:
        save_file(arrays, beside, metadata=said)
        os.replace(beside, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        beside.unlink(missing_ok=True)


def _wrong(arrays: Mapping[str, np.ndarray], sums: Mapping[str, int], label: Label) -> str | None:
    """What is wrong with a file's arrays, or None."""
    words, anchors = label.shape
    wanted = {
        MATRIX: ((words, anchors), label.dtype),
        "peaks": ((anchors,), "float32"),
        "tops": ((anchors,), "int32"),
        "nearest": ((words,), "int32"),
    }
    for name, (shape, dtype) in wanted.items():
        array = arrays.get(name)
        if array is None or array.shape != shape or array.dtype.name != dtype:
            return f"no array {name} {shape} {dtype}"
        if sums.get(name) != _sum(array):
            return f"the check sum of {name} is another"
    return None


def _sum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _damaged(path: Path, reason: str) -> None:
    logging.warning("%s is not used (%s); the relative space is made again", path, reason)


def _difference(said: str, label: Label) -> str:
    """In what a file's label differs from the one asked for."""
    try:
        there = dict(json.loads(said))
    except (ValueError, TypeError):
        return "its label is not one of a relative space"
    asked = json.loads(label.text())
    names = [name for name in {**asked, **there} if there.get(name) != asked.get(name)]
    return "; ".join(f"{n} {_short(there.get(n))} instead of {_short(asked.get(n))}" for n in names)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:DIGITS]}..."
