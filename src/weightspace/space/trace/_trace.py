"""The weight space of any module: its graph is read off, and what each operation commutes with is put together."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..._errors import SpaceError
from .._io import unwrapped
from .._labels import Block, Parameter, StoredTensor
from .._program import Program
from .._space import WeightSpace
from ._chain import as_chain
from ._export import evaluation_mode, export
from ._groups import Groups
from ._initial import initial, is_statistic
from ._op import Traced, stuck
from ._verify import verify
from ._walk import Walk
from ._wires import Axis, Factor, expand, fix, parts

__all__ = ["from_module"]


def from_module(
    module: nn.Module, example_input: Any, *, unsupported: Literal["error", "trivial"] = "error"
) -> WeightSpace:
    """The weight space of a module: its neuron groups, and the largest symmetry group that is known of its operations.

    The graph of the module, in evaluation mode, is read off with `torch.export`. Every operation says what it commutes
    with; what no operation breaks is the symmetry. It is then checked: random weights are moved by a random group
    element, and the outputs compared in float64. A chain of linear layers and activations gives the space that `mlp`
    or `siren` makes. Running statistics of norms are parameters; counters and masks are kept as they are.

    Args:
        module: the network; left as it is.
        example_input: a tensor, or a tuple of the arguments of ``forward``, with a batch axis. Use a batch of two or
            more: an axis of size one is taken as one along which all entries are the same.
        unsupported: what to do with an operation that no rule is known for: "error", or "trivial" to leave the units
            that enter it where they are.

    Raises:
        SpaceError: if the module cannot be traced; names an operation without a rule and where it is.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
        >>> space = from_module(net, torch.randn(2, 1, 4, 4))
        >>> space.symmetry().factor("0").name, space.parameters[-2].shape
        ('signed_permutation', (2, 8, 4))
    """
    if unsupported not in ("error", "trivial"):
        raise SpaceError(f"unsupported: expected 'error' or 'trivial', found {unsupported!r}")
    if not isinstance(module, nn.Module):
        raise SpaceError(f"from_module takes a torch.nn.Module, found {type(module).__name__}")
    module = unwrapped(module)
    if next(module.parameters(), None) is None:
        raise SpaceError(f"{type(module).__name__} has no parameters, so that there is no space of its weights")
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor) or (x.is_floating_point() and x.dim() < 2):
            found = f"one of shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise SpaceError(
                f"example_input: expected a tensor with a batch axis, or a tuple of such; input {i} is {found}"
            )
    if odd := [name for name, parameter in module.named_parameters() if parameter.is_complex()]:
        raise SpaceError(
            f"parameter {odd[0]!r} is complex; weights are real numbers here. Keep its real and imaginary parts as "
            "parameters of their own"
        )
    with evaluation_mode(module):
        return _traced(module, inputs, unsupported)


def _traced(module: nn.Module, inputs: tuple[Any, ...], unsupported: Literal["error", "trivial"]) -> WeightSpace:
    program = export(module, inputs)
    walk = Walk(program, unsupported)
    walk.run()
    names = _names(module)
    if (chain := as_chain(program, names)) is not None:
        return dataclasses.replace(chain, program=_program(module, inputs, {}))
    space = _assemble(module, inputs, walk, names)
    variances = frozenset(n for n in walk.weights if n.rpartition(".")[2] == "running_var")
    verify(space, program, inputs, variances)
    return space


def _names(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """For each tensor of the state dict, by its first name: its other names."""
    by_tensor: dict[int, list[str]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor):
            by_tensor.setdefault(id(tensor), []).append(name)
    return {first: tuple(others) for first, *others in by_tensor.values()}


def _assemble(module: nn.Module, inputs: tuple[Any, ...], walk: Walk, names: dict[str, tuple[str, ...]]) -> WeightSpace:
    for traced in walk.weights.values():
        for axis in traced.axes:
            _flatten_sums(axis)
    known = {n: walk.weights[other] for n, a in names.items() for other in (n, *a) if other in walk.weights}
    groups = Groups(walk)
    parameters: list[Parameter] = []
    tensors: list[StoredTensor] = []
    owners = dict(module.named_modules())
    state = module.state_dict(keep_vars=True)
    for name, aliases in names.items():
        tensor = state[name]
        if not tensor.is_floating_point():
            continue
        traced = known.get(name, Traced(stuck(tuple(tensor.shape))))  # no operation may use it
        stored, own = _taken_apart(name, aliases, traced, groups, initial(owners, name, tensor))
        if isinstance(tensor, nn.Parameter) or any(p.groups for p in own) or is_statistic(owners, name):
            tensors.append(stored)
            parameters += own
    saved = {n for t in tensors for n in (t.name, *t.aliases)}
    constants = {n: _held(t) for n, t in state.items() if n not in saved and isinstance(t, Tensor)}
    return WeightSpace(groups.all(), tuple(parameters), 0.0, tuple(tensors), _program(module, inputs, constants))


def _program(module: nn.Module, inputs: tuple[Any, ...], constants: dict[str, Tensor]) -> Program:
    saved = module.state_dict()
    unsaved = {n: _held(b) for n, b in module.named_buffers() if n not in saved}
    return Program(_hollow(module), constants, unsaved, tuple(x.dim() for x in inputs))


def _held(tensor: Tensor) -> Tensor:
    """A copy on the CPU; zeros for a tensor on the meta device."""
    return torch.zeros_like(tensor, device="cpu") if tensor.is_meta else tensor.detach().cpu().clone()


def _taken_apart(
    name: str, aliases: tuple[str, ...], traced: Traced, groups: Groups, start: dict[str, float]
) -> tuple[StoredTensor, list[Parameter]]:
    """A tensor of the state dict, and the parameters that it holds."""
    pieces = [_pieces(axis) for axis in traced.axes]
    whole = all(len(p) == 1 for p in pieces)
    parameters: list[Parameter] = []
    blocks: list[Block] = []
    for chosen in itertools.product(*pieces):
        full = name if whole else f"{name}[{', '.join(piece.text for piece in chosen)}]"
        owner = name.rpartition(".")[0] or name
        axes = tuple(axis for piece in chosen for axis in groups.axes(list(piece.factors), owner))
        parameters.append(Parameter(full, axes, **start))
        first = tuple(n for piece in chosen for n in piece.start)
        blocks.append(Block(full, first, tuple(n for piece in chosen for n in piece.stop)))
    view = tuple(n for of_axis in pieces for n in of_axis[0].view)
    stored = StoredTensor(name, traced.shape, tuple(blocks), aliases, None if view == traced.shape else view)
    return stored, parameters


class _Piece(NamedTuple):
    """A part of one axis of a tensor, whose factors are whole: where it lies in the view of the axis."""

    view: tuple[int, ...]
    start: tuple[int, ...]
    stop: tuple[int, ...]
    factors: tuple[Factor, ...]

    @property
    def text(self) -> str:
        cut = [
            f"{a}:{b}" if (a, b) != (0, n) else ":" for a, b, n in zip(self.start, self.stop, self.view, strict=True)
        ]
        return cut[0] if len(cut) == 1 else "(" + ", ".join(cut) + ")"


def _pieces(axis: Axis) -> list[_Piece]:
    """The parts of one axis of a tensor. Factors side by side that are whole are one axis of its view."""
    runs: list[list[Factor]] = []
    for factor in expand(axis):
        if factor.units.parts is None and runs and runs[-1][0].units.parts is None:
            runs[-1].append(factor)
        else:
            runs.append([factor])
    if len(runs) == 1 and runs[0][0].units.parts is None:
        return [_Piece((n := math.prod(f.units.size for f in runs[0]),), (0,), (n,), tuple(runs[0]))]
    view = tuple(math.prod(f.units.size for f in run) for run in runs)
    options = [_ranges(run) for run in runs]
    return [
        _Piece(
            view,
            tuple(start for start, _, _ in chosen),
            tuple(stop for _, stop, _ in chosen),
            tuple(factor for _, _, factors in chosen for factor in factors),
        )
        for chosen in itertools.product(*options)
    ]


def _ranges(run: list[Factor]) -> list[tuple[int, int, tuple[Factor, ...]]]:
    if run[0].units.parts is None:
        return [(0, math.prod(f.units.size for f in run), tuple(run))]
    found, start = [], 0
    for part in _summands(run[0]):
        found.append((start, start + part.units.size, expand((part,))))
        start += part.units.size
    return found


def _summands(factor: Factor) -> Iterator[Factor]:
    root = factor.units.root
    if root.parts is None or root.parts[0] != "sum":
        yield factor
        return
    for part in parts(factor):
        yield from _summands(part)


def _flatten_sums(axis: Axis) -> None:
    """Leaves alone what is not a product of sums of products."""
    for factor in expand(axis):
        for summand in _summands(factor):
            for inner in expand((summand,)):
                if inner.units.parts is not None and summand.units.root is not inner.units:
                    fix((factor,))


def _hollow(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose weights take no memory."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    try:
        return copy.deepcopy(module, memo).eval()
    except Exception as error:
        raise SpaceError(f"{type(module).__name__} cannot be copied, which from_module needs: {error}") from error
