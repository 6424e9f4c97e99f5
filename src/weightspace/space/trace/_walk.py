"""Runs the rules over the graph of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from ..._errors import SpaceError
from . import _lookups, _norms, _products, _reductions, _structure  # noqa: F401 - they register their rules
from ._op import RULES, Op, Traced, fixed, free, stuck
from ._pointwise import pointwise
from ._structure import merged
from ._views import settle
from ._wires import Units, fix, fresh, leaves

__all__ = ["Walk", "place_of"]


_ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sin": "sine", "gelu": "gelu", "silu": "silu"}


@dataclass
class Walk:
    """What is known of all tensors of a network.

    Attributes:
        program: its graph.
        unsupported: whether an operation without a rule is an error, or leaves the units that enter it where they are.
        weights: what is known of the parameters and the buffers that are saved with them, by name.
        seen: what is known of all tensors, weights included.
        activations: the units that enter a known activation, with its name.
        known: what is known of the results of all operations.
    """

    program: ExportedProgram
    unsupported: Literal["error", "trivial"] = "error"
    weights: dict[str, Traced] = field(default_factory=dict)
    seen: list[Traced] = field(default_factory=list)
    activations: list[tuple[Units, str]] = field(default_factory=list)
    known: dict[fx.Node, Any] = field(default_factory=dict)
    _count: int = 0

    def run(self) -> None:
        """Runs the rules of all operations in order; at the end the outputs stay as they are."""
        start: dict[str, Any] = {}
        for spec in self.program.graph_signature.input_specs:
            start[spec.arg.name] = self._input(spec)
        out = self._graph(self.program.graph_module, start)
        for traced in pytree.tree_leaves(out, is_leaf=_is_traced):
            if isinstance(traced, Traced):
                _stay(merged(traced))
        for node in self.program.graph.output_node().all_input_nodes:
            while node.all_input_nodes and any(word in str(node.target) for word in ("squeeze", "view", "flatten")):
                node = node.all_input_nodes[0]  # the one unit of a regression, before its axis is dropped
                _stay(self.known[node])
        numbers = {f.units: None for traced in self.seen for axis in traced.axes for f in axis if f.units.alike}
        while any([settle(units) for units in numbers]):
            pass

    def _input(self, spec: Any) -> Any:
        if spec.kind == InputKind.USER_INPUT:
            node = next((n for n in self.program.graph.nodes if n.name == spec.arg.name), None)
            value = None if node is None else node.meta.get("val")
            if not isinstance(value, Tensor):
                return value
            traced = Traced(stuck(tuple(value.shape)))
            for axis in traced.axes:
                axis[0].units.role = "input"
            return traced
        if spec.kind == InputKind.PARAMETER or (spec.kind == InputKind.BUFFER and spec.persistent):
            value = self.program.state_dict[spec.target]
            if value.is_floating_point():
                traced = Traced(tuple((fresh(n, new=True),) for n in value.shape), weight=True)
                self.weights[spec.target] = traced
                self.seen.append(traced)
                return traced
            return Traced(stuck(tuple(value.shape)))
        value = self.program.constants[spec.target]
        return Traced(stuck(tuple(value.shape))) if isinstance(value, Tensor) else value

    def _graph(self, graph: fx.GraphModule, values: Mapping[str, Any]) -> Any:
        known = self.known

        def look(node: fx.Node) -> Any:
            return known[node]

        for node in graph.graph.nodes:
            if node.op == "placeholder":
                known[node] = values[node.name]
            elif node.op == "get_attr":
                value = getattr(graph, str(node.target))
                known[node] = Traced(stuck(tuple(value.shape))) if isinstance(value, Tensor) else value
            elif node.op == "output":
                return fx.map_arg(node.args[0], look)
            else:
                args, kwargs = fx.map_arg(node.args, look), fx.map_arg(node.kwargs, look)
                known[node] = self._call(node, args, kwargs)
                name = getattr(node.target, "__name__", "").split(".")[0]
                if name.endswith("_") and isinstance(node.args[0], fx.Node) and isinstance(known[node], Traced):
                    known[node.args[0]] = known[node]  # the argument was written over
        raise AssertionError("a graph without an output")

    def _call(self, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if getattr(node.target, "__name__", "") == "getitem":
            return args[0][args[1]]
        results = [v for v in pytree.tree_leaves(node.meta.get("val")) if isinstance(v, Tensor)]
        if not results:
            return None
        packet = getattr(node.target, "_overloadpacket", None)
        name = "aten." + str(getattr(packet or node.target, "__name__", node.target))
        if name not in RULES and name.rstrip("_") in RULES:
            name = name.rstrip("_")
        arguments, options = list(args), dict(kwargs)
        if name not in ("aten.select", "aten.unbind"):
            arguments, options = pytree.tree_map(_alone, (arguments, options), is_leaf=_is_traced)
        op = Op(name, tuple(arguments), options, tuple(tuple(v.shape) for v in results), _used(node))
        self._count += 1
        out = self._apply(node, op)
        several = isinstance(node.meta["val"], list | tuple)
        found = [out] if isinstance(out, Traced) else list(out)
        if all(tensor.weight for tensor in op.tensors()):
            found = [tensor and tensor._replace(weight=True) for tensor in found]
        self._record(op, found)
        return found if several else found[0]

    def _apply(self, node: fx.Node, op: Op) -> Any:
        if _is_random(node):
            raise SpaceError(
                f"operation {op.name} at {place_of(node)} draws random numbers in evaluation mode, so that the module "
                "is no function of its inputs"
            )
        if op.name in RULES and (out := RULES[op.name](op)) is not None:
            return out
        if isinstance(node.target, torch._ops.OpOverload):
            if torch.Tag.pointwise in node.target.tags:
                return pointwise(op)
            if (inner := _decomposed(node)) is not None:
                names = [n.name for n in inner.graph.nodes if n.op == "placeholder"]
                tensors = [a for a in pytree.tree_leaves((op.args, op.kwargs), is_leaf=_is_traced) if _is_traced(a)]
                return self._graph(inner, dict(zip(names, tensors, strict=True)))
        if self.unsupported == "trivial":
            return fixed(op)
        raise SpaceError(
            f"operation {op.name} at {place_of(node)} is not known to from_module; unsupported='trivial' leaves the "
            "units that enter it where they are"
        )

    def _record(self, op: Op, found: list[Any]) -> None:
        traced = [t for t in found if isinstance(t, Traced)]
        self.seen += traced
        for tensor in (*op.tensors(), *traced):
            for axis in tensor.axes:
                for factor in axis:
                    for leaf in leaves(factor):
                        leaf.units.order = min(leaf.units.order, self._count)
        name = op.name.removeprefix("aten.")
        if name in _ACTIVATIONS:
            for axis in traced[0].axes:
                for factor in axis:
                    self.activations += [(leaf.units, _ACTIVATIONS[name]) for leaf in leaves(factor)]


def _stay(traced: Traced) -> None:
    """Outputs stay where they are."""
    for axis in traced.axes:
        for leaf in (leaf for factor in axis for leaf in leaves(factor)):
            leaf.units.role = leaf.units.role or "output"
        fix(axis)


def _is_traced(x: Any) -> bool:
    return isinstance(x, Traced)


def _is_random(node: fx.Node) -> bool:
    """Whether an operation draws random numbers; dropout that is switched off does not."""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = dict(zip((argument.name for argument in schema), node.args, strict=False)) | node.kwargs
    switches = [argument.name for argument in schema if argument.name in ("train", "training", "dropout_p")]
    return not switches or any(given.get(name) for name in switches)


def _alone(x: Any) -> Any:
    """A stack as one tensor; zeros anew, which other permutations and matrices may leave alone each time."""
    if not isinstance(x, Traced):
        return x
    return Traced(free(x.shape, charged=True), zero=True) if x.zero else merged(x)


def _decomposed(node: fx.Node) -> fx.GraphModule | None:
    """The operation (a recurrent layer, ...) in terms of others; None if it is one of the basic ones."""
    if not torch._C._dispatch_has_kernel_for_dispatch_key(node.target.name(), "CompositeImplicitAutograd"):  # type: ignore[union-attr]
        return None
    leaves_, spec = pytree.tree_flatten(fx.map_arg((node.args, node.kwargs), lambda n: n.meta["val"]))
    places = [i for i, leaf in enumerate(leaves_) if isinstance(leaf, Tensor)]

    def call(*tensors: Tensor) -> Any:
        args, kwargs = pytree.tree_unflatten(_filled(leaves_, places, tensors), spec)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    tensors = [torch.empty(leaves_[i].shape, dtype=leaves_[i].dtype, device="meta") for i in places]
    inner = make_fx(call, pre_dispatch=False)(*tensors)
    if isinstance(node.meta["val"], list | tuple):
        end = inner.graph.output_node()
        end.args = (tuple(result if i in _used(node) else None for i, result in enumerate(end.args[0])),)  # type: ignore[arg-type]
        inner.graph.eliminate_dead_code()
    for inside in inner.graph.nodes:
        inside.meta.setdefault("nn_module_stack", node.meta.get("nn_module_stack"))
    return inner


def _used(node: fx.Node) -> frozenset[int]:
    """Which of several results the network goes on with."""
    items = [user for user in node.users if getattr(user.target, "__name__", "") == "getitem" and user.users]
    return frozenset(item.args[1] for item in items)  # type: ignore[misc]


def _filled(leaves_: list[Any], places: list[int], tensors: Sequence[Tensor]) -> list[Any]:
    filled = list(leaves_)
    for i, tensor in zip(places, tensors, strict=True):
        filled[i] = tensor
    return filled


def place_of(node: fx.Node) -> str:
    """Where in the module an operation is."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = (stack[-1][0], stack[-1][1]) if stack else ("", "")
    return f"{path or 'the top level'!r} ({getattr(kind, '__name__', kind)})"
