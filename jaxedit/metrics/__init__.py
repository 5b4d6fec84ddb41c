"""Scores: raw answers of any language model, and what is made of them."""

from jaxedit.metrics.damage import Damage, condition_number, damage
from jaxedit.metrics.measure import Measure
from jaxedit.metrics.norms import Norms, weight_norms
from jaxedit.metrics.perplexity import heldout_perplexity, target_perplexity
from jaxedit.metrics.records import (
    Answer,
    Asked,
    Setting,
    answer,
    code_version,
    questions,
    read_answers,
    write_answers,
)
from jaxedit.metrics.reduce import MEASURES, fact_values, named, scores
from jaxedit.metrics.retention import Point, forgetting, overall
from jaxedit.metrics.score import Score

__all__ = [
    "MEASURES",
    "Answer",
    "Asked",
    "Damage",
    "Measure",
    "Norms",
    "Point",
    "Score",
    "Setting",
    "answer",
    "code_version",
    "condition_number",
    "damage",
    "fact_values",
    "forgetting",
    "heldout_perplexity",
    "named",
    "overall",
    "questions",
    "read_answers",
    "scores",
    "target_perplexity",
    "weight_norms",
    "write_answers",
]
