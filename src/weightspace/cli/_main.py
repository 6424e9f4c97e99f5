"""Parsing, and what happens when a command is interrupted or refused."""

import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from .. import __version__
from .._errors import WeightspaceError
from ._command import Command, errors
from ._demo import Demo
from ._edit import Edit
from ._fit import FitInrs
from ._import_zoo import ImportZoo
from ._make_zoo import MakeZoo
from ._report import Report
from ._theory import Theory
from ._train import Evaluate, Train

__all__ = ["run"]

_DESCRIPTION = "Deep learning on the weights of neural networks. `weightspace COMMAND --help` lists the options of one."
_EXTRAS = {
    "accelerate": "train",
    "cattrs": "train",
    "jinja2": "report",
    "matplotlib": "report",
    "mlxtend": "zoo",
    "PIL": "zoo",
    "pyarrow": "zoo",
    "tqdm": "train",
}
_Commands = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[FitInrs, tyro.conf.subcommand("fit-inrs")]
    | Annotated[MakeZoo, tyro.conf.subcommand("make-zoo")]
    | Annotated[ImportZoo, tyro.conf.subcommand("import-zoo")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Edit, tyro.conf.subcommand("edit")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Theory, tyro.conf.subcommand("theory")]
)


def run(arguments: Sequence[str] | None = None) -> int:
    """See `weightspace.cli.main`."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        print(f"weightspace {__version__}")
        return 0
    command: Command = tyro.cli(
        _Commands,
        prog="weightspace",
        description=f"{_DESCRIPTION} `weightspace --version` tells the version.",
        args=arguments or ["--help"],
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return _run(command)


def _run(command: Command) -> int:
    try:
        command.run()
    except KeyboardInterrupt as interrupt:
        message = str(interrupt) or f"interrupted: {command.saved()}"
        errors.print(f"\n{message[0].upper()}{message[1:]}", markup=False)
        _let_go(interrupt)
        return 130
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(str(error.name).partition(".")[0])
        if extra is None:
            raise
        errors.print(f"{error.name} is not installed: pip install 'weightspace[{extra}]'", style="red", markup=False)
        return 2
    except (WeightspaceError, OSError) as error:
        errors.print(str(error), style="red", markup=False)
        return 2
    return 0


def _let_go(interrupt: BaseException | None) -> None:
    """Frees what an interrupted command held: a progress bar that was only half made cannot be closed, and says so."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        while interrupt is not None:
            interrupt.__traceback__ = None
            interrupt = interrupt.__context__
    finally:
        sys.unraisablehook = hook
