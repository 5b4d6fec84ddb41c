"""The tensors of a directory's *.safetensors files, memory-mapped, by name."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from jaxedit.errors import UserError
from jaxedit.models.text import read_json

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


@dataclasses.dataclass(frozen=True)
class Stored:
    """Open files; nothing but their headers is read until a tensor is asked for."""

    directory: Path
    files: Mapping[str, Path]  # by tensor
    handles: Mapping[Path, Any]

    def __contains__(self, name: str) -> bool:
        """Whether there is a tensor of this name."""
        return name in self.files

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, from its file's header."""
        return tuple(self._slice(name).get_shape())

    def read(
        self, name: str, index: tuple[slice, ...], part: tuple[int, int] | None = None
    ) -> np.ndarray:
        """A slice of a tensor, by its dimensions; bfloat16 by ml_dtypes.

        With ``part`` (i, n) it is a slice of the i-th of n equal parts of the last axis. Nothing
        else of the file is read.
        """
        shape = self.shape(name)
        first = 0
        if part is not None:
            which, parts = part
            shape = (*shape[:-1], shape[-1] // parts)
            first = which * shape[-1]
        bounds = [s.indices(size)[:2] for s, size in zip(index, shape, strict=True)]
        bounds[-1] = bounds[-1][0] + first, bounds[-1][1] + first
        return self._slice(name)[tuple(slice(*each) for each in bounds)]

    def _slice(self, name: str) -> Any:
        return self.handles[self.files[name]].get_slice(name)


@contextlib.contextmanager
def open_stored(directory: Path) -> Iterator[Stored]:
    """All tensors of one directory: sharded with an index, or one file.

    Raises UserError if there is none, or one is missing or damaged.
    """
    if (directory / INDEX).is_file():
        paths = _indexed(directory)
    elif (directory / SINGLE).is_file():
        paths = [directory / SINGLE]
    else:
        paths = sorted(directory.glob("*.safetensors"))
        if len(paths) != 1:
            found = f"{len(paths)} *.safetensors files and no {INDEX}" if paths else "no weights"
            raise UserError(
                f"{directory} has {found}; save the model there as safetensors "
                "(pickled weights are never read)"
            )
    with contextlib.ExitStack() as stack:
        handles = {path: stack.enter_context(_open(path)) for path in paths}
        files = {name: path for path in paths for name in list(handles[path].keys())}
        yield Stored(directory, files, handles)


def _indexed(directory: Path) -> list[Path]:
    names = read_json(directory / INDEX).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise UserError(f"{directory / INDEX} has no weight_map; fetch it again")
    paths = [directory / name for name in sorted(set(names.values()))]
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path} does not exist, but {INDEX} names it; fetch the model again")
    return paths


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        handle = safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is truncated or damaged ({error}); fetch it again") from error
    with handle:
        yield handle
