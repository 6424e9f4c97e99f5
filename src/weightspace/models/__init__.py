"""Published architectures, each a thin composition of the engines, and the registry."""

from ._dws import DWS
from ._gmn import GMN
from ._registry import architectures, build, register

__all__ = ["DWS", "GMN", "architectures", "build", "register"]
