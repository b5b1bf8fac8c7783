"""Blind deblurring from interchangeable parts.

The public names are resolved when they are first used, so that ``import deblurkit`` costs nothing and the command line
answers before torch is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deblurkit.config import Config, resolve
    from deblurkit.errors import DeblurkitError
    from deblurkit.images import read_image, write_image
    from deblurkit.pipeline.deblur import Result, deblur
    from deblurkit.registry import Registry

__version__ = "0.1.0"
__all__ = [
    "Config",
    "DeblurkitError",
    "Registry",
    "Result",
    "__version__",
    "deblur",
    "read_image",
    "resolve",
    "write_image",
]

_HOMES = {
    "Config": "config",
    "DeblurkitError": "errors",
    "Registry": "registry",
    "Result": "pipeline.deblur",
    "deblur": "pipeline.deblur",
    "read_image": "images",
    "resolve": "config",
    "write_image": "images",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deblurkit' has no attribute {name!r}")
    value = getattr(import_module(f"deblurkit.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
