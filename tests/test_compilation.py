"""Programs that one process compiled are found by the next."""

import os
import subprocess
import sys
from pathlib import Path

from jaxedit.compilation import Programs, keep_programs

SCRIPT = """
from jaxedit.compilation import keep_programs, watch_programs
keep_programs()
programs = watch_programs()
from tests.tiny import tiny_model
lm = tiny_model()
lm.generate(["Mira"], 2), lm.teacher_forced(["Mira"], ["Danto"])
print(programs.told())
"""


def start(cache: Path) -> str:
    """What a process says of its programs that begins with this cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMP")}
    environment = {**kept, "JAXEDIT_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_second_start_compiles_nothing(tmp_path: Path) -> None:
    first, second = start(tmp_path), start(tmp_path)
    assert ", 0 found compiled" in first
    assert second.startswith("programs: 0 compiled")
    assert " 0 found" not in second


def test_a_directory_of_the_users_own(tmp_path: Path) -> None:
    import jax

    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
        "jax_compilation_cache_max_size",
    )
    before = {name: getattr(jax.config, name) for name in names}
    try:
        chosen = keep_programs({"JAX_COMPILATION_CACHE_DIR": str(tmp_path)})
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    assert chosen == tmp_path


def test_what_is_told_of_them() -> None:
    assert Programs(5, 3, 1.6).told() == "programs: 2 compiled, 3 found compiled, 2 s"
