"""Pairs of networks in different orbits that whole classes of architectures take for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import TheoryError
from ..space import WeightFeatures, mlp

__all__ = ["Pair", "design_pair", "gram_norm", "with_inner_weights", "wl_pair"]

Functional = Callable[[WeightFeatures], Float[Tensor, "batch"]]
Kind = Literal["c8", "c12", "242", "latin", "333"]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two networks of different orbits, and a functional that tells them apart.

    ``first, second = pair`` takes it apart; it has a length, 2, and is indexed like a tuple.

    Attributes:
        both: the two networks as one batch.
        functional: of a batch of networks, ``[batch]``; continuous and invariant under permutations of hidden neurons,
            with different values on the two.
        formula: the functional in words.
    """

    both: WeightFeatures
    functional: Functional
    formula: str

    def __len__(self) -> int:
        return len(self.both)

    def __getitem__(self, index: int) -> WeightFeatures:
        network: WeightFeatures = self.both[index]
        return network

    def __iter__(self) -> Iterator[WeightFeatures]:
        return (self[index] for index in range(len(self)))


def with_inner_weights(*matrices: Float[Tensor, "batch n_out n_in"]) -> WeightFeatures:
    """Networks with one input and one output whose first and last weights and biases are constant in each layer.

    Nothing but the weights between hidden layers tells their neurons apart: the first and last weights are 1, and the
    biases of layers 1, 2, 3, ... are 1/2, -1/4, 1/8, ...

    Args:
        matrices: the weights from each hidden layer to the next, for each network.

    Returns:
        A batch of networks in float64.

    Raises:
        TheoryError: if these are no matrices that follow one another.

    Example:
        >>> with_inner_weights(torch.eye(3)[None]).space.summary()
        '1-3-3-1'
    """
    if not matrices or any(m.dim() != 3 for m in matrices):
        raise TheoryError(f"expected matrices [batch, n_out, n_in], found shapes {[tuple(m.shape) for m in matrices]}")
    for a, b in pairwise(matrices):
        if (len(a), a.shape[1]) != (len(b), b.shape[2]):
            raise TheoryError(f"expected weights {tuple(b.shape)} to follow {tuple(a.shape)}: batches or widths differ")
    space = mlp([1, matrices[0].shape[2], *(m.shape[1] for m in matrices), 1])
    inner = {f"{2 * layer}.weight": m for layer, m in enumerate(matrices, start=1)}
    tensors = {}
    for parameter in space.parameters:
        layer, kind = parameter.name.split(".")
        constant = 1.0 if kind == "weight" else -((-0.5) ** (int(layer) // 2 + 1))
        full = torch.full((len(matrices[0]), *parameter.shape), constant, dtype=torch.float64)
        tensors[parameter.name] = inner.get(parameter.name, full).double()[..., None]
    return space.features(tensors)


def gram_norm(theta: WeightFeatures) -> Float[Tensor, "batch"]:
    """The squared Frobenius norm of W_2 W_2^T: continuous, and invariant under permutations of hidden neurons."""
    return _gram(theta).square().sum((1, 2))


def _gram(theta: WeightFeatures) -> Float[Tensor, "batch n n"]:
    middle = _matrix(theta, 2)
    return middle @ middle.mT


def _matrix(theta: WeightFeatures, layer: int) -> Tensor:
    weight: Tensor = theta[f"{2 * (layer - 1)}.weight"]
    return weight[..., 0]


def _cycles(*lengths: int) -> Float[Tensor, "n n"]:
    """Biadjacency matrix of disjoint cycles of twice these lengths, at least 2: a row for each second node."""
    blocks: Tensor = torch.block_diag(*(torch.eye(n) + torch.eye(n).roll(1, dims=1) for n in lengths))
    return blocks


def _pair(functional: Functional, formula: str, first: list[Tensor], second: list[Tensor]) -> Pair:
    networks = with_inner_weights(*(torch.stack(matrices) for matrices in zip(first, second, strict=True)))
    return Pair(networks, functional, formula)


def wl_pair(kind: Kind = "c8") -> Pair:
    """Two networks of different orbits that all message passing on the network's graph takes for the same.

    Nothing but 0-1 or three-valued weights between hidden layers tells neurons apart, and colour refinement (1-WL)
    gives each layer one colour in both networks. The two compute the same function, yet no permutation of neurons
    leads from one to the other:

    - ``"c8"``: 1-4-4-1, W_2 is the biadjacency matrix of a cycle of length 8, or of two of length 4, whose ranks are 3
      and 2. The smallest example with one binary matrix;
    - ``"c12"``: 1-6-6-1, one cycle of length 12, or two of length 6. The rows of W_2 W_2^T agree up to order too;
    - ``"242"``: 1-2-4-2-1, two partitions of four neurons into pairs, one to read and one to write: the same partition
      twice, or two that cross. W_3 W_2 is 2 I, or all ones;
    - ``"latin"``: 1-6-3-1, the columns of W_2 are orders of (-1, 0, 1): each of the three even ones twice, or all six;
    - ``"333"``: 1-3-3-3-1, the columns of W_2 are the even orders of (-1, 0, 1), the rows of W_3 the even ones, or the
      odd ones.

    Source: arXiv 2602.01083, proposition 6.2, for "c8"; the others are sharpened here.

    Args:
        kind: which.

    Raises:
        TheoryError: for another kind.

    Example:
        >>> pair = wl_pair("c8")
        >>> theta, phi = pair
        >>> pair.formula, pair.functional(theta).item(), pair.functional(phi).item()
        ('|W_2 W_2^T|^2', 24.0, 32.0)
    """
    even = torch.tensor([[-1.0, 0, 1], [0, 1, -1], [1, -1, 0]])
    odd = even[:, [0, 2, 1]]
    halves = torch.eye(2).repeat_interleave(2, dim=1)
    match kind:
        case "c8":
            return _pair(gram_norm, "|W_2 W_2^T|^2", [_cycles(4)], [_cycles(2, 2)])
        case "c12":
            return _pair(_cube, "trace of (W_2 W_2^T)^3", [_cycles(6)], [_cycles(3, 3)])
        case "242":
            first, second = [halves.T, halves], [halves.T, torch.eye(2).repeat(1, 2)]
            return _pair(_product_norm, "|W_3 W_2|^2", first, second)
        case "latin":
            first, second = [torch.cat([even, even]).T], [torch.cat([even, odd]).T]
            return _pair(_column_cubes, "sum of the cubes of the entries of W_2^T W_2", first, second)
        case "333":
            return _pair(_product_cubes, "sum of the cubes of the entries of W_3 W_2", [even.T, even], [even.T, odd])
    raise TheoryError(f"unknown pair {kind!r}; known: {', '.join(map(repr, get_args(Kind)))}")


def _cube(theta: WeightFeatures) -> Float[Tensor, "batch"]:
    gram = _gram(theta)
    return torch.einsum("bij,bjk,bki->b", gram, gram, gram)


def _product_norm(theta: WeightFeatures) -> Float[Tensor, "batch"]:
    return (_matrix(theta, 3) @ _matrix(theta, 2)).square().sum((1, 2))


def _product_cubes(theta: WeightFeatures) -> Float[Tensor, "batch"]:
    return (_matrix(theta, 3) @ _matrix(theta, 2)).pow(3).sum((1, 2))


def _column_cubes(theta: WeightFeatures) -> Float[Tensor, "batch"]:
    middle = _matrix(theta, 2)
    return (middle.mT @ middle).pow(3).sum((1, 2))


def design_pair() -> Pair:
    """Two networks 1-16-16-1 of different orbits that attention between rows and columns takes for the same.

    Their middle weights are the incidence matrices of two symmetric (16, 6, 2) designs: 16 points and 16 blocks of 6
    points, two blocks meet in two points. So W W^T = 4 I + 2 J for both, and scores of attention show no more than
    that. The blocks are the translates of a difference set, in the group of four bits and in that of the pairs of a
    bit and a number modulo 8; modulo 2 the matrices have the ranks 6 and 7.

    The functional is the mean of (sum over x of S_ix S_jx S_kx S_lx)^4 over all four rows i, j, k, l of S = 1 - 2 W.

    Source: sharpened here; the designs are classical, see Beth, Jungnickel and Lenz, "Design Theory".
    """
    x = torch.arange(16)
    bits = x[:, None] ^ torch.tensor([0, 1, 2, 4, 8, 15])
    bit, number = torch.tensor([[0, 0, 0, 0, 1, 1], [0, 1, 2, 4, 1, 6]])
    mixed = (x[:, None] // 8 + bit) % 2 * 8 + (x[:, None] + number) % 8
    first, second = (torch.zeros(16, 16).scatter_(1, blocks, 1.0) for blocks in (bits, mixed))
    return _pair(_profile, "mean fourth power of the four-fold products of the rows of 1 - 2 W_2", [first], [second])


def _profile(theta: WeightFeatures) -> Float[Tensor, "batch"]:
    signs = 1 - 2 * _matrix(theta, 2)
    pairs: Tensor = (signs[:, :, None] * signs[:, None]).flatten(1, 2)
    return (pairs @ pairs.mT).pow(4).mean((1, 2))
