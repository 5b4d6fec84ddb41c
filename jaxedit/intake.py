"""The facts of a run: loaded, and those left out that the model cannot take."""

from __future__ import annotations

import dataclasses

from jaxedit.config import FactsConfig, RunConfig
from jaxedit.data.datasets import Loaded, load_facts
from jaxedit.data.fact import Fact
from jaxedit.errors import UserError
from jaxedit.metrics import questions
from jaxedit.models.transformer import Transformer

PREFIX_TOKENS = 16  # room for a prefix template before a fact's own prompt


def load_usable(config: RunConfig, lm: Transformer) -> Loaded:
    """The facts that a config names, as many of them as it asks for where they are to be had.

    A record of a named data set that does not fit into the model is skipped and listed like a
    defective one; a user's own has to be mended.

    Raises:
        UserError: a file or record is wrong, or no fact is left.
    """
    source = config.facts
    asked = source.limit
    while True:
        loaded = _load(source, asked)
        reasons = [_reason(fact, config, lm) for fact in loaded.facts]
        usable = [fact for fact, why in zip(loaded.facts, reasons, strict=True) if why is None]
        missing = (source.limit or 0) - len(usable)
        if asked is None or missing <= 0 or len(loaded.facts) < asked:
            break
        asked += missing
    unusable = [
        (fact.id, why) for fact, why in zip(loaded.facts, reasons, strict=True) if why is not None
    ]
    if unusable and source.source == "jsonl":
        name, why = unusable[0]
        raise UserError(f"{source.path}: fact {name}: {why}")
    if not usable:
        where = source.path or source.source
        raise UserError(f"--config.facts: {where} holds no fact that this model can take")
    return dataclasses.replace(loaded, facts=usable, skipped=[*loaded.skipped, *unusable])


def _load(source: FactsConfig, limit: int | None) -> Loaded:
    order = source.order
    return load_facts(source.source, source.path, limit, source.seed, order)  # type: ignore[arg-type]


def _reason(fact: Fact, config: RunConfig, lm: Transformer) -> str | None:
    limit = lm.config.max_positions
    for asked in questions([fact]):
        prompt = config.eval.prompt_format.replace("{}", asked.prompt)
        room = limit - (PREFIX_TOKENS if asked.role == "edit" else 0)
        for answer in filter(None, (asked.target, asked.previous)):
            try:
                length = len(lm.tokenizer.encode_pair(prompt, answer)[0])
            except UserError as error:
                return str(error)
            if length > room:
                noun = "prompt" if asked.role == "edit" else f"{asked.role} question"
                return f"its {noun} has {length} tokens; the model takes {room} there"
    return None
