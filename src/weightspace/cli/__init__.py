"""The command line: `weightspace`. Each command is a frozen dataclass whose fields are its options."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the program's name; that of the process by default.

    Returns:
        0, or 2 if something was refused, or 130 after an interruption.

    Raises:
        SystemExit: after ``--help``, and for arguments that do not parse (code 2).
    """
    try:
        from ._main import run  # takes a second or two, in which Ctrl-C may come

        return run(arguments)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
