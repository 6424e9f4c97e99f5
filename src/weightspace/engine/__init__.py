"""Training: one loop on top of `accelerate`, resumable after a kill at any moment, and the folder a run leaves behind.

A `Task` says what a model should do on which data; a `TrainConfig` holds the settings of one run; `train` does it.
"""

from ._allocator import keep_freed_memory
from ._config import TrainConfig
from ._run_folder import Result, load_best, read_records
from ._task import Split, Task, collect, evaluating, mean_loss
from ._train import measure, train

__all__ = [
    "Result",
    "Split",
    "Task",
    "TrainConfig",
    "collect",
    "evaluating",
    "keep_freed_memory",
    "load_best",
    "mean_loss",
    "measure",
    "read_records",
    "train",
]
