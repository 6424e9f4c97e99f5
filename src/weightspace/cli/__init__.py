"""The command line: `weightspace`. Each command is a frozen dataclass whose fields are its options."""

from ._main import main

__all__ = ["main"]
