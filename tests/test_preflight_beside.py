"""Memory of what is kept beside a model, and of what is trained once, against what is there."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.config import run_config
from jaxedit.editors.codebook_entries import Entries
from jaxedit.editors.defer import Defer
from jaxedit.editors.hyper_network import initial_network
from jaxedit.editors.meta_training import MetaTraining
from jaxedit.editors.scope import memory_of
from jaxedit.editors.serac import Serac
from jaxedit.editors.side_memory import empty
from jaxedit.editors.weights import kernel
from jaxedit.editors.wise import SideEdited, Wise
from jaxedit.errors import UserError
from jaxedit.models.families import FAMILIES
from jaxedit.preflight import Estimate, estimate, known_shape
from jaxedit.preflight_beside import (
    TRAINED,
    Needs,
    Sizes,
    kernel_shapes,
    needs,
    network_size,
    versions,
)
from tests.test_configs import published
from tests.tiny import tiny_facts, tiny_model

LM = tiny_model(n_layers=2)
EDITS = 37


def needed(method: str, *, edits: int = EDITS, batch: int = 1, **settings: Any) -> Needs:
    found = needs(method, settings, Sizes(LM.config, LM.name, edits, batch, 64))
    assert found is not None
    return found


def size(tree: Any) -> int:
    return sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(tree))


def total(parts: Any) -> int:
    return sum(parts.values())


def test_linears_of_every_family_are_found_by_name():
    shapes = {"mlp.down": (48, 24), "mlp.up": (24, 48), "attn.q": (24, 24)}
    assert kernel_shapes(LM.config, (0, 1), tuple(shapes)) == [*shapes.values()] * 2
    for name in ("openai-community/gpt2-xl", "EleutherAI/gpt-j-6b", "meta-llama/Llama-2-7b-hf"):
        model = known_shape(name)
        found = kernel_shapes(model, (3,), FAMILIES[model.hf_type].linears)
        assert (model.d_ff, model.d_model) in found and (model.d_model, model.d_ff) in found
    with pytest.raises(UserError, match=r"no linear 'mlp.gate' to edit; it has .*mlp.down"):
        kernel_shapes(LM.config, (0,), ("mlp.gate",))


def test_a_codebook_has_room_for_the_edits():
    found = needed("grace", layers=(1,), capacity=4)
    book = Entries.none(48, 24, np.float32)._replace(count=EDITS).with_room(4, LM.mesh)
    assert len(book.keys) == 64
    assert total(found.kept) == size((book.keys, book.values, book.radii))
    assert total(found.kept) == 64 * 4 * (48 + 24 + 1)
    assert (found.written, found.checkpoint) == (0, EDITS * 4 * (48 + 24 + 1))
    assert needed("grace", layers=(1,), module="attn.q", capacity=64).checkpoint == EDITS * 4 * 49


def test_maps():
    found = needed("defer", layers=(1,))
    maps = Defer((1,)).init(LM).maps
    assert total(found.kept) == found.checkpoint == size(maps)


@pytest.mark.parametrize("retrieve", [True, False])
def test_versions_as_they_are_stored_and_merged(retrieve: bool):
    editor = Wise((1,), save_freq=2, merge_freq=6, retrieve=retrieve)
    state, most = SideEdited(empty(jnp.zeros((2, 2))), 0), 0
    for edit in range(1, 21):
        most = max(most, state.memory.count + (edit % 2 == 0))  # stored first, and then merged
        state = editor._settled(state._replace(edits=edit), edit - 1)
        assert versions(editor, edit) == most
    slots = {2: 2, 3: 4, 4: 4, 5: 8}[most]
    found = needed("wise", edits=20, layers=(1,), save_freq=2, merge_freq=6, retrieve=retrieve)
    one = size(kernel(LM, 1))
    assert total(found.kept) == (1 + slots) * one
    assert found.checkpoint == (1 + most) * one
    assert total(needed("wise", edits=1, layers=(1,), save_freq=2, merge_freq=6).kept) == one


def test_a_second_model_and_its_training():
    settings: Any = {"depth": 1, "width": 8, "training": MetaTraining(batch=2)}
    found = needed("serac", **settings)
    trained = Serac(**settings).problem(LM, tiny_facts(3)).initial
    cache = size(memory_of(np.zeros((EDITS, 8))).keys)
    assert total(found.kept) == size(trained) + cache
    training = found.training["counterfactual model and classifier in training"]
    assert training == TRAINED * size(trained)
    assert found.host["cached edits"] == found.checkpoint == cache
    assert found.others[0].n_layers == 1
    with pytest.raises(UserError, match="depth is 9"):
        needed("serac", depth=9)


@pytest.mark.parametrize("modules", [("mlp.up", "mlp.down"), ("attn.q",)])
def test_networks(modules: tuple[str, ...]):
    shapes = kernel_shapes(LM.config, (0, 1), modules)
    named = {f"layers_{i}": shape for i, shape in enumerate(shapes)}
    network = initial_network(named, rank=3, blocks=2, seed=0)
    assert 4 * network_size(shapes, 3, 2) == size(network) + 4 * len(shapes)
    small, large = (
        needed("malmen", batch=batch, layers=(0, 1), modules=modules, rank=3) for batch in (1, 64)
    )
    assert total(small.kept) == total(large.kept) == size(network) + 4 * len(shapes)
    assert small.training["network in training"] == TRAINED * total(small.kept)
    assert small.checkpoint == 4 * small.written == sum(4 * i * o for i, o in shapes)
    assert total(large.editing) > 8 * total(small.editing)
    assert needed("mend", layers=(0, 1), modules=modules, rank=3).written == small.written


def test_questions_behind_demonstrations_are_longer():
    plain, few, many = (
        needed(*given).front if isinstance(given, tuple) else needed("ike", shown=given).front
        for given in (("retrieval",), 0, 1)
    )
    assert plain == few < many <= LM.config.max_positions
    assert needed("ike", shown=32).front == LM.config.max_positions - 64
    assert needed("retrieval").host["facts' features"] == 4 * 24 * EDITS


def test_what_writes_into_weights_alone_is_counted_elsewhere():
    sizes = Sizes(LM.config, LM.name, 1, 1, 64)
    assert needs("memit", {"layers": (1,)}, sizes) is None


def parts(found: Estimate) -> dict[str, int]:
    return {part.name: part.size for part in found.parts}


def test_the_papers_models():
    """MEND for GPT-J trains more than it edits, and its training is what takes most memory."""
    config = run_config(published("published:mend,gptj"))
    model = known_shape(config.model)
    found = estimate(config, model)
    sizes = parts(found)
    network = 2 * 2 * 20480 * (2 * 1920 + 1 + 2 * 3) + 6
    assert sizes["network, float32"] == 4 * network
    assert sizes["edited leaves, float32, old and new"] == 2 * 4 * 6 * 4096 * 16384
    training = sum(part.size for part in found.parts if part.phase == "training")
    assert training > 8 * 4 * network
    assert found.peak == sizes["parameters"] + training
    grace = parts(estimate(run_config(published("published:grace,gptj")), model))
    assert "edited leaves, float32, old and new" not in grace
    assert sizes["parameters"] == grace["parameters"]
