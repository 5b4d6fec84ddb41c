"""The evaluation of EasyEdit (Wang et al. 2023), which OnceEdit's tables are made with.

Teacher-forced: the tokens of prompt + " " + target behind as many as the prompt alone has; the
share of them that are the argmax, all gold tokens fed. Generation ("validation generation"): as
many greedy tokens as the target has, never fewer words or more, each compared with the target's
token in its place. Locality is the share of tokens equal to the unedited model's in either case.

In the published code the target of a generation is encoded without the space before it, so that a
byte-level tokenizer's first token cannot match; that is `GENERATION_LITERAL`. `GENERATION` takes
the tokens that the target has behind its prompt. If the model ends its text early, the compared
slice reaches back into the prompt, as it does there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jaxedit.metrics import generation, teacher_forced
from jaxedit.metrics.asking import Questions, floats, ints
from jaxedit.metrics.measure import Measure, Value
from jaxedit.metrics.records import Answer, Setting

if TYPE_CHECKING:
    from jaxedit.models.protocol import LanguageModel

TEACHER_FORCED = "easyedit_teacher_forced"
GENERATION = "easyedit_generation"
GENERATION_LITERAL = "easyedit_generation_literal"
ROLES = ("edit", "paraphrase", "neighbour", "portability")

Row = tuple[tuple[int, ...], int]


def ask_forced(lm: LanguageModel, questions: Questions, setting: Setting) -> list[Answer]:
    """Our answers' tokens cut where EasyEdit cuts them; scored anew where the text differs.

    A target without a token of its own behind the prompt's count is left out, as there.
    """
    asked = [answer for answer in questions.ours if answer.asked.role in ROLES]
    rows = {_text(a, setting): _row(lm, a, setting) for a in asked}
    fresh = {row for a in asked if (row := rows[_text(a, setting)]) != _own(lm, a, setting, row)}
    forced = dict(zip(fresh, lm.score_rows(list(fresh)), strict=True))
    found = []
    for answer in asked:
        row = rows[_text(answer, setting)]
        count = len(row[0]) - row[1]
        if count < 1:
            continue
        if row in forced:
            made = forced[row]
            ids, said, logs = made.target_ids, made.predicted_ids, made.logprobs
        else:
            ids, said = answer.target_ids[-count:], answer.predicted_ids[-count:]
            logs = answer.logprobs[-count:]
        found.append(_answer(answer, setting, ids, said, logs))
    return found


def _text(answer: Answer, setting: Setting) -> tuple[str, str]:
    return setting.wrapped(answer.asked), answer.asked.target


def _row(lm: LanguageModel, answer: Answer, setting: Setting) -> Row:
    prompt, target = _text(answer, setting)
    whole = lm.tokenizer.encode(f"{prompt} {target}")
    return tuple(whole), max(1, len(lm.tokenizer.encode(prompt)))


def _own(lm: LanguageModel, answer: Answer, setting: Setting, row: Row) -> Row | None:
    """The row itself if our own answer holds its targets' scores."""
    ids, start = lm.tokenizer.encode_pair(*_text(answer, setting))
    return row if tuple(ids) == row[0] and start <= row[1] else None


def _answer(answer: Answer, setting: Setting, ids, said, logs) -> Answer:
    return Answer(setting, answer.edits, answer.asked, ints(ids), ints(said), floats(logs))


def ask_generation(lm: LanguageModel, questions: Questions, setting: Setting) -> list[Answer]:
    """As many greedy tokens as each target has, beside the target's."""
    return _ask_generation(lm, questions.ours, setting, literal=False)


def ask_generation_literal(
    lm: LanguageModel, questions: Questions, setting: Setting
) -> list[Answer]:
    """As `ask_generation`, targets encoded as the published code does."""
    return _ask_generation(lm, questions.ours, setting, literal=True)


def _ask_generation(
    lm: LanguageModel, ours: Sequence[Answer], setting: Setting, *, literal: bool
) -> list[Answer]:
    asked = [answer for answer in ours if answer.asked.role in ROLES]
    targets = [
        ints(lm.tokenizer.encode_bare(a.asked.target)) if literal else a.target_ids for a in asked
    ]
    longest: dict[str, int] = defaultdict(int)
    for answer, target in zip(asked, targets, strict=True):
        prompt = setting.wrapped(answer.asked)
        longest[prompt] = max(longest[prompt], len(target))
    made = _greedy(lm, longest)
    found = []
    for answer, target in zip(asked, targets, strict=True):
        prompt = setting.wrapped(answer.asked)
        new = made[prompt][: len(target)]
        ids = (*lm.tokenizer.encode(prompt), *new)[-len(target) :]
        found.append(
            replace(
                _answer(answer, setting, target, (), ()),
                generated=lm.tokenizer.decode(new),
                generated_ids=ints(ids),
            )
        )
    return found


def _greedy(lm: LanguageModel, longest: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """prompt -> at least so many ids, or up to the end of its text; few different lengths."""
    by_length: dict[int, list[str]] = defaultdict(list)
    for prompt, length in longest.items():
        by_length[max(8, 1 << (length - 1).bit_length())].append(prompt)
    found = {}
    for length, prompts in by_length.items():
        made = lm.continuations(prompts, length)
        found |= {p: ints(one.ids) for p, one in zip(prompts, made, strict=True)}
    return found


def _measures(decoding: str, accuracy: Value, agreement: Value) -> tuple[Measure, ...]:
    return (
        Measure("reliability", decoding, "token_accuracy", "target", "edit", accuracy),
        Measure("generality", decoding, "token_accuracy", "target", "paraphrase", accuracy),
        Measure("locality", decoding, "token_accuracy", "unedited", "neighbour", agreement),
        Measure("portability", decoding, "token_accuracy", "target", "portability", accuracy),
    )


FORCED_MEASURES = _measures(
    "teacher_forced", teacher_forced.token_accuracy, teacher_forced.agreement
)
GENERATION_MEASURES = _measures("generation", generation.token_accuracy, generation.agreement)
