"""Published architectures, each a thin composition of the engines, and the registry."""

from ._dws import dws
from ._gmn import gmn
from ._metanetwork import Body, Metanetwork, Ports, Task
from ._registry import architectures, build, register

__all__ = ["Body", "Metanetwork", "Ports", "Task", "architectures", "build", "dws", "gmn", "register"]
