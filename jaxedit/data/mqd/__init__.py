"""The multi-question data set: ATOMIC's knowledge as generation, choice and true or false."""

from jaxedit.data.mqd.atomic import Triple, read
from jaxedit.data.mqd.build import COUNT, Mqd, build
from jaxedit.data.mqd.cleaning import MAX_WORDS
from jaxedit.data.mqd.files import as_jsonl
from jaxedit.data.mqd.forms import FORMS, Form

__all__ = [
    "COUNT",
    "FORMS",
    "MAX_WORDS",
    "Form",
    "Mqd",
    "Triple",
    "as_jsonl",
    "build",
    "read",
]
