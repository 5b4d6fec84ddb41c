"""Checkpoints of a run: what an editor's state holds, and whose it is.

Orbax writes each one beside and renames it, so a kill leaves either a whole checkpoint or none.
The state is any nest of dicts, lists and tuples; its shape travels as JSON next to the arrays, so
that restoring needs no template, and arrays come back as numpy with the dtype they had (float64
stays float64 whatever JAX is set to).
"""

from __future__ import annotations

import errno
import logging as python_logging
import os
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np

from jaxedit import hosts
from jaxedit.errors import UserError

FORMAT = 1


@dataclass(frozen=True)
class Meta:
    """Whose checkpoint it is.

    Attributes:
        step: edits done.
        arm: the arm's name.
        model: the unedited model's hash.
        config: the arm's config hash.
        facts: ids of the facts in the order of the edits, of the whole run.
        version: of the code that wrote it.
    """

    step: int
    arm: str
    model: str
    config: str
    facts: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class Restored:
    """A checkpoint's state, as `Checkpoints.save` was given it, and its `Meta`."""

    state: Any
    meta: Meta


class Checkpoints:
    """The checkpoints in one directory; a context manager."""

    def __init__(self, directory: Path, *, keep: int | None = None, read_only: bool = False):
        """Opens the directory.

        Args:
            directory: made if need be, unless ``read_only``.
            keep: how many of the latest to keep; None keeps all.
            read_only: write nothing, not even the directory.
        """
        import orbax.checkpoint as ocp

        self._ocp = ocp
        self._directory = directory.absolute()
        self._manager = None
        self._read_only = read_only or not hosts.first()
        self._keep = None if self._read_only else keep
        if not self._read_only:
            self._directory.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        """The manager, if there is a directory to manage."""
        if not self._directory.is_dir():
            return
        ocp, read_only = self._ocp, self._read_only
        with _quiet():
            options = ocp.CheckpointManagerOptions(
                max_to_keep=self._keep,
                create=False,
                read_only=read_only,
                cleanup_tmp_directories=not read_only,
                enable_async_checkpointing=False,
                multiprocessing_options=_alone(),
            )
            self._manager = ocp.CheckpointManager(
                self._directory, options=options, item_names=("state", "meta")
            )

    def __enter__(self) -> Self:
        """Open until the end of the block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Waits for what is being written."""
        if self._manager is not None:
            self._manager.close()

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps with a whole checkpoint, ascending; on every process those that the first wrote."""
        if not hosts.first():
            self._manager.reload() if self._manager else self._open()
        return tuple(sorted(self._manager.all_steps())) if self._manager else ()

    def save(self, state: Any, meta: Meta) -> None:
        """Writes one checkpoint and returns when it is whole; only the first process does.

        Raises:
            OSError: with errno ENOSPC when the disk is full; earlier checkpoints stay.
        """
        if not hosts.first():
            return
        assert self._manager is not None
        skeleton, arrays = _take_apart(state)
        args = self._ocp.args
        items: dict[str, Any] = {
            "meta": args.JsonSave({"format": FORMAT, "state": skeleton, **asdict(meta)})
        }
        if arrays:
            items["state"] = args.PyTreeSave(arrays)
        try:
            self._manager.save(meta.step, args=args.Composite(**items), force=True)
        except Exception as error:
            if "No space left" in str(error) or "RESOURCE_EXHAUSTED" in str(error):
                raise OSError(
                    errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._directory)
                ) from error
            raise

    def meta(self, step: int | None = None) -> Meta | None:
        """Who wrote the checkpoint of ``step`` (default: the latest); None if there is none."""
        return None if not self.steps else self._read_meta(self._step(step))[0]

    def restore(self, step: int | None = None) -> Restored | None:
        """The checkpoint of ``step`` (default: the latest); None if there is none at all.

        Raises:
            UserError: there are checkpoints, but not of this step.
        """
        if not self.steps or self._manager is None:
            return None
        step = self._step(step)
        meta, skeleton = self._read_meta(step)
        names = _leaf_names(skeleton)
        arrays: Mapping[str, np.ndarray] = {}
        if names:
            as_numpy = self._ocp.RestoreArgs(restore_type=np.ndarray)
            wanted = self._ocp.args.PyTreeRestore(restore_args=dict.fromkeys(names, as_numpy))
            arrays = self._manager.restore(step, args=self._ocp.args.Composite(state=wanted))[
                "state"
            ]
        return Restored(_put_together(skeleton, arrays), meta)

    def _step(self, step: int | None) -> int:
        if step is None:
            return self.steps[-1]
        if step not in self.steps:
            listed = ", ".join(map(str, self.steps))
            raise UserError(
                f"--step={step}: no checkpoint of it in {self._directory}; there are {listed}"
            )
        return step

    def _read_meta(self, step: int) -> tuple[Meta, Any]:
        assert self._manager is not None
        wanted = self._ocp.args.Composite(meta=self._ocp.args.JsonRestore())
        try:
            raw = dict(self._manager.restore(step, args=wanted)["meta"])
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"{self._directory / str(step)}: unreadable checkpoint "
                f"({str(error).splitlines()[0]}); remove that directory to go on from before"
            ) from None
        if raw.pop("format") != FORMAT:
            raise UserError(
                f"{self._directory / str(step)}: a checkpoint in another format; "
                "use the version of jaxedit that wrote it"
            )
        skeleton = raw.pop("state")
        return Meta(**{**raw, "facts": tuple(raw["facts"])}), skeleton


def _alone() -> Any:
    """Each process keeps to itself: the first writes what all of them hold."""
    from orbax.checkpoint.options import MultiprocessingOptions

    if not jax.distributed.is_initialized():
        return MultiprocessingOptions()
    own = jax.process_index()
    return MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )


def check_owner(found: Meta, expected: Meta, where: Path) -> None:
    """Refuses to go on from a checkpoint of something else.

    Raises:
        UserError: it is of another model, config or list of facts.
    """
    reasons = {
        "model": (found.model, expected.model),
        "config": (found.config, expected.config),
        "list of facts": (found.facts, expected.facts),
    }
    for noun, (theirs, ours) in reasons.items():
        if theirs != ours:
            names = "" if noun == "list of facts" else f" ({theirs}, here {ours})"
            raise UserError(
                f"{where}: a checkpoint of another {noun}{names}; "
                "give another --workdir or what it was made with"
            )


def _take_apart(tree: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """A nest as (JSON skeleton, named arrays)."""
    arrays: dict[str, np.ndarray] = {}

    def walk(node: Any) -> Any:
        is_scalar = isinstance(node, (bool, int, float, str)) and not isinstance(node, np.generic)
        if node is None or is_scalar:  # np.float64 is a float, too
            return {"value": node}
        if isinstance(node, Mapping):
            return {"dict": [[_key(key), walk(node[key])] for key in node]}
        if isinstance(node, list):
            return {"list": [walk(item) for item in node]}
        if type(node) is tuple:
            return {"tuple": [walk(item) for item in node]}
        if isinstance(node, np.generic) or hasattr(node, "__array__"):
            array = np.asarray(node)
            if array.size == 0:  # Orbax refuses them
                return {"empty": [list(array.shape), array.dtype.name]}
            name = f"{len(arrays):05d}"
            arrays[name] = array
            return {"array": name}
        raise TypeError(f"a checkpoint cannot hold {type(node).__name__}")

    return walk(tree), arrays


def _put_together(skeleton: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    [(kind, content)] = skeleton.items()
    if kind == "value":
        return content
    if kind == "array":
        return arrays[content]
    if kind == "empty":
        return np.zeros(content[0], content[1])
    if kind == "dict":
        return {key: _put_together(item, arrays) for key, item in content}
    items = [_put_together(item, arrays) for item in content]
    return tuple(items) if kind == "tuple" else items


def _leaf_names(skeleton: Any) -> list[str]:
    [(kind, content)] = skeleton.items()
    if kind == "array":
        return [content]
    if kind == "dict":
        return [name for _, item in content for name in _leaf_names(item)]
    if kind in ("list", "tuple"):
        return [name for item in content for name in _leaf_names(item)]
    return []


def _key(key: Any) -> Any:
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        raise TypeError(f"a checkpoint's dictionaries have str or int keys, not {key!r}")
    return key


@contextmanager
def _quiet():
    """Orbax warns about what a read-only directory cannot do; that is what we asked for."""
    logger = python_logging.getLogger("absl")
    before = logger.level
    logger.setLevel(python_logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
