"""What is asked of a model, and its raw answers: every score is a reduction of these."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args

from jaxedit.data.fact import SLOT
from jaxedit.data.files import parse_json, read_text
from jaxedit.errors import UserError

Role = Literal[
    # of a fact
    "edit",
    "paraphrase",
    "neighbour",
    "portability",
    "negation",
    "opening",
    # of a case, asked once all of its facts are edited
    "multi_hop",
    "old_multi_hop",
    "hop",
    "old_hop",
    "event_fact",
    "event_local",
    "tendency",
    "tendency_local",
]
When = Literal["before", "immediate", "checkpoint", "after_all"]

OURS = "jaxedit"  # the protocol that answers are taken by unless another is named
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
        prompt_format: what every prompt is wrapped in that has no format of its own; one ``{}``
            is its place.
        max_new_tokens: where free generation is given up; it is not cut at the target's length.
        stop: strings that end free generation, besides the end-of-text token.
        version: of this code.
        protocol: by whose rules (`jaxedit.metrics.protocols`).
    """

    when: When
    dtype: str
    prompt_format: str = SLOT
    max_new_tokens: int = 24
    stop: tuple[str, ...] = ("\n",)
    version: str = field(default_factory=code_version)
    protocol: str = OURS

    def __post_init__(self) -> None:
        """Refuse an unknown moment or a format without a place for the prompt."""
        if self.when not in get_args(When):
            raise UserError(f"when is {self.when!r}; it is one of {', '.join(get_args(When))}")
        if self.prompt_format.count(SLOT) != 1:
            raise UserError(f"prompt format {self.prompt_format!r} needs exactly one '{{}}'")

    def wrapped(self, asked: Asked) -> str:
        """The text that the model reads."""
        return (asked.format or self.prompt_format).replace(SLOT, asked.prompt)


@dataclass(frozen=True)
class Asked:
    """One question of one fact, or of the case that the fact completes.

    Attributes:
        fact: the fact's place in the order of editing, from 0.
        role: what the question is to its fact.
        index: its place among the fact's questions of that role.
        prompt: filled, not yet wrapped.
        target: the expected answer (for a neighbour the true one), no leading space.
        rival: the answer that the expected one is compared with, where there is one: what the
            target replaces; for a neighbour the target of the edit.
        aliases: other ways to say the expected answer.
        choices: all that may be answered, the expected answer among them; none if anything may.
        group: what its source calls questions of this kind.
        format: what this prompt is wrapped in; None takes the setting's.
    """

    fact: int
    role: Role
    index: int
    prompt: str
    target: str
    rival: str | None = None
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    group: str = ""
    format: str | None = None


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
            ``LOWEST`` or not a number (a broken model's) is kept as ``LOWEST``. Empty where the
            model defines no likelihoods.
        rival_logprobs: the same for the rival, if there is one.
        choice_logprobs: the same for each of the choices, in their order.
        generated: the freely generated text, or None if nothing was generated.
        generated_ids: its ids: by our protocol those of the text in the prompt's context, by
            another one what it compares.
    """

    setting: Setting
    edits: int
    asked: Asked
    target_ids: tuple[int, ...] = ()
    predicted_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    rival_logprobs: tuple[float, ...] | None = None
    choice_logprobs: tuple[tuple[float, ...], ...] = ()
    generated: str | None = None
    generated_ids: tuple[int, ...] | None = None

    @property
    def key(self) -> tuple[str, int, Role, int]:
        """Identifies the question and the protocol: alike in every set of answers to the facts."""
        return self.setting.protocol, self.asked.fact, self.asked.role, self.asked.index

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; what the question leaves open is left out."""
        told = {key: value for key, value in asdict(self.asked).items() if value not in (None, ())}
        return asdict(self) | {"asked": told}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Answer:
        """The answer that :meth:`to_dict` wrote, also after a passage through JSON."""
        setting, asked = Setting(**_tuples(value["setting"])), Asked(**_tuples(value["asked"]))
        return cls(**_tuples(value) | {"setting": setting, "asked": asked})


def one_setting(answers: Sequence[Answer]) -> Setting:
    """The setting that all these answers share.

    Raises:
        UserError: if they do not share one.
    """
    settings = {answer.setting for answer in answers}
    if len(settings) > 1:
        kinds = ", ".join(sorted({s.when for s in settings}))
        raise UserError(
            f"answers of {len(settings)} settings ({kinds}) cannot be one score; reduce each apart"
        )
    return answers[0].setting


def _tuples(value: dict[str, Any]) -> dict[str, Any]:
    return {key: _tuple(item) for key, item in value.items()}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


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
