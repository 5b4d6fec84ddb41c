"""From facts and cases to questions, and from questions to a model's raw answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxedit.data.fact import Case, Fact, Question
from jaxedit.errors import UserError
from jaxedit.metrics.formats import FORMATS
from jaxedit.metrics.records import LOWEST, Answer, Asked, Role, Setting
from jaxedit.models.protocol import has_likelihoods

if TYPE_CHECKING:
    from jaxedit.models.protocol import LanguageModel

Pair = tuple[str, str]
Advance = Callable[[int], object]


class Questions(NamedTuple):
    """What another protocol than ours is asked by.

    Attributes:
        asked: all questions.
        ours: the model's answers by our protocol; to openings there is none.
        edits: number of edits the model has received.
    """

    asked: Sequence[Asked]
    ours: Sequence[Answer]
    edits: int


def questions(
    cases: Sequence[Case | Fact], first: int = 0, formats: Mapping[str, str] | None = None
) -> list[Asked]:
    """Everything that is asked of the facts and of their cases, each question once.

    What is asked of a case belongs to the last of its facts. A neighbour that one of these facts
    itself edits (the same prompt as its question or as one of its paraphrases, with another
    target) is left out: it is meant to change.

    Args:
        cases: in the order of editing; a fact stands for a case of its own.
        first: the place of the first fact in that order.
        formats: by role: what prompts are wrapped in, where not in what the setting says; a name
            of `formats.FORMATS` will do.
    """
    formats = {role: FORMATS.get(form, form) for role, form in (formats or {}).items()}
    whole = [case if isinstance(case, Case) else Case.of(case) for case in cases]
    facts = [fact for case in whole for fact in case.facts]
    edited = {p: f.target for f in facts for p in (f.question, *f.paraphrases)}
    return [
        asked
        for asked in _of_cases(whole, first, formats)
        if asked.role != "neighbour" or edited.get(asked.prompt, asked.target) == asked.target
    ]


def _of_cases(cases: Iterable[Case], place: int, formats: Mapping[str, str]) -> Iterator[Asked]:
    for case in cases:
        for fact in case.facts:
            yield from _of_fact(place, fact, formats)
            place += 1
        for role, asked in case.questions.items():
            for index, question in enumerate(asked):
                yield _asked(place - 1, role, index, question, formats)  # type: ignore[arg-type]


def _of_fact(place: int, fact: Fact, formats: Mapping[str, str]) -> Iterator[Asked]:
    def own(role: Role, index: int, prompt: str) -> Asked:
        question = Question(prompt, fact.target, fact.aliases, fact.choices)
        return _asked(place, role, index, question, formats, fact.previous)

    yield own("edit", 0, fact.question)
    for index, prompt in enumerate(fact.paraphrases):
        yield own("paraphrase", index, prompt)
    for index, question in enumerate(fact.neighbours):
        yield _asked(place, "neighbour", index, question, formats, _rival(fact, question))
    for index, question in enumerate(fact.portability):
        yield _asked(place, "portability", index, question, formats)
    for index, question in enumerate(fact.negations):
        yield _asked(place, "negation", index, question, formats)
    for index, prompt in enumerate(fact.openings):
        yield own("opening", index, prompt)


def _rival(fact: Fact, neighbour: Question) -> str | None:
    """The edit's target, if it might be said to the neighbour and would be wrong there."""
    possible = not neighbour.choices or fact.target in neighbour.choices
    return fact.target if possible and fact.target != neighbour.answer else None


def _asked(
    place: int,
    role: Role,
    index: int,
    question: Question,
    formats: Mapping[str, str],
    rival: str | None = None,
) -> Asked:
    return Asked(
        place,
        role,
        index,
        question.prompt,
        question.answer,
        rival or None,
        question.aliases,
        question.choices,
        question.group,
        formats.get(role),
    )


