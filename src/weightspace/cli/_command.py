"""What all commands share."""

from pathlib import Path
from typing import Protocol

from rich.console import Console

__all__ = ["Command", "console", "continues", "errors"]

console = Console(highlight=False, soft_wrap=True)
errors = Console(highlight=False, soft_wrap=True, stderr=True)


class Command(Protocol):
    """One command with its options as fields."""

    def run(self) -> None:
        """Do it."""
        ...

    def saved(self) -> str:
        """After an interruption: what is on disk, and how to go on."""
        ...


def continues(folder: Path, what: str) -> str:
    """The sentence of commands that go on where they stopped."""
    kept = f"Finished {what} are saved in {folder}" if folder.exists() else "Nothing was saved yet"
    return f"{kept}; the same command goes on from there."
