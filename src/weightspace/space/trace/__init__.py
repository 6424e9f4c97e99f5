"""The weight space of any module, read off its graph."""

from ._trace import from_module

__all__ = ["from_module"]
