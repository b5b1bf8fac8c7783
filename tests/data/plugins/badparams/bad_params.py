from dataclasses import dataclass

from deblurkit.params import Params, param


@dataclass(frozen=True, kw_only=True)
class Careless(Params):
    depth: int | None = param(None, "Not said.")
