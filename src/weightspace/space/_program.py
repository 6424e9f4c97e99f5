"""The module that was traced: it runs its networks all at once, and gets weights back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules import transformer
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from .._errors import SpaceError

if TYPE_CHECKING:
    from ._features import WeightFeatures

__all__ = ["Program", "plain_attention"]


@dataclass(frozen=True, eq=False)
class Program:
    """A module without weights, in evaluation mode, and what it takes.

    Attributes:
        module: the module; its parameters and buffers are on the meta device.
        constants: entries of its state dict that are no weights (counters, masks).
        unsaved: other tensors of the module, which its state dict does not hold.
        ranks: number of axes of each input, its batch axis included.
    """

    module: nn.Module
    constants: Mapping[str, Tensor]
    unsaved: Mapping[str, Tensor]
    ranks: tuple[int, ...]

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        return self  # nothing in it changes

    def with_state(self, state: Mapping[str, Tensor]) -> nn.Module:
        """A module of the traced class with these weights."""
        module = copy.deepcopy(self.module)
        weight = next(value for name, value in state.items() if name not in self.constants)
        buffers = {**self.constants, **self.unsaved}
        tensors = dict(state) | {name: _like(value, weight).clone() for name, value in buffers.items()}
        for path, owner in module.named_modules():
            for kind in (owner._parameters, owner._buffers):
                for name, old in list(kind.items()):
                    full = f"{path}.{name}" if path else name
                    if old is not None and full in tensors:
                        new = tensors[full]
                        kind[name] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
        _tie(module, self.module)
        return module

    def realize(self, theta: WeightFeatures, x: Tensor | tuple[Tensor, ...]) -> Tensor:
        """See `WeightSpace.realize`."""
        inputs = x if isinstance(x, tuple) else (x,)
        axes = tuple(self._axis(i, theta, tensor) for i, tensor in enumerate(inputs))
        if len(inputs) != len(self.ranks):
            raise SpaceError(f"x: the module takes {len(self.ranks)} inputs, found {len(inputs)}")
        state: dict[str, Tensor] = {}
        for stored in theta.space.stored:
            whole = stored.assemble([theta[b.parameter] for b in stored.blocks]).movedim(-1, 1).flatten(0, 1)
            state[stored.name] = whole  # functional_call knows which names share it
        fixed = {name: _like(value, theta.tensors[0]) for name, value in {**self.constants, **self.unsaved}.items()}
        repeated = tuple(
            t if axis is None or theta.channels == 1 else t.repeat_interleave(theta.channels, dim=0)
            for t, axis in zip(inputs, axes, strict=True)
        )

        def run(weights: dict[str, Tensor], *arguments: Tensor) -> Any:
            return functional_call(self.module, weights | fixed, arguments)

        try:
            with plain_attention(), _batched_attention(theta.device), _DifferentiableBatchNorm():
                out = vmap(run, in_dims=(0, *axes), randomness="error")(state, *repeated)
        except RuntimeError:  # of an operation that vmap cannot batch: recurrent layers, functions of the user's own
            try:
                out = _one_by_one(run, axes, state, repeated)
            except (RuntimeError, IndexError, ValueError) as error:
                shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
                raise SpaceError(f"x: the module does not run on inputs of shape {shapes}: {error}") from error
        if isinstance(out, tuple):
            out = out[0]
        if not isinstance(out, Tensor):
            raise SpaceError(
                f"the module returns a {type(out).__name__}; realize needs a tensor, or a tuple with one first"
            )
        if theta.channels == 1:
            return out
        by_channel: Tensor = out.unflatten(0, (len(theta), theta.channels))
        return by_channel.movedim(1, -1)

    def _axis(self, i: int, theta: WeightFeatures, x: Tensor) -> int | None:
        """0 if each network has inputs of its own, None if all share them."""
        if not isinstance(x, Tensor):
            raise SpaceError(f"x: input {i} is a {type(x).__name__}, no tensor")
        rank = self.ranks[i] if i < len(self.ranks) else x.dim()
        if x.dim() not in (rank, rank + 1) or (x.dim() == rank + 1 and x.shape[0] != len(theta)):
            raise SpaceError(
                f"x: input {i} has shape {tuple(x.shape)}; expected {rank} axes as the module takes them, or "
                f"{rank + 1} with {len(theta)} networks in front"
            )
        if x.device != theta.device or (x.is_floating_point() and x.dtype != theta.dtype):
            raise SpaceError(
                f"x is {x.dtype} on {x.device}, the networks are {theta.dtype} on {theta.device}; use x.to(...)"
            )
        return 0 if x.dim() == rank + 1 else None


def _like(value: Tensor, weights: Tensor) -> Tensor:
    """A buffer on the device of the weights, and in their precision."""
    return value.to(weights.device, weights.dtype if value.is_floating_point() else value.dtype)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Torch's transformer layers without what can be neither traced nor batched.

    That is fused operations, and the look whether a mask is causal, which only chooses between equal operations.
    """
    fast, look = torch.backends.mha.get_fastpath_enabled(), transformer._detect_is_causal_mask
    torch.backends.mha.set_fastpath_enabled(False)
    transformer._detect_is_causal_mask = lambda mask, is_causal=None, size=None: bool(is_causal)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        transformer._detect_is_causal_mask = look


def _batched_attention(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU the fused attention is the one operation of transformers that vmap would run network by network."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


class _DifferentiableBatchNorm(TorchFunctionMode):
    """Batch normalisation whose running statistics, which are weights here, have gradients too."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return _batch_norm(*args, **kwargs) if func is F.batch_norm else func(*args, **kwargs)


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if training or running_mean is None or running_var is None:
        return torch.batch_norm(
            x, weight, bias, running_mean, running_var, training, momentum, eps, torch.backends.cudnn.enabled
        )
    factor = (running_var + eps).rsqrt()
    factor = factor if weight is None else factor * weight
    shift = -running_mean * factor
    shift = shift if bias is None else shift + bias
    shape = (-1, *(1,) * (x.dim() - 2))
    return x * factor.view(shape) + shift.view(shape)


def _one_by_one(
    run: Callable[..., Any], axes: tuple[int | None, ...], state: dict[str, Tensor], inputs: tuple[Tensor, ...]
) -> Any:
    """What vmap does, for modules with an operation that torch cannot batch."""
    count = len(next(iter(state.values())))
    outs = [
        run(
            {name: tensor[i] for name, tensor in state.items()},
            *(x if axis is None else x[i] for x, axis in zip(inputs, axes, strict=True)),
        )
        for i in range(count)
    ]
    return pytree.tree_map(lambda *parts: torch.stack(parts), *outs)


def _tie(module: nn.Module, original: nn.Module) -> None:
    """Shares the parameters that the original shares."""
    places: dict[int, nn.Parameter] = {}
    for (_, old), (_, new) in zip(original.named_modules(), module.named_modules(), strict=True):
        for name, parameter in old._parameters.items():
            if parameter is not None:
                shared = places.setdefault(id(parameter), new._parameters[name])
                new._parameters[name] = shared
