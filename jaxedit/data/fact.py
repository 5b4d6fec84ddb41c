"""One fact to edit, and cases: facts that belong together and what is asked once all are edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxedit.errors import UserError

SLOT = "{}"


@dataclass(frozen=True)
class Question:
    """A filled prompt and the answer that is expected of it.

    Attributes:
        prompt: filled.
        answer: no leading space.
        aliases: other right answers.
        choices: all that may be answered, the answer among them; none if anything may.
        group: what its source calls questions of this kind.
    """

    prompt: str
    answer: str
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    group: str = ""

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Question:
        """From what `dataclasses.asdict` made of one."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        return cls(**plain)

    def defect(self) -> str | None:
        """What is wrong with it, if anything is."""
        if not self.prompt.strip() or not self.answer.strip():
            return "question or its answer is empty; remove it"
        if self.choices and self.answer not in self.choices:
            return f"question's answer {self.answer!r} is not among its choices; add it"
        return None


@dataclass(frozen=True)
class Fact:
    """What a model is to answer from now on, and what it is asked to show it.

    Attributes:
        prompt: template with exactly one ``{}``, where the subject goes; any other brace in
            it is plain text.
        subject: what the fact is about.
        target: the new answer, stripped; the space before it belongs to the encoder.
        previous: the answer that ``target`` replaces, where it is known.
        paraphrases: filled prompts that should get ``target`` too.
        neighbours: questions whose answers should not change, with their true answers.
        portability: questions whose answers follow from the new fact.
        id: what messages and records call it.
        aliases: other ways to say the target.
        choices: all that may be answered to the prompt, the target among them; none if anything
            may be said.
        negations: questions that deny something about the subject, with what is right after the
            edit.
        openings: beginnings of texts about the subject, for what the model then writes freely.
        group: what its source sorts it under, such as a relation.

    Raises:
        UserError: naming the record, if the subject is empty, the prompt has not exactly one
            slot, the target is empty or has white space around it, or a question or its answer
            is empty.
    """

    prompt: str
    subject: str
    target: str
    previous: str | None = None
    paraphrases: tuple[str, ...] = ()
    neighbours: tuple[Question, ...] = ()
    portability: tuple[Question, ...] = ()
    id: str = ""
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    negations: tuple[Question, ...] = ()
    openings: tuple[str, ...] = ()
    group: str = ""

    def __post_init__(self) -> None:
        """Refuse a defective record."""
        reason = self._defect()
        if reason:
            name = self.id or repr(f"{self.prompt} ... {self.target}")
            raise UserError(f"fact {name}: {reason}")

    def _defect(self) -> str | None:
        slots = self.prompt.count(SLOT)
        if not self.subject.strip():
            return "the subject is empty; name what the fact is about"
        if slots != 1:
            return f"the prompt has {slots} slots '{{}}'; give it exactly one, for the subject"
        if not self.target.strip():
            return "the target is empty; give the new answer"
        if self.target != self.target.strip():
            return f"the target {self.target!r} has white space around it; remove it"
        if any(not prompt.strip() for prompt in self.paraphrases):
            return "a paraphrase is empty; remove it"
        if self.choices and self.target not in self.choices:
            return f"the target {self.target!r} is not among its choices; add it"
        named = ("neighbour", self.neighbours), ("portability", self.portability)
        for name, questions in (*named, ("negation", self.negations)):
            for question in questions:
                if reason := question.defect():
                    return f"a {name} {reason}"
        return None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Fact:
        """From what `dataclasses.asdict` made of one."""
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        asked = {
            name: tuple(map(Question.from_dict, raw.get(name, ())))
            for name in ("neighbours", "portability", "negations")
        }
        return cls(**{**plain, **asked})

    @property
    def question(self) -> str:
        """The prompt with the subject in its slot."""
        return self.prompt.replace(SLOT, self.subject)


@dataclass(frozen=True)
class Case:
    """Facts that belong together, and the questions that are asked once all of them are edited.

    A fact that stands alone is a case of one fact without questions of its own (`Case.of`).

    Attributes:
        id: what messages and records call it.
        facts: edited in this order; at least one.
        questions: by role, such as "multi_hop" (`jaxedit.metrics.records.Role`).

    Raises:
        UserError: naming the case, if it has no fact or a defective question.
    """

    id: str
    facts: tuple[Fact, ...]
    questions: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a defective record."""
        if not self.facts:
            raise UserError(f"case {self.id}: has no fact to edit; remove it")
        for role, questions in self.questions.items():
            for question in questions:
                if reason := question.defect():
                    raise UserError(f"case {self.id}: a {role} {reason}")

    @classmethod
    def of(cls, fact: Fact) -> Case:
        """A fact alone."""
        return cls(fact.id, (fact,))

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Case:
        """From what `dataclasses.asdict` made of one."""
        questions = {
            role: tuple(map(Question.from_dict, asked)) for role, asked in raw["questions"].items()
        }
        return cls(raw["id"], tuple(map(Fact.from_dict, raw["facts"])), questions)


def template(prompt: str, subject: str) -> str:
    """The template of a prompt: itself if it has a slot, else the subject's place made one.

    In a filled prompt a subject that occurs several times gives up its last occurrence (the
    first ones then stay as plain text): editors read the model where the subject was seen
    last. Occurrences inside a longer word count only if there are no others.

    Raises:
        UserError: if there is no slot and the subject does not occur, or there are several slots.
    """
    if SLOT in prompt:
        return prompt
    start = _last_occurrence(prompt, subject)
    if start < 0:
        raise UserError(f"the subject {subject!r} does not occur in the prompt {prompt!r}")
    return prompt[:start] + SLOT + prompt[start + len(subject) :]


def _last_occurrence(prompt: str, subject: str) -> int:
    if not subject:
        return -1
    end = len(prompt)
    while (start := prompt.rfind(subject, 0, end)) >= 0:
        if _is_whole_word(prompt, start, start + len(subject)):
            return start
        end = start + len(subject) - 1
    return prompt.rfind(subject)


def _is_whole_word(text: str, start: int, stop: int) -> bool:
    before = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
    after = stop < len(text) and text[stop].isalnum() and text[stop - 1].isalnum()
    return not before and not after
