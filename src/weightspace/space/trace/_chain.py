"""Chains of linear layers and activations: the networks that `mlp` and `siren` describe."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from .._activation import Activation
from .._labels import Axis, NeuronGroup, Parameter
from .._space import WeightSpace

__all__ = ["as_chain"]

_ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sin": "sine", "gelu": "gelu", "silu": "silu"}
_NOTHING = ("dropout", "detach", "clone", "contiguous", "alias")


def as_chain(program: ExportedProgram, names: Mapping[str, tuple[str, ...]]) -> WeightSpace | None:
    """The space of a chain of linear layers with biases; None for other networks."""
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    if program.call_spec.out_spec is None or not program.call_spec.out_spec.is_leaf():
        return None
    inputs = [s for s in specs.values() if s.kind == InputKind.USER_INPUT]
    layers = _layers(program)
    if layers is None or len(inputs) != 1 or len(layers[0]) == 0:
        return None
    weights, activations, offset = layers
    widths = [program.state_dict[weights[0][0]].shape[1]]
    widths += [program.state_dict[weight].shape[0] for weight, _ in weights]
    used = [name for pair in weights for name in pair]
    if sorted(used) != sorted(names) or any(names.values()) or len(set(used)) < len(used):
        return None
    groups = [NeuronGroup("input", widths[0], "input")]
    groups += [
        NeuronGroup(f"hidden{i + 1}", n, "hidden", a)
        for i, (n, a) in enumerate(zip(widths[1:], activations, strict=False))
    ]
    groups += [NeuronGroup("output", widths[-1], "output")]
    made = {}
    for (weight, bias), source, target in zip(weights, groups[:-1], groups[1:], strict=True):
        out, bound = Axis(target.size, target.name, "out"), 1 / math.sqrt(source.size)
        made[weight] = Parameter(weight, (out, Axis(source.size, source.name, "in")), bound)
        made[bias] = Parameter(bias, (out,), bound)
    return WeightSpace(tuple(groups), tuple(made[name] for name in names), offset)


def _layers(program: ExportedProgram) -> tuple[list[tuple[str, str]], list[Activation], float] | None:
    """Names of weights and biases in order, activations between them, and what is added to the output."""
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    weights: list[tuple[str, str]] = []
    activations: list[Activation] = []
    factor, offset, previous = 1.0, 0.0, None
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if specs[node.name].kind == InputKind.USER_INPUT:
                value = node.meta.get("val")
                if not isinstance(value, Tensor) or value.dim() != 2:
                    return None
                previous = node
            continue
        if node.op == "output":
            (out,) = node.args[0]
            return (weights, activations, offset) if out is previous and factor == 1.0 else None
        name = str(getattr(getattr(node.target, "_overloadpacket", None), "__name__", node.target)).removesuffix("_")
        tensors = [a for a in node.args if isinstance(a, fx.Node)]
        if not tensors or tensors[0] is not previous or offset or len(node.users) != 1:
            return None
        expects = len(activations) == len(weights)  # the next operation is a linear layer
        if name == "linear" and len(tensors) == 3 and expects:
            weights.append((specs[tensors[1].name].target, specs[tensors[2].name].target))
        elif (
            name == "mul"
            and len(tensors) == 1
            and not expects
            and isinstance(node.args[1], float | int)
            and factor == 1.0
        ):
            factor = float(node.args[1])
        elif (
            name in _ACTIVATIONS
            and not expects
            and len(node.args) == 1
            and not node.kwargs
            and (factor == 1.0 or name == "sin")
        ):
            activations.append(Activation(_ACTIVATIONS[name], factor))
            factor = 1.0
        elif name == "add" and len(tensors) == 1 and not expects and isinstance(node.args[1], float | int):
            offset = float(node.args[1])
        elif name not in _NOTHING:
            return None
        previous = node
    return None
