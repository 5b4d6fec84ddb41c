"""Every test runs on the CPU with eight simulated devices."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# A test runs each program a few times: compiling fast matters more than running fast.
FLAGS = ("--xla_force_host_platform_device_count=8", "--xla_backend_optimization_level=0")
MAPS = Path("/proc/self/maps")
MANY = 30_000  # a process may have 65,530; every compiled program takes several

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# What one worker or an earlier run compiled, the next need not.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", f"{tempfile.gettempdir()}/jaxedit-programs-{os.getuid()}"
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(1024**3))
for flag in FLAGS:
    if flag.split("=")[0] not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()


@pytest.fixture(autouse=True, scope="module")
def few_programs() -> Iterator[None]:
    """Forgets what was compiled before the process has more memory maps than it may."""
    yield
    if MAPS.exists() and len(MAPS.read_bytes().splitlines()) > MANY:
        import jax

        from jaxedit import sharding

        sharding._compiled.cache_clear()
        jax.clear_caches()
