"""A hook for a judge: any callable that reads a question, the expected answer and what was said.

``def judge(question: str, expected: str, generated: str) -> float | None`` gives 0 (wrong) to 1
(right), or None where it cannot tell; such an answer is left out of the score. Verdicts are raw
data: one JSON line an answer, so that scores reappear without asking the judge again, and an
interrupted evaluation goes on where it stopped.
"""

from __future__ import annotations

import importlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np

from jaxedit.data.files import parse_json, read_text
from jaxedit.errors import UserError
from jaxedit.metrics.records import Answer, one_setting
from jaxedit.metrics.score import Score, mean_score

Judge = Callable[[str, str, str], float | None]

# role of the questions -> (metric, against)
METRICS = {
    "edit": ("efficacy", "target"),
    "paraphrase": ("paraphrase", "target"),
    "neighbour": ("specificity", "truth"),
    "portability": ("portability", "target"),
    "negation": ("negation", "target"),
    "multi_hop": ("multi_hop_each", "target"),
    "old_multi_hop": ("old_multi_hop_each", "previous"),
    "hop": ("hop_wise", "target"),
    "old_hop": ("old_hop_wise", "previous"),
    "event_fact": ("fact_reliability", "target"),
    "event_local": ("fact_locality", "truth"),
    "tendency": ("tendency_reliability", "target"),
    "tendency_local": ("tendency_locality", "truth"),
}


@dataclass(frozen=True)
class Verdict:
    """What a judge said of one answer.

    Attributes:
        judge: its name.
        protocol, fact, role, index: the answer's key.
        when, edits: when the answer was given.
        generated: what was judged.
        value: 0 to 1, or None where the judge could not tell.
    """

    judge: str
    protocol: str
    fact: int
    role: str
    index: int
    when: str
    edits: int
    generated: str
    value: float | None

    @property
    def key(self) -> tuple:
        """Identifies the answer."""
        return self.protocol, self.fact, self.role, self.index


def load_judge(name: str, where: str = "--judge") -> Judge:
    """The callable that "package.module:function" names.

    Raises:
        UserError: naming the flag, if there is none.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise UserError(f"{where}: {name!r} names no judge; write package.module:function")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise UserError(f"{where}: {name!r} cannot be imported ({error}); check it") from error
    if not callable(found):
        raise UserError(f"{where}: {module} has no callable {attribute!r}; check the name")
    return cast(Judge, found)


def judged(
    answers: Sequence[Answer],
    judge: Judge,
    name: str,
    path: str | Path | None = None,
    *,
    advance: Callable[[int], object] | None = None,
) -> list[Verdict]:
    """The judge's verdicts on all answers with generated text, in their order.

    Args:
        answers: of one setting a protocol.
        judge: the callable; asked the question as the model read it.
        name: what scores call it.
        path: a file of JSON lines to which every verdict is added as it is given; one that is
            there already, on the same text, is not asked for again.
        advance: called with the number of answers done.

    Raises:
        UserError: naming the question, if the judge raises or gives no number from 0 to 1;
            the verdicts before it are kept in the file.
    """
    known = [] if path is None else _kept_verdicts(Path(path))
    given = {(v.judge, *v.key, v.when, v.edits, v.generated): v for v in known}
    found = []
    for answer in answers:
        if answer.generated is None:
            continue
        blank = _verdict(answer, name, None)
        verdict = given.get((name, *blank.key, blank.when, blank.edits, blank.generated))
        if verdict is None:
            verdict = _verdict(answer, name, _ask(judge, name, answer))
            if path is not None:
                write_verdicts(path, [verdict])
        found.append(verdict)
        if advance is not None:
            advance(1)
    return found


def _kept_verdicts(path: Path) -> list[Verdict]:
    """Those of an earlier call; a last line that was cut off in writing is removed."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        path.write_bytes(whole)
    return read_verdicts(path)


def _verdict(answer: Answer, name: str, value: float | None) -> Verdict:
    when, edits = answer.setting.when, answer.edits
    return Verdict(name, *answer.key, when, edits, answer.generated or "", value)


def _ask(judge: Judge, name: str, answer: Answer) -> float | None:
    question = answer.setting.wrapped(answer.asked)
    where = f"judge {name}, on {answer.asked.role} question {question!r}"
    try:
        value = judge(question, answer.asked.target, answer.generated or "")
    except Exception as error:  # whatever a user's own function may raise
        said = " ".join(str(error).split()) or "no message"
        raise UserError(f"{where}: raised {type(error).__name__} ({said}); mend it") from error
    if value is None:
        return None
    if isinstance(value, bool | int | float | np.number) and 0 <= value <= 1:
        return float(value)
    raise UserError(f"{where}: gave {value!r}; it must be a number from 0 to 1, or None")


def scores(answers: Sequence[Answer], verdicts: Sequence[Verdict], *, seed: int = 0) -> list[Score]:
    """Means over facts of the mean verdict on a fact's answers, a score for each role.

    Args:
        answers: of one setting a protocol.
        verdicts: on these, of one judge; unparsable ones are left out.
        seed: of the bootstrap intervals.

    Raises:
        UserError: if the answers of a protocol are of several settings.
    """
    given = {(v.key, v.when, v.edits): v.value for v in verdicts}
    parts: dict[tuple[str, str], list[tuple[Answer, float]]] = defaultdict(list)
    for answer in answers:
        value = given.get((answer.key, answer.setting.when, answer.edits))
        if value is not None and answer.asked.role in METRICS:
            parts[answer.setting.protocol, answer.asked.role].append((answer, value))
    reading = f"judge:{verdicts[0].judge}" if verdicts else ""
    found = []
    for (_, role), own in parts.items():
        by_fact: dict[int, list[float]] = defaultdict(list)
        for answer, value in own:
            by_fact[answer.asked.fact].append(value)
        metric, against = METRICS[role]
        edits = [answer.edits for answer, _ in own]
        found.append(
            mean_score(
                np.array([np.mean(by_fact[fact]) for fact in sorted(by_fact)]),  # [facts]
                one_setting([answer for answer, _ in own]),
                (min(edits), max(edits)),
                metric=metric,
                decoding="generation",
                reading=reading,
                against=against,
                seed=seed,
            )
        )
    return found


def verdict_values(verdicts: Iterable[Verdict]) -> Mapping[tuple, float | None]:
    """By the answer's key, for `jaxedit.metrics.elken.scores`."""
    return {verdict.key: verdict.value for verdict in verdicts}


def write_verdicts(path: str | Path, verdicts: Iterable[Verdict]) -> None:
    """Append the verdicts to a file of JSON lines."""
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(v), ensure_ascii=False) + "\n" for v in verdicts)


def read_verdicts(path: str | Path) -> list[Verdict]:
    """The verdicts of a file of JSON lines.

    Raises:
        UserError: ``file:line``, if a line is broken or is no verdict.
    """
    found = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            value = parse_json(line, str(path), number)
            try:
                found.append(Verdict(**value))
            except TypeError:
                raise UserError(f"{path}:{number}: is not a verdict of a judge") from None
    return found
