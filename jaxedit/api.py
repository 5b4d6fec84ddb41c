"""The three lines of the common case: load a model, read facts, edit.

lm = jaxedit.load("path/or/hub-id")
edited = jaxedit.edit(lm, jaxedit.read_facts("facts.jsonl"), method="d4s")
edited.generate(["The capital of Australia is"]); edited.save("out"); edited.export("hf_dir")
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from jaxedit.checkpoints import Checkpoints, Meta
from jaxedit.data.disjoint import disjoint
from jaxedit.data.fact import Fact
from jaxedit.data.factworld import World, training_edits
from jaxedit.editors import EDITORS, Editor
from jaxedit.editors.contexts import sample_contexts
from jaxedit.editors.corpus import EMBEDDED, MODEL, Corpus
from jaxedit.editors.editor import Log, State, take
from jaxedit.editors.meta_training import TrainedOnce
from jaxedit.editors.resources import fingerprint
from jaxedit.editors.resources import statistics as cached_statistics
from jaxedit.editors.rows import Contexts
from jaxedit.editors.settings import fields, settings_for
from jaxedit.editors.statistics import check_moments
from jaxedit.editors.trained import fitted
from jaxedit.editors.weights import check_layers
from jaxedit.errors import UserError
from jaxedit.ledger import write_json
from jaxedit.metrics import code_version
from jaxedit.models.loading import load_model, save_hf
from jaxedit.models.protocol import Advance, Continuation, Row, TeacherForced
from jaxedit.models.text import Tokenizer, read_json
from jaxedit.models.transformer import Transformer
from jaxedit.typed import suggestion, typed_settings

BLOCK = 32  # facts whose values are optimised together
_RECORD = "edited.json"


@dataclasses.dataclass(frozen=True)
class Edited:
    """A model with its edits; itself a language model. The unedited one is unchanged.

    Attributes:
      unedited: the model as it was loaded.
      model: the model with all edits.
      method: name of the editor.
      editor: the method with its settings.
      state: the editor's, after all edits.
      facts: all facts, in the order of their edits.
      log: how the value of each fact of the last call went, a row a fact.
    """

    unedited: Transformer
    model: Transformer
    method: str
    editor: Editor
    state: State
    facts: tuple[Fact, ...]
    log: Log

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's."""
        return self.model.tokenizer

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int = 32,
        stop: str | Sequence[str] | None = None,
    ) -> list[str]:
        """Greedy continuations of the prompts, without them."""
        return self.model.generate(prompts, max_new_tokens, stop)

    def continuations(
        self,
        prompts: Sequence[str],
        max_new_tokens: int = 32,
        stop: str | Sequence[str] | None = None,
        advance: Advance | None = None,
    ) -> list[Continuation]:
        """See `jaxedit.models.protocol.LanguageModel`."""
        return self.model.continuations(prompts, max_new_tokens, stop, advance)

    def teacher_forced(
        self, prompts: Sequence[str], targets: Sequence[str], advance: Advance | None = None
    ) -> list[TeacherForced]:
        """See `jaxedit.models.protocol.LanguageModel`."""
        return self.model.teacher_forced(prompts, targets, advance)

    def score_rows(
        self, rows: Sequence[Row], advance: Advance | None = None
    ) -> list[TeacherForced]:
        """See `jaxedit.models.protocol.LanguageModel`."""
        return self.model.score_rows(rows, advance)

    def loglikelihood(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """See `jaxedit.models.protocol.LanguageModel`."""
        return self.model.loglikelihood(texts)

    def edit(self, facts: Sequence[Fact], *, batch: int = 1) -> "Edited":
        """Goes on with more facts. A new answer to an old fact is a revision; the log says so."""
        _report_revisions(self.facts, facts)
        return _apply(self.unedited, self.method, self.editor, self.state, self.facts, facts, batch)

    def save(self, directory: str | Path) -> None:
        """Writes what `restore` needs: the editor's state, statistics and settings, and the facts.

        Raises:
          UserError: the directory holds other edits.
        """
        directory = Path(directory)
        if (directory / _RECORD).exists():
            raise UserError(f"{directory} already holds saved edits; choose another directory")
        directory.mkdir(parents=True, exist_ok=True)
        meta = Meta(
            len(self.facts),
            self.method,
            fingerprint(self.unedited),
            "",
            tuple(fact.id for fact in self.facts),
            code_version(),
        )
        statistics = {str(layer): matrix for layer, matrix in self._statistics().items()}
        with Checkpoints(directory / "state") as checkpoints:
            arrays = {"state": self.editor.snapshot(self.state)}
            if isinstance(self.editor, TrainedOnce):
                arrays["trained"] = self.editor.pack(self.editor.trained)
            if statistics:
                arrays["statistics"] = statistics
            checkpoints.save(arrays, meta)
        record = {
            "model": self.unedited.name,
            "method": self.method,
            "settings": _settings(self.editor),
            "facts": [dataclasses.asdict(fact) for fact in self.facts],
        }
        write_json(directory / _RECORD, record)

    def _statistics(self) -> Mapping[int, np.ndarray]:
        """The second moments that the editor was made with; none for a method without."""
        return getattr(self.editor, "statistics", {})

    def export(self, directory: str | Path) -> None:
        """Writes the edited model as a Hugging Face directory.

        Raises:
          UserError: the method changes no weights: a directory cannot hold what it remembers.
        """
        if not isinstance(self.model, Transformer):
            raise UserError(
                f"{self.method} changes no weights, so there is no other model to export; "
                "save() keeps the edits, and restore() brings them back"
            )
        save_hf(self.model, directory)


load = load_model


def edit(
    lm: Transformer,
    facts: Sequence[Fact],
    method: str = "d4s",
    *,
    batch: int = 1,
    statistics: Mapping[int, np.ndarray] | None = None,
    contexts: Contexts | None = None,
    corpus: str | None = None,
    seed: int = 0,
    records: Sequence[Fact] | None = None,
    **settings: Any,
) -> Edited:
    """Edits `facts` into `lm`, one after another (or `batch` at a time).

    Args:
      lm: the model; not changed.
      facts: what it is to know.
      method: a name in `jaxedit.editors.EDITORS`: "d4s", "memit", "rome", "alphaedit", "ft", ...
      batch: facts an update.
      statistics: second moments by layer; by default they are computed on `corpus` and kept in
        the user's cache.
      contexts: prefix templates, the plain ``{}`` first; by default sampled from the model.
      corpus: a text file, a folder, "embedded", or "model" for text that the model writes; by
        default "embedded" for an embedded model.
      seed: of all that is sampled.
      records: what a method that is trained once ("mend", "malmen", "serac") is trained on, less
        what is about `facts`; by default the embedded world's for an embedded model. What is
        trained is kept in the user's cache.
      **settings: hyper-parameters of the method that are to differ from the published ones (or
        from those that the model brings): layers, moment_weight, values, residual, ...

    Raises:
      UserError: an unknown method or setting, a layer that the model does not have, no facts,
        no corpus for the statistics, no training records.
    """
    editor = _editor(lm, method, statistics, contexts, corpus, seed, settings)
    if not facts:
        raise UserError("there are no facts to edit; give at least one")
    if isinstance(editor, TrainedOnce) and editor.trained is None:
        editor = fitted(editor, lm, _training_records(lm, method, facts, records))
    return _apply(lm, method, editor, editor.init(lm), (), facts, batch)


def _training_records(
    lm: Transformer, method: str, facts: Sequence[Fact], records: Sequence[Fact] | None
) -> tuple[Fact, ...]:
    if records is None and not lm.name.startswith("embedded:"):
        raise UserError(
            f"{method} is trained once, before any edit: pass records= facts like those to be "
            "edited, with paraphrases and neighbours"
        )
    return disjoint(training_edits(World()) if records is None else records, facts)


def restore(directory: str | Path, lm: Transformer | None = None) -> Edited:
    """Edits that `Edited.save` wrote.

    Args:
      directory: where.
      lm: the unedited model; loaded under its old name if None.

    Raises:
      UserError: nothing is saved there, or it belongs to another model.
    """
    directory = Path(directory)
    if not (directory / _RECORD).is_file():
        raise UserError(f"{directory} holds no saved edits; give a directory that save() wrote")
    record = read_json(directory / _RECORD)
    lm = load_model(record["model"]) if lm is None else lm
    with Checkpoints(directory / "state", read_only=True) as checkpoints:
        kept = checkpoints.restore()
    if kept is None:
        raise UserError(f"{directory} holds no whole checkpoint; save the edits again")
    if kept.meta.model != fingerprint(lm):
        raise UserError(
            f"{directory} holds edits of another model than {lm.name}; "
            f"load the one that was edited ({record['model']})"
        )
    statistics = {int(layer): matrix for layer, matrix in kept.state.get("statistics", {}).items()}
    editor: Any = _make(record["method"], record["settings"], statistics)
    if "trained" in kept.state:
        own = editor.unpack(lm, kept.state["trained"])
        editor = dataclasses.replace(editor, trained=own)
    state = editor.restore(lm, kept.state["state"])
    facts = tuple(map(Fact.from_dict, record["facts"]))
    return Edited(lm, editor.bind(lm, state), record["method"], editor, state, facts, {})


def _editor(
    lm: Transformer,
    method: str,
    statistics: Mapping[int, np.ndarray] | None,
    contexts: Contexts | None,
    corpus: str | None,
    seed: int,
    settings: Mapping[str, Any],
) -> Editor:
    if method not in EDITORS:
        raise UserError(f"there is no method {method!r}{suggestion(method, EDITORS)}")
    chosen = typed_settings(EDITORS[method], settings, method, given=("statistics", "contexts"))
    try:
        chosen = {**settings_for(lm.config, lm.name, method), **chosen}
    except UserError:
        if "layers" in fields(method) and "layers" not in chosen:
            raise
    if chosen.get("layers"):  # none: all that a method may take
        check_layers(lm, chosen["layers"])
    known = fields(method)
    if "statistics" in known:
        if statistics is None:
            statistics = _statistics(lm, chosen["layers"], corpus, seed)
        else:
            check_moments(statistics, chosen["layers"], lm.config.d_ff, "statistics=")
        chosen["statistics"] = statistics
    if "contexts" in known:
        chosen["contexts"] = sample_contexts(lm, seed) if contexts is None else contexts
    return EDITORS[method](**chosen)


def _statistics(
    lm: Transformer, layers: tuple[int, ...], corpus: str | None, seed: int
) -> Mapping[int, np.ndarray]:
    source = corpus or (EMBEDDED if lm.name.startswith("embedded:") else None)
    if source is None:
        raise UserError(
            "the statistics need text: pass corpus= a text file or folder like the model's "
            f"training text, or corpus={MODEL!r} for text that the model writes itself"
        )
    return cached_statistics(lm, layers, Corpus(source, seed)).matrices


def _make(method: str, settings: Mapping[str, Any], statistics: Mapping[int, np.ndarray]) -> Editor:
    """An editor from what `_settings` wrote."""
    chosen = typed_settings(EDITORS[method], settings, method, given=("statistics",))
    own = {"statistics": statistics} if "statistics" in fields(method) else {}
    return EDITORS[method](**chosen, **own)


def _settings(editor: Any) -> dict[str, Any]:
    """The editor's hyper-parameters and contexts, in JSON's types."""
    kept = {
        field.name: getattr(editor, field.name)
        for field in dataclasses.fields(editor)
        if field.init and field.name not in ("statistics", "trained", "partway")
    }
    return json.loads(json.dumps(kept, default=dataclasses.asdict))


def _apply(
    lm: Transformer,
    method: str,
    editor: Editor,
    state: State,
    done: tuple[Fact, ...],
    facts: Sequence[Fact],
    batch: int,
) -> Edited:
    logs: list[Log] = []
    size = -(-BLOCK // batch) * batch
    for start in range(0, len(facts), size):
        block = facts[start : start + size]
        prepared = editor.prepare(lm, block)
        for first in range(0, len(block), batch):
            last = min(first + batch, len(block))
            state, log = _checked_edit(lm, editor, state, take(prepared, first, last), block[first])
            logs.append(log)
    log = {name: np.concatenate([part[name] for part in logs]) for name in logs[0]}
    whole = (*done, *facts)
    return Edited(lm, editor.bind(lm, state), method, editor, state, whole, log)


def _checked_edit(
    lm: Transformer, editor: Editor, state: State, prepared: Any, first: Fact
) -> tuple[State, Log]:
    try:
        return editor.edit(lm, state, prepared)
    except FloatingPointError as error:
        raise UserError(f"fact {first.id or first.question!r}: {error}") from None


def _report_revisions(old: Sequence[Fact], new: Sequence[Fact]) -> None:
    known = {(fact.prompt, fact.subject): fact.target for fact in old}
    for fact in new:
        before = known.get((fact.prompt, fact.subject))
        if before is not None and before != fact.target:
            logging.info("revision: %s %r instead of %r", fact.question, fact.target, before)
