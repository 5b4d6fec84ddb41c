"""The facts of a run: loaded, and those left out that the model cannot take."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxedit.config import EvalConfig, FactsConfig
from jaxedit.data.catalogue import DATASETS
from jaxedit.data.datasets import OWN, Loaded, load_facts
from jaxedit.data.fact import Case
from jaxedit.errors import UserError
from jaxedit.metrics import questions
from jaxedit.models.transformer import Transformer

PREFIX_TOKENS = 16  # room for a prefix template before a fact's own prompt


def load(source: FactsConfig, limit: int | None) -> Loaded:
    """At most ``limit`` cases of a config's source.

    Raises:
        UserError: a file or record is wrong.
    """
    drawn: Any = (source.seed, source.order, source.split)
    return load_facts(source.source, source.path, limit, *drawn)


def formats(source: FactsConfig, ev: EvalConfig) -> dict[str, str]:
    """By role: what prompts are wrapped in, as the run says, else as the data set has it."""
    dataset = DATASETS.get(source.source)
    return {**(dataset.formats if dataset else {}), **ev.formats}


def usable(first: Loaded, source: FactsConfig, ev: EvalConfig, lm: Transformer) -> Loaded:
    """Those cases that the model can take, as many as the config asks for if there are any more.

    A record of a named data set that does not fit into the model is skipped and listed like a
    defective one; a user's own has to be mended.

    Args:
        first: as many cases as the config asks for.
        source: where they come from.
        ev: what is asked of them.
        lm: the model.

    Raises:
        UserError: a user's own fact does not fit, or none is left.
    """
    asked, loaded = source.limit, first
    wrapped = formats(source, ev)
    while True:
        reasons = [_reason(case, wrapped, ev.prompt_format, lm) for case in loaded.cases]
        fitting = [case for case, why in zip(loaded.cases, reasons, strict=True) if why is None]
        missing = (source.limit or 0) - len(fitting)
        if asked is None or missing <= 0 or len(loaded.cases) < asked:
            break
        asked += missing
        loaded = load(source, asked)
    unfit = [(case.id, why) for case, why in zip(loaded.cases, reasons, strict=True) if why]
    if unfit and source.source in OWN:
        name, why = unfit[0]
        raise UserError(f"{source.path}: fact {name}: {why}")
    if not fitting:
        where = source.path or source.source
        raise UserError(f"--config.facts: {where} holds no fact that this model can take")
    return dataclasses.replace(loaded, cases=fitting, skipped=[*loaded.skipped, *unfit])


def _reason(case: Case, wrapped: Mapping[str, str], otherwise: str, lm: Transformer) -> str | None:
    limit = lm.config.max_positions
    for asked in questions([case], formats=wrapped):
        prompt = (asked.format or otherwise).replace("{}", asked.prompt)
        room = limit - (PREFIX_TOKENS if asked.role == "edit" else 0)
        for answer in filter(None, (asked.target, asked.rival, *asked.choices)):
            try:
                length = len(lm.tokenizer.encode_pair(prompt, answer)[0])
            except UserError as error:
                return str(error)
            if length > room:
                noun = "prompt" if asked.role == "edit" else f"{asked.role} question"
                return f"its {noun} has {length} tokens; the model takes {room} there"
    return None
