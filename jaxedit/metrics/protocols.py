"""Whose rules a score follows: how a model is asked, and what is made of its answers.

Ours is always taken. The others are asked beside it, of the same model and questions, so that
published numbers have something to be compared with; each score carries the name of its protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxedit.errors import UserError
from jaxedit.metrics import easyedit, fluency, generation, teacher_forced, wild
from jaxedit.metrics.asking import Advance, Questions, answer
from jaxedit.metrics.measure import Measure
from jaxedit.metrics.records import OURS, Answer, Asked, Setting
from jaxedit.typed import suggestion

if TYPE_CHECKING:
    from jaxedit.models.protocol import LanguageModel

Ask = Callable[["LanguageModel", Questions, Setting], list[Answer]]


@dataclass(frozen=True)
class Protocol:
    """One way to evaluate.

    Attributes:
        about: what it is, in a few words.
        measures: what is made of its answers.
        ask: (model, questions with our answers to them, setting) -> its own answers.
        max_new_tokens, stop: where its generations end, if that is its own affair.
    """

    about: str
    measures: tuple[Measure, ...]
    ask: Ask | None = None
    max_new_tokens: int | None = None
    stop: tuple[str, ...] | None = None

    def setting(self, name: str, ours: Setting) -> Setting:
        """How its answers are taken, where ours are taken so."""
        length = ours.max_new_tokens if self.max_new_tokens is None else self.max_new_tokens
        stop = ours.stop if self.stop is None else self.stop
        return replace(ours, protocol=name, max_new_tokens=length, stop=stop)


PROTOCOLS = {
    OURS: Protocol(
        "teacher-forced, and free greedy generation with natural stop",
        teacher_forced.MEASURES + generation.MEASURES,
    ),
    easyedit.TEACHER_FORCED: Protocol(
        "EasyEdit's default: token accuracy with the gold prefix fed",
        easyedit.FORCED_MEASURES,
        easyedit.ask_forced,
        max_new_tokens=0,
        stop=(),
    ),
    easyedit.GENERATION: Protocol(
        "EasyEdit's generation: as many tokens as the target has, compared in place",
        easyedit.GENERATION_MEASURES,
        easyedit.ask_generation,
        max_new_tokens=0,
        stop=(),
    ),
    easyedit.GENERATION_LITERAL: Protocol(
        "the same with the target encoded as the published code does, without its space",
        easyedit.GENERATION_MEASURES,
        easyedit.ask_generation_literal,
        max_new_tokens=0,
        stop=(),
    ),
    wild.WILD: Protocol(
        "WILD / QAEdit: 50 tokens up to a sentence's end, without judge",
        wild.MEASURES,
        wild.ask,
        max_new_tokens=wild.NEW_TOKENS,
        stop=wild.STOP,
    ),
    fluency.FLUENCY: Protocol(
        "ROME's: entropy of texts of 100 tokens that the model writes about the subjects",
        fluency.MEASURES,
        fluency.ask,
        max_new_tokens=fluency.TOKENS,
        stop=(),
    ),
    fluency.ESSENCE: Protocol(
        "ROME's: perplexity of texts about the subjects, which `fluency.essence` is given",
        fluency.ESSENCE_MEASURES,
    ),
}
OTHERS = tuple(name for name, protocol in PROTOCOLS.items() if protocol.ask is not None)


def check_protocol(name: str, where: str) -> None:
    """Refuses a name that no protocol has.

    Raises:
        UserError: with the nearest name.
    """
    if name not in OTHERS:
        raise UserError(f"{where}: {name!r} is no protocol{suggestion(name, OTHERS)}")


def ask(
    lm: LanguageModel,
    asked: Sequence[Asked],
    setting: Setting,
    *,
    edits: int,
    generation: bool = True,
    protocols: Sequence[str] = (),
    advance: Advance | None = None,
) -> list[Answer]:
    """The model's raw answers by our protocol, then by each of the others.

    Args:
        lm, asked, setting, edits, generation, advance: as for `jaxedit.metrics.answer`.
        protocols: names of others.
    """
    ours = answer(lm, asked, setting, edits=edits, generation=generation, advance=advance)
    known = Questions(asked, ours, edits)
    return ours + [one for name in protocols for one in ask_by(name, lm, known, setting)]


def ask_by(name: str, lm: LanguageModel, known: Questions, setting: Setting) -> list[Answer]:
    """The model's raw answers by another protocol than ours.

    Args:
        name: of the protocol.
        lm: the model that gave our answers.
        known: the questions, with these.
        setting: how they were taken.
    """
    protocol = PROTOCOLS[name]
    return [] if protocol.ask is None else protocol.ask(lm, known, protocol.setting(name, setting))
