"""The statements, a file for each; importing one makes it known to `weightspace.theory.statements`."""

from . import _bases

__all__ = ["ORDER"]

ORDER = tuple(module.NAME for module in (_bases,))
"""The names of all statements, in the order in which they build on each other."""
