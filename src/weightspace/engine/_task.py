"""What a task offers to the training loop, and the helpers that tasks share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Protocol

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

from .._errors import EngineError

__all__ = ["Split", "Task", "collect", "evaluating", "mean_loss"]

Split = Literal["train", "validation", "test"]


class Task(Protocol):
    """Data, target and metric. The data live in memory; the loop only draws indices.

    Attributes:
        name: for messages and the run folder.
        selection: the metric of `evaluate` that chooses the best epoch on the validation split.
        direction: whether a small or a large value of it is good.
    """

    name: str
    selection: str
    direction: Literal["min", "max"]

    def size(self, split: Split) -> int:
        """The number of examples of a split."""
        ...

    def to(self, device: torch.device) -> object:
        """Move the data to a device, in place. Called once, before training."""
        ...

    def losses(self, model: nn.Module, split: Split, index: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The loss of each of the examples ``index``, differentiable in the model's parameters.

        Random numbers are to be drawn from the global generators of torch, numpy or Python: the loop seeds all three
        before each step. Calls ``model`` itself, not its parts, so that gradients meet across processes.
        """
        ...

    def evaluate(self, model: nn.Module, split: Split, batch_size: int) -> dict[str, float]:
        """The metrics of a split, `selection` among them. Called without gradients, in evaluation mode.

        With several processes all of them call it and must get the same answer; `mean_loss` shares the work.
        """
        ...

    def samples(self, model: nn.Module) -> Mapping[str, Tensor]:
        """What the report shows of a trained model, as raw data. Called on the main process only."""
        ...


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the former mode comes back at the end."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def collect(
    compute: Callable[[Tensor], Tensor],
    size: int,
    batch_size: int,
    *,
    shape: tuple[int, ...] = (),
    device: torch.device | None = None,
) -> Float[Tensor, "size ..."]:
    """``compute(index)`` for all examples, in float32.

    Several processes share the batches and all get the whole answer, so all of them have to call it.

    Args:
        compute: gives ``[batch, *shape]`` for the examples ``index``.
        size: the number of examples.
        batch_size: examples a call.
        shape: of what is computed for one example.
        device: of the indices and of the answer.

    Raises:
        EngineError: if the batch size is below 1.
    """
    if batch_size < 1:
        raise EngineError(f"batch_size: expected at least 1, found {batch_size}")
    distributed = dist.is_available() and dist.is_initialized()
    rank, processes = (dist.get_rank(), dist.get_world_size()) if distributed else (0, 1)
    answer = torch.zeros(size, *shape, device=device)
    for start in range(rank * batch_size, size, processes * batch_size):
        index = torch.arange(start, min(start + batch_size, size), device=device)
        answer[start : start + batch_size] = compute(index)
    if distributed:
        dist.all_reduce(answer)
    return answer


def mean_loss(model: nn.Module, task: Task, split: Split, batch_size: int) -> float:
    """The mean of ``task.losses`` over a split, in evaluation mode without gradients, summed in float64.

    Several processes share the batches, so all of them have to call it.

    Args:
        model: the model, on its device.
        task: the task, on the same device.
        split: ``train``, ``validation`` or ``test``.
        batch_size: examples a forward pass.

    Raises:
        EngineError: if the split is empty, or the batch size below 1.
    """
    size = task.size(split)
    if size == 0:
        raise EngineError(f"task {task.name!r} has no examples in its {split} split")
    device = next((parameter.device for parameter in model.parameters()), None)
    with evaluating(model):
        losses = collect(lambda index: task.losses(model, split, index), size, batch_size, device=device)
    return float(losses.cpu().double().mean())
