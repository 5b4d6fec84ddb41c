"""Language models: GPT-J, GPT-2 and the Llama kind, as pure functions of their parameters."""

from jaxedit.models.cache import Cache
from jaxedit.models.config import ModelConfig, RopeScaling
from jaxedit.models.forward import Output, forward, head, init_params, param_shapes
from jaxedit.models.sites import Add, Context, Set, Tap

__all__ = [
    "Add",
    "Cache",
    "Context",
    "ModelConfig",
    "Output",
    "RopeScaling",
    "Set",
    "Tap",
    "forward",
    "head",
    "init_params",
    "param_shapes",
]
