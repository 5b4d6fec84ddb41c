"""The three models that ship: what they know, and that they can be edited.

The numbers are printed: run with -s, or read them in the summary of a failure.
"""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from jaxedit.data import factworld
from jaxedit.data.factworld import SHOWN, Item, World, corpus, downstream, edits, statements
from jaxedit.editors import D4S
from jaxedit.editors.contexts import sample_contexts
from jaxedit.editors.editor import take
from jaxedit.editors.settings import settings_for
from jaxedit.editors.statistics import second_moments
from jaxedit.models.loading import load_model
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh

WORLD = World(0)
NAMES = ("gptj", "llama", "plugin")
LONGEST_ANSWER = 10  # tokens
MODELS = Path(factworld.__file__).parent / "models"

LEAST = {
    "facts": 0.9,
    "four_choice": 0.9,
    "two_hop": 0.35,
    "kinds": 0.9,
    "agreement": 0.9,
    "copying": 0.4,
}  # a guess gets 1/4, of agreement 1/2


@functools.cache
def shipped(name: str) -> Transformer:
    return load_model(f"embedded:{name}", mesh=make_mesh(1))


def answers(lm, prompts: list[str]) -> list[str]:
    made = lm.generate(prompts, max_new_tokens=LONGEST_ANSWER, stop=[".", "\n"])
    return [text.strip() for text in made]


def says(lm, asked: Iterable[tuple[str, str]]) -> list[bool]:
    """Whether greedy decoding of each prompt begins with its answer.

    It does if every token of the answer is the likeliest one behind those before it.
    """
    made = lm.teacher_forced(*zip(*asked, strict=True))
    return [bool((forced.predicted_ids == forced.target_ids).all()) for forced in made]


def right(lm, prompts: list[str], targets: list[str]) -> float:
    made = answers(lm, prompts)
    return float(np.mean([a == b for a, b in zip(made, targets, strict=True)]))


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_known(name):
    lm = shipped(name)
    facts = WORLD.facts[::4]

    def share(template) -> float:
        prompts = [template(fact).replace("{}", fact.subject) for fact in facts]
        return right(lm, prompts, [fact.object for fact in facts])

    known = share(WORLD.completion)
    held_out = share(WORLD.held_out)
    unseen = share(lambda fact: WORLD.relations[fact.relation].unseen)
    print(
        f"\n{name}: greedy exact match over {len(facts)} facts: trained phrasings {known:.3f}, "
        f"held out {held_out:.3f}, never seen {unseen:.3f}"
    )
    assert known > 0.95
    assert held_out > 0.80


def chosen(lm, items: Sequence[Item]) -> list[bool]:
    """Whether the right choice of each item is the likeliest one."""
    prompts = [item.prompt for item in items for _ in item.choices]
    choices = [choice for item in items for choice in item.choices]
    scores = iter([forced.logprobs.sum() for forced in lm.teacher_forced(prompts, choices)])
    return [np.argmax([next(scores) for _ in item.choices]) == item.answer for item in items]


@pytest.mark.parametrize("name", NAMES)
def test_downstream_tests_are_passed_well_above_chance(name):
    tests = {**downstream(WORLD), "statements": statements(WORLD)}
    right = iter(chosen(shipped(name), [item for items in tests.values() for item in items]))
    found = {test: float(np.mean([next(right) for _ in items])) for test, items in tests.items()}
    print(f"\n{name}:", ", ".join(f"{test} {score:.2f}" for test, score in found.items()))
    for test, least in LEAST.items():
        assert found[test] >= least, test


@pytest.mark.parametrize("name", ["gptj", "llama"])
def test_one_memit_edit_takes_carries_and_keeps(name):
    """D4S with recomputed residuals from its empty state is one MEMIT edit of the fresh model.

    Neighbours that the unedited model does not know are not counted; the others are kept if
    the answer stays.
    """
    lm = shipped(name)
    settings = settings_for(lm.config, f"embedded:{name}", "d4s")
    facts = edits(WORLD, 40, SHOWN)
    editor = D4S(
        statistics=second_moments(lm, settings["layers"], corpus(WORLD, 2000)).matrices,
        contexts=sample_contexts(lm, 0),
        **{**settings, "residual": "recomputed"},
    )
    asked = {q.prompt: q.answer for fact in facts for q in fact.neighbours}
    known = dict(zip(asked, says(lm, asked.items()), strict=True))
    fresh, prepared = editor.init(lm), editor.prepare(lm, facts)
    reached, carried, kept = [], [], []
    for i, fact in enumerate(facts):
        state, _ = editor.edit(lm, fresh, take(prepared, i, i + 1))
        near = [(q.prompt, q.answer) for q in fact.neighbours if known[q.prompt]]
        new = [(prompt, fact.target) for prompt in (fact.question, *fact.paraphrases)]
        made = says(editor.bind(lm, state), [*new, *near])
        reached.append(made[0])
        carried += made[1 : len(new)]
        kept += made[len(new) :]
    print(
        f"\n{name}: one MEMIT edit, {len(facts)} facts: efficacy {np.mean(reached):.3f}, "
        f"paraphrases {np.mean(carried):.3f} of {len(carried)}, neighbours kept "
        f"{np.mean(kept):.3f} of {len(kept)} (of {len(known)} questions the unedited model "
        f"answers {np.mean(list(known.values())):.3f})"
    )
    assert np.mean(reached) >= 0.95
    assert np.mean(carried) >= 0.70
    assert np.mean(kept) >= 0.95


def test_what_ships_is_small_and_whole():
    sizes = {}
    for name in NAMES:
        files = {path.name: path.stat().st_size for path in (MODELS / name).iterdir()}
        assert set(files) == {
            *("config.json", "model.safetensors", "tokenizer.json"),
            *("tokenizer_config.json", "editing.json"),
        }
        sizes[name] = sum(files.values())
    print("\nmegabytes:", {name: round(size / 1e6, 2) for name, size in sizes.items()})
    assert sum(sizes.values()) < 15e6


@pytest.mark.parametrize("name", NAMES)
def test_its_names_are_split_into_syllables(name):
    tokenizer = shipped(name).tokenizer
    for word in (word for subject in [*WORLD.people, *WORLD.firms] for word in subject.split()):
        _, spans = tokenizer.encode_with_offsets(f"so {word}")
        assert sum(end > start >= 3 for start, end in spans) >= 2, word
