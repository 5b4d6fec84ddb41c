"""Editing methods, by name. Each is a frozen dataclass; see `jaxedit.editors.editor`."""

from collections.abc import Mapping
from typing import Any

from jaxedit.editors.d4s import D4S
from jaxedit.editors.editor import Editor
from jaxedit.editors.memit import Memit

EDITORS: Mapping[str, Any] = {"d4s": D4S, "memit": Memit}

__all__ = ["D4S", "EDITORS", "Editor", "Memit"]
