"""Downstream abilities: published benchmarks through lm-evaluation-harness, and the world's own.

    found = abilities(lm, ["arc_challenge", "world"], data="data/downstream", limit=300)
    print(ability_table(found))

`jaxedit.downstream.harness` has the adapter; it alone needs the extra "harness" to be imported.
"""

from jaxedit.downstream.ability import Ability, reduce_items
from jaxedit.downstream.battery import Battery, abilities, open_battery, run_tasks
from jaxedit.downstream.items import Item, Taken, read_items, write_items
from jaxedit.downstream.paired import Paired, compare, mcnemar
from jaxedit.downstream.tables import ability_table, paired_table
from jaxedit.downstream.tasks import headline, known_tasks, names_of
from jaxedit.downstream.world import run_world_tests

__all__ = [
    "Ability",
    "Battery",
    "Item",
    "Paired",
    "Taken",
    "abilities",
    "ability_table",
    "compare",
    "headline",
    "known_tasks",
    "mcnemar",
    "names_of",
    "open_battery",
    "paired_table",
    "read_items",
    "reduce_items",
    "run_tasks",
    "run_world_tests",
    "write_items",
]
