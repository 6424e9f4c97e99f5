"""`train`: one run from start, or from where it was left, to its result."""

import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .._errors import EngineError
from ._config import TrainConfig
from ._loop import Loop
from ._run_folder import Result, RunFolder, describe_run, load_best
from ._task import Task, evaluating, mean_loss

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["measure", "train"]


def train(
    model: nn.Module,
    task: Task,
    config: TrainConfig,
    folder: str | os.PathLike[str],
    *,
    recipe: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
    resume: bool = True,
    progress: bool = True,
) -> Result:
    """Train a model on a task, keep the weights with the best validation metric, and measure them on the test split.

    Called again on the same folder after a kill, a crash or Ctrl-C, it goes on where the last checkpoint was written;
    on a CPU the result is bit-identical to that of an uninterrupted run. A finished folder returns its result at once.
    Either way the model holds the best weights afterwards, in evaluation mode.

    Under ``torchrun`` or ``accelerate launch`` the batches are split over the processes, and each step follows the
    gradient of the mean over the whole batch. Dropout draws its own masks in each process and batch normalisation
    uses the statistics of its process: models with either train well, but not identically to one process. The folder
    has to be visible to all processes; only the main one writes. The device is the one `accelerate` chooses (set
    ``ACCELERATE_USE_CPU=1`` to stay on the CPU). To compile a model call ``model.compile()`` before.

    The folder receives records.jsonl (a line per epoch, see `read_records`), best.safetensors, samples.safetensors,
    result.json (last), recipe.json and environment.json, and checkpoint.pt to resume from.

    Args:
        model: any module; its weights at the time of the call are the start.
        task: data, loss and metrics.
        config: the settings of the run.
        folder: where the run is kept; made if missing.
        recipe: what else describes the run, as JSON values. It is stored and, like model, task and settings, compared
            when the run is resumed.
        about: further entries of the recipe that do not change the run, such as a title: stored anew by each call, not
            compared.
        resume: whether a folder that holds a run may be continued; if not, it is refused.
        progress: whether to show a progress bar.

    Raises:
        EngineError: if the folder holds another run, the loss or the weights are no longer finite, or the task returns
            something of another form than `Task` says.
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written, with a message that says how to go on. A second
            Ctrl-C does not wait for the checkpoint, and the launcher of several processes sends one by itself: then
            the run goes on from the last periodic checkpoint.
    """
    run = RunFolder(folder)
    accelerator, device = _open(run, describe_run(model, task, config, recipe), about or {}, resume)
    task.to(accelerator.device)
    if run.result.exists():
        model.to(accelerator.device).eval()
        load_best(folder, model)
        return Result.load(folder)
    loop = Loop(model, task, config, run, accelerator)
    loop.restore()
    with _ctrl_c_sets(loop.interrupted):
        loop.fit(progress)
    return loop.finish(device)


def measure(
    model: nn.Module,
    task: Task,
    config: TrainConfig,
    folder: str | os.PathLike[str],
    fit: Callable[[], object],
    *,
    recipe: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
    resume: bool = True,
) -> Result:
    """A run without gradient steps, such as one of decision trees: fit at once, then measure as `train` does.

    The folder has the files of `train` but for weights and checkpoint, with one record.

    Args:
        model: any module; it need not have parameters.
        task: data and metrics.
        config: of its settings only the batch size counts; all are stored.
        folder: where the run is kept; made if missing. A finished run in it is kept, and ``fit`` not called.
        fit: makes the model what it is.
        recipe: as for `train`.
        about: as for `train`.
        resume: as for `train`.

    Raises:
        EngineError: if the folder holds another run.
    """
    run = RunFolder(folder)
    accelerator, device = _open(run, describe_run(model, task, config, recipe), about or {}, resume)
    if run.result.exists():
        return Result.load(folder)
    start = time.monotonic()
    fit()
    record: dict[str, Any] = {"epoch": 1, "step": 0, "train_loss": mean_loss(model, task, "train", config.batch_size)}
    with evaluating(model):
        validation, test = (task.evaluate(model, split, config.batch_size) for split in ("validation", "test"))
    record |= {"validation": validation, "learning_rate": 0.0, "seconds": round(time.monotonic() - start, 3)}
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    metrics = {"validation": validation, "test": test}
    result = Result(run.path, metrics, 1, 1, 0, parameters, record["seconds"], device)
    if accelerator.is_main_process:
        run.write_records([record])
        with evaluating(model):
            run.write_samples(task.samples(model))
        run.write_result(result)
    accelerator.wait_for_everyone()
    return result


def _open(
    run: RunFolder, description: dict[str, Any], about: Mapping[str, Any], resume: bool
) -> tuple["Accelerator", str]:
    """Processes and the name of their device, once the folder is free or may go on; a new run is written down."""
    run.check(description, about, resume)
    accelerator = _accelerator()
    accelerator.wait_for_everyone()  # nobody writes before everybody has looked
    device = _device_name(accelerator.device)
    if accelerator.is_main_process:
        run.describe(description, about)
        if not run.result.exists():
            run.place(device, accelerator.num_processes)
    return accelerator, device


def _accelerator() -> "Accelerator":
    """Device and processes. Precision is ours, see `MixedPrecision`: a process may train runs of several precisions."""
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        raise EngineError("training needs accelerate and tqdm: pip install 'weightspace[train]'") from error
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    gpu = torch.accelerator.is_available() and not (launched > 1 and torch.backends.mps.is_available())
    accelerator = Accelerator(
        cpu=not gpu,  # said outright: otherwise accelerate does not join several processes on CPUs
        mixed_precision="no",
        # the graph is the same in every step, also where a parameter has no influence on the loss
        kwargs_handlers=[DistributedDataParallelKwargs(static_graph=True)],
    )
    if accelerator.num_processes != launched:
        raise EngineError(f"{launched} processes were launched, but accelerate joins {accelerator.num_processes}")
    return accelerator


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"


@contextmanager
def _ctrl_c_sets(interrupted: threading.Event) -> Iterator[None]:
    """Inside, the first Ctrl-C only sets ``interrupted``, so that no step stays half done; the next one acts as usual.

    Signals reach the main thread only, and a process that ignores Ctrl-C goes on ignoring it.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return

    def request(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, request)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
