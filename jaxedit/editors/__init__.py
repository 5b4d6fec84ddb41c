"""Editing methods, by name. Each is a frozen dataclass; see `jaxedit.editors.editor`."""

from collections.abc import Mapping
from typing import Any

from jaxedit.editors.alphaedit import AlphaEdit
from jaxedit.editors.d4s import D4S
from jaxedit.editors.defer import Defer
from jaxedit.editors.editor import Editor
from jaxedit.editors.emmet import Emmet
from jaxedit.editors.finetune import Ft, FtL, FtM, LocFtBf
from jaxedit.editors.grace import Grace
from jaxedit.editors.ike import Ike
from jaxedit.editors.in_context import Retrieval
from jaxedit.editors.kn import Kn
from jaxedit.editors.malmen import Malmen
from jaxedit.editors.memit import Memit
from jaxedit.editors.mend import Mend
from jaxedit.editors.onceedit import OnceEdit
from jaxedit.editors.pmet import Pmet
from jaxedit.editors.rome import Rome, RRome
from jaxedit.editors.serac import Serac
from jaxedit.editors.ultraedit import UltraEdit
from jaxedit.editors.wise import Wise

EDITORS: Mapping[str, Any] = {
    "ft": Ft,
    "ft_l": FtL,
    "ft_m": FtM,
    "locft_bf": LocFtBf,
    "kn": Kn,
    "rome": Rome,
    "r_rome": RRome,
    "memit": Memit,
    "emmet": Emmet,
    "pmet": Pmet,
    "alphaedit": AlphaEdit,
    "ultraedit": UltraEdit,
    "d4s": D4S,
    "mend": Mend,
    "malmen": Malmen,
    "grace": Grace,
    "defer": Defer,
    "wise": Wise,
    "serac": Serac,
    "onceedit": OnceEdit,
    "retrieval": Retrieval,
    "ike": Ike,
}

__all__ = [
    "D4S",
    "EDITORS",
    "AlphaEdit",
    "Defer",
    "Editor",
    "Emmet",
    "Ft",
    "FtL",
    "FtM",
    "Grace",
    "Ike",
    "Kn",
    "LocFtBf",
    "Malmen",
    "Memit",
    "Mend",
    "OnceEdit",
    "Pmet",
    "RRome",
    "Retrieval",
    "Rome",
    "Serac",
    "UltraEdit",
    "Wise",
]
