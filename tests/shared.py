"""Where real models, data and reference arrays lie, for tests that need them.

JAXEDIT_SHARED names the folder; JAXEDIT_GOLDEN may name another one for the arrays.
"""

import os
from pathlib import Path

import pytest

_SHARED = os.environ.get("JAXEDIT_SHARED", "")
SHARED = Path(_SHARED) if _SHARED else None
GOLDEN = Path(os.environ.get("JAXEDIT_GOLDEN") or (SHARED / "golden" if SHARED else "absent"))

needs_shared = pytest.mark.skipif(
    SHARED is None or not SHARED.is_dir(), reason="JAXEDIT_SHARED names no folder of real data"
)
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="neither JAXEDIT_GOLDEN nor JAXEDIT_SHARED/golden is a folder"
)
