"""Language models: GPT-J, GPT-2 and the Llama kind, as pure functions of their parameters."""

from jaxedit.models.cache import Cache
from jaxedit.models.config import ModelConfig, RopeScaling
from jaxedit.models.forward import Output, forward, head, init_params, param_shapes
from jaxedit.models.loading import load_model, save_hf
from jaxedit.models.protocol import Continuation, LanguageModel, TeacherForced
from jaxedit.models.sites import Add, Context, Set, Tap
from jaxedit.models.text import Tokenizer, bucket, pad_batch
from jaxedit.models.transformer import Transformer

__all__ = [
    "Add",
    "Cache",
    "Context",
    "Continuation",
    "LanguageModel",
    "ModelConfig",
    "Output",
    "RopeScaling",
    "Set",
    "Tap",
    "TeacherForced",
    "Tokenizer",
    "Transformer",
    "bucket",
    "forward",
    "head",
    "init_params",
    "load_model",
    "pad_batch",
    "param_shapes",
    "save_hf",
]
