"""Acts on random weights with random group elements, and compares what the network computes, in float64."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from ..._errors import SpaceError
from .._symmetry import GroupElement, SymmetryGroup
from ._walk import place_of

if TYPE_CHECKING:
    from .._space import WeightSpace

__all__ = ["verify"]

TOLERANCE = 1e-10


class _Weights(NamedTuple):
    """Random weights, drawn when they are asked for, so that one tensor of them is held at a time.

    Those near the module's own differ by no more than half of each, which leaves positive ones positive.
    """

    space: WeightSpace
    variances: frozenset[str]
    near: bool = False

    def draw(self, name: str, own: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(hash_of(name))
        if self.near and not own.is_meta and own.any():
            return own.detach().cpu() * (0.5 + torch.rand(own.shape, generator=generator, dtype=torch.float64))
        drawn = torch.randn(own.shape, generator=generator, dtype=torch.float64)
        if name in self.variances:
            return drawn.square() + 0.5
        fan_in = drawn[0].numel() if drawn.dim() > 1 else 1
        return drawn / math.sqrt(max(fan_in, 4))


def hash_of(name: str) -> int:
    """A number that is the same in every process."""
    return sum((i + 1) * byte for i, byte in enumerate(name.encode())) % 2**31


class _Interpreter(fx.Interpreter):
    """Runs the graph in float64 on the CPU; weights come from a function of their names."""

    def __init__(
        self, program: ExportedProgram, weights: Any, inputs: list[Any], culprits: list[tuple[bool, fx.Node]] | None
    ) -> None:
        super().__init__(program.graph_module)
        self.weights, self.culprits = weights, culprits
        self.specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        self.program, self.inputs = program, iter(inputs)

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        spec = self.specs[target]
        if spec.kind == InputKind.USER_INPUT:
            return next(self.inputs)
        return spec

    def run_node(self, n: fx.Node) -> Any:
        out = super().run_node(n)
        if self.culprits is not None and isinstance(out, Tensor) and not out.isfinite().all():
            self.culprits.append((bool(out.isnan().any()), n))
        return out

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> Any:
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        return pytree.tree_map(self._value, (args, kwargs))

    def _value(self, value: Any) -> Any:
        if hasattr(value, "kind") and hasattr(value, "target"):  # a weight, made now and dropped after this operation
            name = value.target
            found = self.program.state_dict.get(name, self.program.constants.get(name))
            made = self.weights(name)
            return _double(found) if made is None else made
        return (
            torch.float64
            if value in (torch.float32, torch.float16, torch.bfloat16)
            else (torch.device("cpu") if isinstance(value, torch.device) else value)
        )


def _double(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    value = torch.zeros_like(value, device="cpu") if value.is_meta else value.detach().cpu()
    return value.double() if value.is_floating_point() else value


def verify(space: WeightSpace, program: ExportedProgram, inputs: tuple[Any, ...], variances: frozenset[str]) -> None:
    """Compares the network before and after the action of a random element of its largest group.

    Raises:
        SpaceError: names the neuron group that changes the function, and its parameters.
    """
    group = space.symmetry()
    element = group.sample(1, torch.Generator().manual_seed(0), dtype=torch.float64, scale_range=3.0)
    flat = [_double(leaf) for leaf in pytree.tree_leaves((inputs, {}))]
    flat, weights, expected = _reference(space, program, flat, variances)
    error = _difference(_run(program, flat, weights, group, element), expected)
    if error <= TOLERANCE:
        return
    neutral = group.identity(1, dtype=torch.float64)
    for neurons in space.groups:
        single = neutral | {
            g.name: element[g.name] for g in space.groups if g.units == neurons.units or g.over == neurons.name
        }
        error = _difference(_run(program, flat, weights, group, single), expected)
        if error > TOLERANCE:
            names = [p.name for p in space.parameters if neurons.name in p.groups]
            raise SpaceError(
                f"neuron group {neurons.name!r}, found in {', '.join(names)}, does not preserve the network: its "
                f"outputs change by {error:.1e} of their size. This is a defect of from_module; please report it"
            )
    raise SpaceError(f"the traced group does not preserve the network: its outputs change by {error:.1e} of their size")


def _reference(
    space: WeightSpace, program: ExportedProgram, inputs: list[Any], variances: frozenset[str]
) -> tuple[list[Any], _Weights, list[Tensor]]:
    """Inputs and weights with which the outputs are finite, at least some, and these outputs."""
    random = [_random_like(x, i) for i, x in enumerate(inputs)]
    best, most = None, 0.0
    for weights in (_Weights(space, variances), _Weights(space, variances, near=True)):
        for tried in (random, inputs):  # with a logarithm or a root, the latter alone may do
            out = _run(program, tried, weights)
            share = min((float(t.isfinite().double().mean()) for t in out if t.numel()), default=1.0)
            if share > most:
                best, most = (tried, weights, out), share
            if share == 1.0:
                return tried, weights, out
    if best is not None:
        return best
    culprits: list[tuple[bool, fx.Node]] = []
    _run(program, inputs, weights, culprits=culprits)
    _, node = max(culprits, key=lambda found: found[0])  # the first that is no number, else the first that is infinite
    raise SpaceError(
        f"the outputs of the module are not finite, neither with random weights nor near its own: operation "
        f"{node.target} at {place_of(node)} gives what is no finite number. Initialise the module, and choose an "
        "example input, such that its outputs are finite"
    )


def _run(
    program: ExportedProgram,
    inputs: list[Any],
    weights: _Weights,
    group: SymmetryGroup | None = None,
    element: GroupElement | None = None,
    culprits: list[tuple[bool, fx.Node]] | None = None,
) -> list[Tensor]:
    """What the network computes, with its weights moved by a group element if there is one."""
    space = weights.space
    stored = {name: tensor for tensor in space.stored for name in (tensor.name, *tensor.aliases)}
    matrices = None
    if group is not None and element is not None:
        matrices = group.sides(element, torch.zeros((), dtype=torch.float64))

    def weight(name: str) -> Tensor | None:
        if name not in stored:
            return None
        tensor = stored[name]
        whole = weights.draw(tensor.name, program.state_dict[name])[None, ..., None]
        if group is None or matrices is None:
            return whole[0, ..., 0]
        parts = [
            group.act_on(space.parameters[space.position(block.parameter)], part, matrices)
            for block, part in zip(tensor.blocks, tensor.take_apart(whole, space.shapes), strict=True)
        ]
        return tensor.assemble(parts)[0, ..., 0]

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # for states that a network makes: zeros, counters, masks
    try:
        with torch.no_grad():
            out = _Interpreter(program, weight, inputs, culprits).run(
                *([None] * len(program.graph_signature.input_specs))
            )
    finally:
        torch.set_default_dtype(default)
    return [leaf for leaf in pytree.tree_leaves(out) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _random_like(x: Any, seed: int) -> Any:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return x
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _difference(found: list[Tensor], expected: list[Tensor]) -> float:
    def errors() -> Iterator[float]:
        for a, b in zip(found, expected, strict=True):
            finite = torch.isfinite(b)
            size = b[finite].abs().max().clamp_min(torch.finfo(b.dtype).tiny) if finite.any() else b.new_ones(())
            yield float(((a - b)[finite].abs().max() / size) if finite.any() else 0.0)
            yield 0.0 if torch.equal(torch.isfinite(a), finite) else torch.inf

    return max(errors(), default=0.0)
