"""Perceptrons with one hidden ReLU layer, written by hand, and functions of message passing made of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..nn import EdgeUpdate, Message, NodeUpdate

__all__ = ["Perceptron", "dense", "edge_update", "linear", "message", "node_update", "side_by_side", "typed"]


class Perceptron(NamedTuple):
    """``last @ relu(first @ x + bias)``."""

    first: Float[Tensor, "hidden inputs"]
    bias: Float[Tensor, " hidden"]
    last: Float[Tensor, "outputs hidden"]


def linear(matrix: Float[Tensor, "outputs inputs"]) -> Perceptron:
    """A linear map: x = relu(x) - relu(-x)."""
    one = torch.eye(len(matrix), dtype=matrix.dtype)
    return Perceptron(torch.cat([matrix, -matrix]), matrix.new_zeros(2 * len(matrix)), torch.cat([one, -one], dim=1))


def typed(
    matrices: Float[Tensor, "types outputs inputs"],
    offsets: Float[Tensor, "types outputs"],
    others: Float[Tensor, "types inputs"],
    sizes: Float[Tensor, " inputs"],
    *,
    positive: bool = False,
) -> Perceptron:
    """An affine map for each type of input, all in one hidden layer: that of the input's own type is applied.

    With a limit R of |A x + a|, the unit relu(A x + a - R t) is relu(A x + a) where t = 0, and zero where t >= 1. Here
    t counts the other types' entries in the one-hot code that the input carries. No R enters where the gate is open, so
    nothing is lost to rounding. Units that are zero are left out, but one.

    Args:
        matrices: A of each type.
        offsets: a of each type.
        others: for each type, 1 where the code of another type stands in the input.
        sizes: what the absolute values of the inputs do not exceed; of no matter for the codes.
        positive: whether the positive parts of the result are wanted, which need half of the units.
    """
    limits = 1.001 * (matrices.abs() @ sizes + offsets.abs())
    signs = (1.0,) if positive else (1.0, -1.0)
    first = torch.cat([(s * matrices - limits[..., None] * others[:, None]).flatten(0, 1) for s in signs])
    bias = torch.cat([(s * offsets).flatten() for s in signs])
    last = torch.cat(
        [s * torch.eye(matrices.shape[1], dtype=matrices.dtype).repeat(1, len(matrices)) for s in signs], 1
    )
    used = (limits.flatten() > 0).repeat(len(signs))
    used[0] = True
    return Perceptron(first[used], bias[used], last[:, used])


def side_by_side(*parts: Perceptron) -> Perceptron:
    """Several functions of the same input, one after another in the output."""
    first, bias, last = zip(*parts, strict=True)
    return Perceptron(torch.cat(first), torch.cat(bias), torch.block_diag(*last))


def dense(weight: Float[Tensor, "outputs inputs"], bias: Float[Tensor, " outputs"] | None = None) -> nn.Linear:
    """A linear layer of this matrix and bias."""
    layer = nn.Linear(weight.shape[1], len(weight), bias=bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def message(p: Perceptron, edge: int) -> Message:
    """A message function of the edge and of the node that sends.

    Args:
        p: its inputs are the channels of the edge, then those of the node.
        edge: channels of the edge.
    """
    made = Message(1, 0.0, relu=True)
    made.of_edge, made.of_sender = dense(p.first[:, :edge]), dense(p.first[:, edge:], p.bias)
    made.last = dense(p.last, p.last.new_zeros(len(p.last)))
    made.width = len(p.last)
    return made


def node_update(p: Perceptron) -> NodeUpdate:
    """An update of nodes: the inputs are what a node has, what it receives along and what it receives against."""
    made = NodeUpdate(1, 1, 1, dropout=0.0, skip=False, relu=True)
    made.first = dense(p.first, p.bias)
    made.last = dense(p.last, p.last.new_zeros(len(p.last)))
    return made


def edge_update(p: Perceptron, edge: int) -> EdgeUpdate:
    """An update of edges: the inputs are the channels of the edge, then those of its target and of its source."""
    made = EdgeUpdate(1, 1, dropout=0.0, skip=False, relu=True)
    of_target, of_source = p.first[:, edge:].chunk(2, dim=1)
    made.of_edge, made.of_target, made.of_source = dense(p.first[:, :edge]), dense(of_target, p.bias), dense(of_source)
    made.last = dense(p.last, p.last.new_zeros(len(p.last)))
    return made
