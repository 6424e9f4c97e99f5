"""What a task offers to the training loop, and the helpers that tasks share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Protocol

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

from .._errors import EngineError

__all__ = ["Split", "Task", "evaluating", "mean_loss"]

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


def mean_loss(model: nn.Module, task: Task, split: Split, batch_size: int) -> float:
    """The mean of ``task.losses`` over a split, in evaluation mode without gradients.

    Several processes share the batches, so all of them have to call it. Sums within a batch are taken in the precision
    of the losses, sums over batches in float64.

    Args:
        model: the model, on its device.
        task: the task, on the same device.
        split: ``train``, ``validation`` or ``test``.
        batch_size: examples a forward pass.

    Raises:
        EngineError: if the split is empty, or the batch size below 1.
    """
    if batch_size < 1:
        raise EngineError(f"batch_size: expected at least 1, found {batch_size}")
    size = task.size(split)
    if size == 0:
        raise EngineError(f"task {task.name!r} has no examples in its {split} split")
    distributed = dist.is_available() and dist.is_initialized()
    rank, processes = (dist.get_rank(), dist.get_world_size()) if distributed else (0, 1)
    starts = range(0, size, batch_size)
    device = next(model.parameters()).device
    sums = torch.zeros(len(starts), device=device)
    with evaluating(model):
        for batch in range(rank, len(starts), processes):
            index = torch.arange(starts[batch], min(starts[batch] + batch_size, size), device=device)
            sums[batch] = task.losses(model, split, index).sum()
    if distributed:
        dist.all_reduce(sums)
    return float(sums.cpu().double().sum() / size)
