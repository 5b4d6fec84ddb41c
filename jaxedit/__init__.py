"""Edit what language models know, and measure what it cost them.

import jaxedit
lm = jaxedit.load("path/or/hub-id")
edited = jaxedit.edit(lm, jaxedit.read_facts("facts.jsonl"), method="d4s")
"""

from jaxedit.api import Edited, edit, load, restore
from jaxedit.data.fact import Fact, Question
from jaxedit.data.jsonl import read_facts
from jaxedit.errors import UserError
from jaxedit.models.protocol import LanguageModel
from jaxedit.models.transformer import Transformer

__all__ = [
    "Edited",
    "Fact",
    "LanguageModel",
    "Question",
    "Transformer",
    "UserError",
    "edit",
    "load",
    "read_facts",
    "restore",
]
