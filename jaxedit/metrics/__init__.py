"""Scores: raw answers of any language model, and what is made of them."""

from jaxedit.metrics.asking import answer, questions, workload
from jaxedit.metrics.damage import Damage, condition_number, damage
from jaxedit.metrics.measure import Measure
from jaxedit.metrics.norms import Norms, weight_norms
from jaxedit.metrics.perplexity import heldout_perplexity, target_perplexity
from jaxedit.metrics.protocols import PROTOCOLS, ask, check_protocol
from jaxedit.metrics.records import (
    Answer,
    Asked,
    Setting,
    code_version,
    read_answers,
    write_answers,
)
from jaxedit.metrics.reduce import MEASURES, fact_values, named, scores
from jaxedit.metrics.retention import Point, forgetting, overall
from jaxedit.metrics.score import Score, score_lines

__all__ = [
    "MEASURES",
    "PROTOCOLS",
    "Answer",
    "Asked",
    "Damage",
    "Measure",
    "Norms",
    "Point",
    "Score",
    "Setting",
    "answer",
    "ask",
    "check_protocol",
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
    "score_lines",
    "scores",
    "target_perplexity",
    "weight_norms",
    "workload",
    "write_answers",
]
