"""Compiled programs: kept on disk for the next start, and told of while they take long.

A program is compiled before its first run. Where that takes seconds, a line says what is being
compiled, another one how long it took, and at the end how much there was of either.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.monitoring
from absl import logging

from jaxedit.cache import default_cache

CHOSEN = "JAX_COMPILATION_CACHE_DIR"  # JAX's own: a directory of the user's
LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"  # compilation is next
COMPILED = "/jax/core/compile/backend_compile_duration"
FOUND = "/jax/compilation_cache/cache_hits"
NAMED = "/jaxedit/program"  # our own: what the program is of that is traced now
MOST = 4 * 1024**3  # bytes of programs; those not used for longest go first
LONG = 5.0  # seconds of a compilation that is worth a line
LISTED = 3  # programs that took longest; the largest shapes of one
UNNAMED = "jit(_fun)"  # what pmap calls every program
CPU = Path("/proc/cpuinfo")


@dataclass
class Programs:
    """Programs that this process has made so far, and those that it found made.

    Attributes:
        asked: programs that were compiled or taken from the disk.
        found: those taken from the disk.
        seconds: that all of it took, by what they compute.
    """

    asked: int = 0
    found: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    _named: tuple[str, str] = ("", "")
    _compiling: threading.Timer | None = None

    def told(self) -> str:
        """For people."""
        longest = sorted(self.seconds.items(), key=lambda item: -item[1])[:LISTED]
        most = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in longest if seconds >= 1)
        made, total = self.asked - self.found, sum(self.seconds.values())
        counts = f"programs: {made} compiled, {self.found} found compiled, {total:.0f} s"
        return f"{counts} ({most})" if most else counts

    def happened(self, event: str, **said: str | int) -> None:
        """Listens to events of JAX, and to our own."""
        self.found += event == FOUND
        if event == NAMED:
            self._named = str(said["name"]), str(said["shape"])

    def timed(self, event: str, duration_secs: float, **said: str | int) -> None:
        """Listens to durations of JAX."""
        if event not in (LOWERED, COMPILED):
            return
        name, whole = self._names(str(said.get("fun_name", "")))
        if self._compiling is not None:
            self._compiling.cancel()
            self._compiling = None
        if event == LOWERED:
            self._compiling = threading.Timer(LONG, _say, (whole,))
            self._compiling.daemon = True
            self._compiling.start()
            return
        self.asked += 1
        self.seconds[name] = self.seconds.get(name, 0.0) + duration_secs
        if duration_secs >= LONG:
            logging.info("compiled %s in %.0f s", whole, duration_secs)

    def _names(self, given: str) -> tuple[str, str]:
        """A program's name, alone and with the shape of its rows where that is known."""
        plain = given.removeprefix("jit(").removesuffix(")").strip("_") or "a program"
        name, shape = self._named
        if given == UNNAMED or plain == name:
            return name or plain, f"{name} of {shape} on a device" if name else plain
        return plain, plain


def _say(what: str) -> None:
    """Says so from a place of ours: others' lines are not shown."""
    logging.info("compiling %s ...", what)


def naming(fn: Any, rows: Any) -> None:
    """Says what a program is of, while it is traced; no more is known to those that listen.

    Args:
        fn: the function.
        rows: its batch, of which one device has so many rows.
    """
    shapes = sorted({leaf.shape for leaf in jax.tree.leaves(rows)}, key=lambda x: -math.prod(x))
    shape = ", ".join(" x ".join(map(str, dims)) for dims in shapes[:LISTED])
    jax.monitoring.record_event(NAMED, name=fn.__name__.strip("_"), shape=shape)


def keep_programs(environment: Mapping[str, str] = os.environ) -> Path:
    """Lets JAX keep what it compiles, so that a second start of the same run compiles nothing.

    JAX_ENABLE_COMPILATION_CACHE=false turns it off. A program for a CPU may use all that this kind
    of CPU can do, so that others have a directory of their own.

    Returns:
        The directory: that of JAX_COMPILATION_CACHE_DIR, or one in jaxedit's cache.
    """
    chosen = environment.get(CHOSEN)
    directory = Path(chosen) if chosen else default_cache() / "programs" / _machine()
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_compilation_cache_max_size", MOST)  # and with it, JAX locks the files
    return directory


def watch_programs() -> Programs:
    """Counts programs from now on, and logs a line for each that takes long to compile."""
    programs = Programs()
    jax.monitoring.register_event_duration_secs_listener(programs.timed)
    jax.monitoring.register_event_listener(programs.happened)
    return programs


def _machine() -> str:
    """Twelve hex digits that name what this machine's CPU can do."""
    try:
        lines = CPU.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    text = "\n".join([platform.machine(), platform.processor(), *sorted(told)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
