"""Compiled programs: kept on disk for the next start, and told of when they took long."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.monitoring
from absl import logging

from jaxedit.cache import default_cache

CHOSEN = "JAX_COMPILATION_CACHE_DIR"  # JAX's own: a directory of the user's
COMPILED = "/jax/core/compile/backend_compile_duration"
FOUND = "/jax/compilation_cache/cache_hits"
MOST = 4 * 1024**3  # bytes of programs; those not used for longest go first
LONG = 5.0  # seconds of a compilation that is worth a line
CPU = Path("/proc/cpuinfo")


@dataclass
class Programs:
    """Programs that this process has made so far, and those that it found made.

    Attributes:
        asked: programs that were compiled or taken from the disk.
        found: those taken from the disk.
        seconds: that all of it took.
    """

    asked: int = 0
    found: int = 0
    seconds: float = 0.0

    def told(self) -> str:
        """For people."""
        made = self.asked - self.found
        return f"programs: {made} compiled, {self.found} found compiled, {self.seconds:.0f} s"


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

    def timed(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event != COMPILED:
            return
        programs.asked += 1
        programs.seconds += duration_secs
        if duration_secs >= LONG:
            name = kwargs.get("fun_name", "a program")
            logging.info("compiled %s in %.0f s", name, duration_secs)

    def happened(event: str, **kwargs: str | int) -> None:
        programs.found += event == FOUND

    jax.monitoring.register_event_duration_secs_listener(timed)
    jax.monitoring.register_event_listener(happened)
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
