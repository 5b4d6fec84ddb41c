"""The embedded world: a small generated world of facts and three small models that know it."""

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
    "SHOWN",
    "TUNING",
    "Item",
    "Triple",
    "World",
    "corpus",
    "downstream",
    "edits",
    "other_edits",
    "statements",
    "training_edits",
    "training_rows",
    "unrelated",
]
