"""Where what is dear to compute is kept between runs."""

import os
from pathlib import Path


def default_cache() -> Path:
    """$JAXEDIT_CACHE, or jaxedit/ in the user's cache directory."""
    chosen = os.environ.get("JAXEDIT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen) if chosen else Path(base) / "jaxedit"
