"""Runs a published test: the harness's own prompts and metrics over local files, no network."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxedit.downstream.items import Item, Taken
from jaxedit.downstream.pools import Pool, Source, chosen
from jaxedit.downstream.tasks import Task
from jaxedit.errors import UserError
from jaxedit.progress import progress

if TYPE_CHECKING:
    from jaxedit.downstream.harness import HarnessModel

FEWSHOT_SEED = 1234  # of the harness, for the demonstrations that each item gets


def need_harness() -> None:
    """Raises UserError if lm-evaluation-harness is not installed."""
    try:
        with _quiet():
            import lm_eval.api.model  # noqa: F401
    except ImportError:
        raise UserError(
            'downstream tasks need lm-evaluation-harness: pip install "jaxedit[harness]"'
        ) from None


def run_task(
    lm: Any, name: str, task: Task, source: Source, *, shots: int, limit: int | None, seed: int
) -> list[Item]:
    """The items of one task, subset by subset, in file order."""
    from lm_eval import __version__

    from jaxedit.downstream.harness import HarnessModel

    pools = chosen(name, source.pools, limit, seed)
    taken = Taken(
        task=name,
        shots=shots,
        seed=seed,
        limit=limit,
        source=source.described,
        demonstrations=source.demonstrations if shots else "",
        harness=f"lm-eval {__version__}",
        notes=source.notes,
    )
    HarnessModel(lm)  # refuses a model without likelihoods before any prompt is made
    with _quiet():
        built = build_tasks(task, pools, shots)
        for one in built:
            with contextlib.redirect_stderr(io.StringIO()):  # its bar has no switch
                one.build_all_requests()
    requests = [request for one in built for request in one.instances]
    with progress(name, len(requests), unit="requests") as advance:
        model = HarnessModel(lm, advance=advance)
        with _quiet():
            dropped = _answer(model, requests)
    sizes = {pool.subset: len(pool.docs) for pool in source.pools}
    found, start = [], 0
    for pool, one in zip(pools, built, strict=True):
        end = start + len(one.instances)
        lost = dict(zip(map(id, one.instances), dropped[start:end], strict=True))
        with _quiet():
            found += _items(task, one, pool, taken, sizes[pool.subset], lost)
        start = end
    return found


def build_tasks(task: Task, pools: Sequence[Pool], shots: int) -> list[Any]:
    """The harness's own tasks (ConfigurableTask), their data replaced by the pools' records."""
    import lm_eval.tasks
    from lm_eval.tasks import TaskManager

    folder = Path(lm_eval.tasks.__file__).parent / task.folder
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    # A group's members are registered tasks with changes, which a name alone cannot say.
    members = [_changes(pool, shots) for pool in pools]
    loaded = manager.load([{"group": "local", "task": members}])["tasks"]
    built = [loaded[pool.harness] for pool in pools]
    for one in built:
        one.set_fewshot_seed(FEWSHOT_SEED)
    return built


def _changes(pool: Pool, shots: int) -> dict[str, Any]:
    import datasets

    def records(**unused: Any) -> Any:
        shown = {"shown": datasets.Dataset.from_list(list(pool.shown))} if shots else {}
        scored = datasets.Dataset.from_list([doc for _, doc in pool.docs])
        return datasets.DatasetDict({"scored": scored, **shown})

    return {
        "task": pool.harness,
        "custom_dataset": records,
        "training_split": None,
        "validation_split": None,
        "test_split": "scored",
        "fewshot_split": "shown" if shots else None,
        "num_fewshot": shots,
    }


def _answer(model: HarnessModel, requests: Sequence[Any]) -> list[int]:
    """Gives each request its response; returns the tokens that were cut from each."""
    by_kind: dict[str, list[int]] = defaultdict(list)
    for i, request in enumerate(requests):
        by_kind[request.request_type].append(i)
    dropped = [0] * len(requests)
    for kind, places in by_kind.items():
        asked = [requests[i] for i in places]
        responses = getattr(model, kind)(asked, disable_tqdm=True)
        for i, response, cut in zip(places, responses, model.dropped, strict=True):
            requests[i].resps.append(response)
            dropped[i] = cut
    return dropped


def _items(
    task: Task, built: Any, pool: Pool, taken: Taken, population: int, lost: dict[int, int]
) -> list[Item]:
    """The harness's filters and metrics, an item at a time."""
    built.apply_filters()
    by_doc: dict[int, list[Any]] = defaultdict(list)
    for request in built.instances:
        by_doc[request.doc_id].append(request)
    found = []
    for place, requests in sorted(by_doc.items()):
        requests.sort(key=lambda request: request.idx)
        doc = requests[0].doc
        found.append(
            Item(
                taken=taken,
                subset=pool.subset,
                index=pool.docs[place][0],
                population=population,
                values=_values(built, doc, requests),
                chance=task.chance(doc, len(requests)),
                gold=str(built.doc_to_text(doc) if built.multiple_input else _gold(built, doc)),
                responses=tuple(request.resps[0] for request in requests),
                dropped=max(lost[id(request)] for request in requests),
                digest=_digest([request.args for request in requests]),
            )
        )
    return found


def _gold(built: Any, doc: dict[str, Any]) -> Any:
    return "" if built.OUTPUT_TYPE == "loglikelihood_rolling" else built.doc_to_target(doc)


def _values(built: Any, doc: dict[str, Any], requests: Sequence[Any]) -> dict[str, float]:
    values = {}
    for name in requests[0].filtered_resps:
        metrics = built.process_results(doc, [r.filtered_resps[name] for r in requests])
        if "word_perplexity" in metrics:
            total, words = metrics["word_perplexity"]
            length = metrics["byte_perplexity"][1]
            return {"loglikelihood": float(total), "words": float(words), "bytes": float(length)}
        suffix = "" if name == "none" else f" ({name})"
        values |= {f"{metric}{suffix}": float(value) for metric, value in metrics.items()}
    return values


def _digest(requests: Sequence[Any]) -> str:
    told = json.dumps(requests, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the harness and its libraries say of their own affairs is not said."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), _no_bars():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
