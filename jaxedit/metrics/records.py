"""What is asked of a model, and its raw answers: every score is a reduction of these."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from jaxedit.data.fact import SLOT, Fact
from jaxedit.data.files import parse_json, read_text
from jaxedit.errors import UserError

if TYPE_CHECKING:
    from jaxedit.models.protocol import LanguageModel

Role = Literal["edit", "paraphrase", "neighbour", "portability"]
When = Literal["before", "immediate", "checkpoint", "after_all"]


LOWEST = -500.0  # probability 7e-218: files stay plain JSON and perplexities finite


def code_version() -> str:
    """The version of the installed package, for the protocol of a score."""
    try:
        return metadata.version("jaxedit")
    except metadata.PackageNotFoundError:
        return "uninstalled"


@dataclass(frozen=True)
class Setting:
    """How and when answers were taken: the part of a score's protocol that they share.

    Attributes:
        when: "before" any edit, "immediate" (each fact right after its own edit), at a
            "checkpoint" of the run, or "after_all" edits.
        dtype: of the model's parameters.
        prompt_format: what every prompt is wrapped in; one ``{}`` is its place.
        max_new_tokens: where free generation is given up; it is not cut at the target's length.
        stop: strings that end free generation, besides the end-of-text token.
        version: of this code.
    """

    when: When
    dtype: str
    prompt_format: str = SLOT
    max_new_tokens: int = 24
    stop: tuple[str, ...] = ("\n",)
    version: str = field(default_factory=code_version)

    def __post_init__(self) -> None:
        """Refuse an unknown moment or a format without a place for the prompt."""
        if self.when not in get_args(When):
            raise UserError(f"when is {self.when!r}; it is one of {', '.join(get_args(When))}")
        if self.prompt_format.count(SLOT) != 1:
            raise UserError(f"prompt format {self.prompt_format!r} needs exactly one '{{}}'")


@dataclass(frozen=True)
class Asked:
    """One question of one fact.

    Attributes:
        fact: the fact's place in the order of editing, from 0.
        role: what the question is to its fact.
        index: its place among the fact's questions of that role.
        prompt: filled, not yet wrapped.
        target: the expected answer (for a neighbour the true one), no leading space.
        previous: the answer that the target replaces, where one is known.
    """

    fact: int
    role: Role
    index: int
    prompt: str
    target: str
    previous: str | None = None


@dataclass(frozen=True)
class Answer:
    """A model's raw answer to one question, and how it was taken.

    Attributes:
        setting: how and when.
        edits: number of edits the model had received.
        asked: the question.
        target_ids: the target's token ids, [T].
        predicted_ids: the likeliest id at each of these positions, the target's own ids fed
            before it, [T].
        logprobs: natural log probability of each target id there, [T]; what is lower than
            ``LOWEST`` or not a number (a broken model's) is kept as ``LOWEST``.
        previous_logprobs: the same for the previous answer, if there is one.
        generated: the freely generated text, or None if nothing was generated.
        generated_ids: its ids in the prompt's context.
    """

    setting: Setting
    edits: int
    asked: Asked
    target_ids: tuple[int, ...]
    predicted_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    previous_logprobs: tuple[float, ...] | None = None
    generated: str | None = None
    generated_ids: tuple[int, ...] | None = None

    @property
    def key(self) -> tuple[int, Role, int]:
        """What identifies the question: the same in every set of answers to the same facts."""
        return self.asked.fact, self.asked.role, self.asked.index

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Answer:
        """The answer that :meth:`to_dict` wrote, also after a passage through JSON."""
        value = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        setting = value["setting"] | {"stop": tuple(value["setting"]["stop"])}
        return cls(**value | {"setting": Setting(**setting), "asked": Asked(**value["asked"])})


def questions(facts: Sequence[Fact], first: int = 0) -> list[Asked]:
    """Everything that is asked of the facts, each question once.

    A neighbour that one of these facts itself edits (the same prompt as its question or as one
    of its paraphrases, with another target) is left out: it is meant to change.

    Args:
        facts: in the order of editing.
        first: the place of the first one in that order.
    """
    edited = {p: f.target for f in facts for p in (f.question, *f.paraphrases)}
    return [
        asked
        for place, fact in enumerate(facts, start=first)
        for asked in _of_fact(place, fact)
        if asked.role != "neighbour" or edited.get(asked.prompt, asked.target) == asked.target
    ]


def _of_fact(place: int, fact: Fact) -> Iterator[Asked]:
    yield Asked(place, "edit", 0, fact.question, fact.target, fact.previous)
    for index, prompt in enumerate(fact.paraphrases):
        yield Asked(place, "paraphrase", index, prompt, fact.target, fact.previous)
    for index, question in enumerate(fact.neighbours):
        yield Asked(place, "neighbour", index, question.prompt, question.answer)
    for index, question in enumerate(fact.portability):
        yield Asked(place, "portability", index, question.prompt, question.answer)


def answer(
    lm: LanguageModel,
    asked: Sequence[Asked],
    setting: Setting,
    *,
    edits: int,
    generation: bool = True,
) -> list[Answer]:
    """The model's raw answers, in the order asked.

    Every distinct (prompt, target) is scored once by teacher forcing, every distinct prompt
    generated from once, greedily and with natural stop.

    Args:
        lm: any language model.
        asked: the questions.
        setting: how they are taken and what the model is.
        edits: number of edits the model has received.
        generation: generate too; else only teacher forcing.
    """
    wrapped = [setting.prompt_format.replace(SLOT, a.prompt) for a in asked]
    pairs = [(p, a.target) for p, a in zip(wrapped, asked, strict=True)]
    old = [(p, a.previous) for p, a in zip(wrapped, asked, strict=True) if a.previous]
    distinct = list(dict.fromkeys(pairs + old))
    forced = dict(zip(distinct, _teacher_forced(lm, distinct), strict=True))
    texts = _generate(lm, wrapped, setting) if generation else {}
    answers = []
    for prompt, question in zip(wrapped, asked, strict=True):
        target = forced[prompt, question.target]
        previous = forced[prompt, question.previous] if question.previous else None
        text, ids = texts.get(prompt, (None, None))
        answers.append(
            Answer(
                setting=setting,
                edits=edits,
                asked=question,
                target_ids=_ints(target.target_ids),
                predicted_ids=_ints(target.predicted_ids),
                logprobs=_floats(target.logprobs),
                previous_logprobs=_floats(previous.logprobs) if previous else None,
                generated=text,
                generated_ids=ids,
            )
        )
    return answers


def _teacher_forced(lm: LanguageModel, pairs: Sequence[tuple[str, str]]) -> Sequence[Any]:
    if not pairs:
        return []
    return lm.teacher_forced([p for p, _ in pairs], [t for _, t in pairs])


def _generate(
    lm: LanguageModel, prompts: Sequence[str], setting: Setting
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """prompt -> (generated text, its ids when it is encoded behind the prompt)."""
    distinct = list(dict.fromkeys(prompts))
    if not distinct:
        return {}
    texts = lm.generate(distinct, max_new_tokens=setting.max_new_tokens, stop=setting.stop)
    return {p: (t, _continuation_ids(lm, p, t)) for p, t in zip(distinct, texts, strict=True)}


def _continuation_ids(lm: LanguageModel, prompt: str, text: str) -> tuple[int, ...]:
    try:
        ids, start = lm.tokenizer.encode_pair(prompt, text.lstrip())
    except UserError:  # nothing that has a token was generated
        return ()
    return _ints(ids[start:])


def _ints(values: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _floats(values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(float(value) if value > LOWEST else LOWEST for value in values)


def write_answers(path: str | Path, answers: Iterable[Answer]) -> None:
    """Append the answers to a file of JSON lines."""
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(a.to_dict(), ensure_ascii=False) + "\n" for a in answers)


def read_answers(path: str | Path) -> list[Answer]:
    """The answers of a file of JSON lines.

    Raises:
        UserError: ``file:line``, if a line is broken or is no answer.
    """
    answers = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        value = parse_json(line, str(path), number)
        try:
            answers.append(Answer.from_dict(value))
        except (TypeError, KeyError, AttributeError):
            raise UserError(f"{path}:{number}: is not a raw answer") from None
    return answers
