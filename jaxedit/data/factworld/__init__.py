"""The embedded world: a small generated world of facts and three small models that know it."""

from jaxedit.data.factworld.asked_forms import FORMS, Form, askable, asked_edit
from jaxedit.data.factworld.downstream import Item, downstream, statements
from jaxedit.data.factworld.edits import (
    SHOWN,
    TUNING,
    edits,
    other_edits,
    training_edits,
    unrelated,
)
from jaxedit.data.factworld.rows import corpus, training_rows
from jaxedit.data.factworld.world import Triple, World

__all__ = [
    "FORMS",
    "SHOWN",
    "TUNING",
    "Form",
    "Item",
    "Triple",
    "World",
    "askable",
    "asked_edit",
    "corpus",
    "downstream",
    "edits",
    "other_edits",
    "statements",
    "training_edits",
    "training_rows",
    "unrelated",
]
