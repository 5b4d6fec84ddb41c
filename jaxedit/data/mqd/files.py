"""MQD as users' own facts: JSON lines that `jaxedit.data.jsonl.read_facts` reads."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

from jaxedit.data.fact import Fact


def as_jsonl(facts: Iterable[Fact]) -> str:
    """One object a line and fact, in their order, without what a fact does not have."""
    kept = ({k: v for k, v in dataclasses.asdict(fact).items() if v} for fact in facts)
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in kept)
