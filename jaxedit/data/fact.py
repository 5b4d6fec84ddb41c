"""One fact to edit: the noun that every single-fact loader yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxedit.errors import UserError

SLOT = "{}"


@dataclass(frozen=True)
class Question:
    """A filled prompt and the answer that is expected of it (no leading space)."""

    prompt: str
    answer: str


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
        for question in self.neighbours + self.portability:
            if not question.prompt.strip() or not question.answer.strip():
                return "a neighbour or portability question or its answer is empty; remove it"
        return None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Fact:
        """From what `dataclasses.asdict` made of one."""
        asked = {
            name: tuple(Question(**question) for question in raw[name])
            for name in ("neighbours", "portability")
        }
        return cls(**{**raw, **asked, "paraphrases": tuple(raw["paraphrases"])})

    @property
    def question(self) -> str:
        """The prompt with the subject in its slot."""
        return self.prompt.replace(SLOT, self.subject)


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
