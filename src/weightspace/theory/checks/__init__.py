"""The statements, a file for each; importing one makes it known to `weightspace.theory.statements`."""

from . import _bases, _symmetries

__all__ = ["ORDER"]

ORDER = tuple(module.NAME for module in (_bases, _symmetries))
"""The names of all statements, in the order in which they build on each other."""
