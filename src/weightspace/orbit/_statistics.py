"""The running statistics of batch norms, from data."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Collection, Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .._errors import SymmetryError
from ..space import WeightFeatures

__all__ = ["Inputs", "with_statistics"]

Inputs = Tensor | tuple[Tensor, ...]


def with_statistics(theta: WeightFeatures, batches: Iterable[Inputs]) -> WeightFeatures:
    """The networks with the running statistics that training on the batches, at a cumulative average, would give.

    The average is over samples, so that batches may be of different sizes. Norms that are not used keep what they have.

    Raises:
        SymmetryError: for no batch, one without a variance, networks without running statistics, norms that are no
            calls of ``torch.nn.functional.batch_norm``.
    """
    space = theta.space
    if space.is_chain or theta.channels != 1:
        found = "weight features with several channels" if theta.channels != 1 else "networks without batch norms"
        raise SymmetryError(f"data: expected networks whose running statistics can be renewed, found {found}")
    stored = {name: tensor for tensor in space.stored for name in (tensor.name, *tensor.aliases)}
    totals: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    with torch.no_grad():
        for x in batches:
            sums, sizes = _seen(theta, x, stored.keys())
            totals = {name: own + totals.get(name, 0) for name, own in sums.items()}
            counts = {name: own + counts.get(name, 0) for name, own in sizes.items()}
    if not totals:
        raise SymmetryError("data: expected at least one batch, found none")
    tensors = dict(theta.items())
    for name, total in totals.items():
        whole = total / counts[name]
        if not whole.isfinite().all():
            raise SymmetryError(f"data: on these inputs {name!r} would not be finite")
        parts = stored[name].take_apart(whole[..., None], space.shapes)
        tensors |= {block.parameter: part for block, part in zip(stored[name].blocks, parts, strict=True)}
    return WeightFeatures(space, tuple(tensors.values()))


def _seen(theta: WeightFeatures, x: Inputs, known: Collection[str]) -> tuple[dict[str, Tensor], dict[str, int]]:
    """For each running statistic, by its name in the state dict: its sum over the samples, and their number."""
    program = theta.space.program
    if program is None:
        raise SymmetryError("data: this space was read from a description; trace the module again with from_module")
    module = copy.deepcopy(program.module)  # it has no weights
    forward, watch = module.forward, _Watch(module, known)
    sizes: dict[str, int] = {}

    def flat(*inputs: Any) -> Tensor:
        with watch.new():
            forward(*inputs)
        watch.check()
        sizes.update({name: len(total) for name, total in watch.totals.items()})
        return torch.cat(list(watch.totals.values()))

    module.forward = flat
    together = dataclasses.replace(program, module=module).realize(theta, x)
    totals = together.split(list(sizes.values()), dim=1)
    return dict(zip(sizes, totals, strict=True)), watch.counts


class _Watch(TorchFunctionMode):
    """Batch norms normalise by their batch, and the statistics of what they see are noted."""

    def __init__(self, module: nn.Module, known: Collection[str]) -> None:
        super().__init__()
        self.module, self.known = module, known
        self.used: list[str] = []
        for path, owner in module.named_modules():
            if getattr(owner, "running_var", None) is not None:
                owner.register_forward_hook(lambda *_, path=path: self.used.append(path))

    def new(self) -> Self:
        """Forgets what was seen; the weights are those that the module has just now."""
        self.totals: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.used.clear()
        buffers = self.module.named_buffers(remove_duplicate=False)
        self.names = {id(tensor): name for name, tensor in buffers if name in self.known}
        return self

    def check(self) -> None:
        """Refuses norms whose statistics were not seen, and networks without any."""
        if missed := [path for path in self.used if f"{path}.running_var" not in self.totals]:
            raise SymmetryError(
                f"data: the running statistics of norm {missed[0]!r} cannot be renewed, because it does not give them "
                "to torch.nn.functional.batch_norm; merge without data"
            )
        if not self.totals:
            raise SymmetryError("data: the networks use no running statistics that could be renewed; merge without it")

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (self._batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if running_mean is not None and running_var is not None:
            self._note(x, self._name(running_mean), self._name(running_var))
        return F.batch_norm(x, None, None, weight, bias, True, momentum, eps)

    def _name(self, running: Tensor) -> str:
        if id(running) not in self.names:
            raise SymmetryError(
                "data: a batch norm has running statistics that are no buffers of the state dict as they stand, and "
                "cannot be renewed; merge without data"
            )
        return self.names[id(running)]

    def _note(self, x: Tensor, mean: str, variance: str) -> None:
        axes = [0, *range(2, x.dim())]
        count = math.prod(x.shape[axis] for axis in axes)
        if count < 2:
            raise SymmetryError(
                f"data: a batch gives {variance!r} {count} values for each channel, and no variance; expected batches "
                "of 2 samples or more"
            )
        average = x.mean(axes)
        squares = (x - average.view(-1, *(1,) * (x.dim() - 2))).square().sum(axes)
        for name, total in ((mean, count * average), (variance, squares * count / (count - 1))):
            self.totals[name] = total + self.totals.get(name, 0)
            self.counts[name] = count + self.counts.get(name, 0)
