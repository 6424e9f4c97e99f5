"""The graph of a module."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram

from ..._errors import SpaceError
from .._program import plain_attention

__all__ = ["evaluation_mode", "export"]


@contextlib.contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """A module in evaluation mode, where nothing that it does changes its buffers, and then in its own again."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode


def export(module: nn.Module, inputs: tuple[Any, ...]) -> ExportedProgram:
    """The graph of a module that is in evaluation mode; SpaceError if its control flow depends on data."""
    noise = logging.getLogger("torch._subclasses.fake_tensor")  # it prints what the error below says
    quiet, noise.disabled = noise.disabled, True
    try:
        with (
            plain_attention(),
            torch.enable_grad(),
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),  # where torch prints the graph of a module that it cannot export
        ):
            warnings.simplefilter("ignore")
            program = torch.export.export(module, inputs, strict=False)
            return program.run_decompositions({}) if _writes_through_views(program) else program
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise SpaceError(
            f"{type(module).__name__} cannot be traced: {reason[0].rstrip('. ')}. Its forward must run with the "
            "example input, and no branch may depend on the values of tensors"
        ) from error
    finally:
        noise.disabled = quiet


def _writes_through_views(program: ExportedProgram) -> bool:
    """Whether an operation in place changes a tensor that has views, or is one: then others change with it."""
    sources: dict[fx.Node, fx.Node] = {}  # of views, the tensor that they are of
    viewed: set[fx.Node] = set()
    written: set[fx.Node] = set()
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        first = node.args[0] if node.args else None
        if schema is None or not isinstance(first, fx.Node) or not schema.arguments:
            continue
        alias, root = schema.arguments[0].alias_info, sources.get(first, first)
        if alias is not None:
            sources[node] = root
            (written if alias.is_write else viewed).add(root)
    return bool(viewed & written)