def answer(
    lm: LanguageModel,
    asked: Sequence[Asked],
    setting: Setting,
    *,
    edits: int,
    generation: bool = True,
    advance: Advance | None = None,
) -> list[Answer]:
    """The model's raw answers by our own protocol, in the order asked; openings are passed over.

    Every distinct (prompt, target) is scored once by teacher forcing, every distinct prompt
    generated from once, greedily and with natural stop. Rivals and choices are there to be
    compared by their likelihoods, and left out where the model has none.

    Args:
        lm: any language model.
        asked: the questions.
        setting: how they are taken and what the model is.
        edits: number of edits the model has received.
        generation: generate too; else only teacher forcing.
        advance: called with the number of rows done, `workload` in all.
    """
    asked = [question for question in asked if question.role != "opening"]
    pairs = _pairs(asked, setting, has_likelihoods(lm))
    forced = dict(zip(pairs, _teacher_forced(lm, pairs, advance), strict=True))
    prompts = _prompts(asked, setting) if generation else []
    texts = _generate(lm, prompts, setting, advance)
    return [_answer(question, setting, edits, forced, texts) for question in asked]


def workload(
    asked: Sequence[Asked], setting: Setting, *, generation: bool = True, compared: bool = True
) -> int:
    """The number of rows that `answer` will run; ``compared`` if the model has likelihoods."""
    asked = [question for question in asked if question.role != "opening"]
    return len(_pairs(asked, setting, compared)) + generation * len(_prompts(asked, setting))


def _pairs(asked: Iterable[Asked], setting: Setting, compared: bool) -> list[Pair]:
    """Distinct (wrapped prompt, answer), those of one prompt beside each other."""
    return list(
        dict.fromkeys(
            (setting.wrapped(question), text)
            for question in asked
            for text in (question.target, *((question.rival, *question.choices) * compared))
            if text
        )
    )


def _prompts(asked: Iterable[Asked], setting: Setting) -> list[str]:
    return list(dict.fromkeys(map(setting.wrapped, asked)))


def _answer(
    question: Asked,
    setting: Setting,
    edits: int,
    forced: Mapping[Pair, Any],
    texts: Mapping[str, tuple[str, tuple[int, ...]]],
) -> Answer:
    prompt = setting.wrapped(question)
    target = forced[prompt, question.target]
    text, ids = texts.get(prompt, (None, None))
    rival = None
    if question.rival and (prompt, question.rival) in forced:
        rival = floats(forced[prompt, question.rival].logprobs)
    return Answer(
        setting=setting,
        edits=edits,
        asked=question,
        target_ids=ints(target.target_ids),
        predicted_ids=ints(target.predicted_ids),
        logprobs=floats(target.logprobs),
        rival_logprobs=rival,
        choice_logprobs=tuple(
            floats(forced[prompt, c].logprobs) for c in question.choices if (prompt, c) in forced
        ),
        generated=text,
        generated_ids=ids,
    )


def _teacher_forced(
    lm: LanguageModel, pairs: Sequence[Pair], advance: Advance | None
) -> Sequence[Any]:
    if not pairs:
        return []
    return lm.teacher_forced([p for p, _ in pairs], [t for _, t in pairs], advance=advance)


def _generate(
    lm: LanguageModel, prompts: Sequence[str], setting: Setting, advance: Advance | None
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """prompt -> (generated text, its ids when it is encoded behind the prompt)."""
    if not prompts:
        return {}
    made = lm.continuations(prompts, setting.max_new_tokens, setting.stop, advance=advance)
    return {
        p: (one.text, _continuation_ids(lm, p, one.text))
        for p, one in zip(prompts, made, strict=True)
    }


def _continuation_ids(lm: LanguageModel, prompt: str, text: str) -> tuple[int, ...]:
    try:
        ids, start = lm.tokenizer.encode_pair(prompt, text.lstrip())
    except UserError:  # nothing that has a token was generated
        return ()
    return ints(ids[start:])


def ints(values: Iterable[Any]) -> tuple[int, ...]:
    """Ids as they are kept."""
    return tuple(int(value) for value in values)


def floats(values: Iterable[Any]) -> tuple[float, ...]:
    """Log probabilities as they are kept (see `LOWEST`)."""
    return tuple(float(value) if value > LOWEST else LOWEST for value in values)
