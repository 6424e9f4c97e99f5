"""The training loop, its state and its checkpoints."""

import math
import threading
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .._errors import EngineError
from ._config import TrainConfig
from ._optimization import Optimization
from ._precision import MixedPrecision
from ._random import epoch_order, seed_step
from ._run_folder import Result, RunFolder
from ._task import Split, Task, evaluating

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Loop"]

_STEPS_PER_AGREEMENT = 16  # how often several processes agree on whether to save or to stop


class Loop:
    """A run in progress: `restore`, then `fit`, then `finish`."""

    def __init__(
        self, model: nn.Module, task: Task, config: TrainConfig, run: RunFolder, accelerator: "Accelerator"
    ) -> None:
        self.model, self.task, self.config, self.run, self.accelerator = model, task, config, run, accelerator
        self.size = task.size("train")
        self.steps_per_epoch = math.ceil(self.size / config.batch_size)
        device = accelerator.device
        self.network = accelerator.prepare_model(model)  # on the device; gradients are averaged over the processes
        if config.precision != "no":
            self.network = MixedPrecision(self.network, device.type, config.precision)
        self.optimization = Optimization(model, config, config.epochs * self.steps_per_epoch, device)
        self.interrupted = threading.Event()
        # with the states of model and optimization, all that a checkpoint holds:
        self.epoch, self.step = 0, 0  # finished epochs; finished steps of the present one
        self.losses = torch.zeros(self.steps_per_epoch, device=device)  # per step, summed over this process's examples
        self.records: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None  # epoch, metrics and model of the best validation
        self.seconds = 0.0  # of former sessions
        self.started = self.saved = time.monotonic()

    @property
    def total_steps(self) -> int:
        """Optimiser steps taken so far."""
        return self.epoch * self.steps_per_epoch + self.step

    def fit(self, progress: bool) -> None:
        """Train what is left."""
        from tqdm import tqdm

        epochs = self.config.epochs
        total = epochs * self.steps_per_epoch
        disable = not (progress and self.accelerator.is_main_process)
        with tqdm(total=total, initial=self.total_steps, unit="step", disable=disable, dynamic_ncols=True) as bar:
            while self.epoch < epochs:
                bar.set_description(f"epoch {self.epoch + 1}/{epochs}")
                self.network.train()
                for batch in self._batches():
                    self._take_step(batch)
                    bar.update()
                    self._save_if_due()
                self._end_epoch()
                bar.set_postfix_str(self._summary())
                self._save_if_due()

    def finish(self, device: str) -> Result:
        """Measure the best weights on the test split and write the result."""
        self.save()
        if self.best is None:
            raise EngineError(
                f"task {self.task.name!r}: its validation metric {self.task.selection!r} was not a finite number after "
                f"any epoch, so there is no best one; see {self.run.records}"
            )
        self.model.load_state_dict(self.best["model"])
        self.model.eval()
        metrics = {"validation": self.best["metrics"], "test": self._evaluate("test")}
        result = Result(
            folder=self.run.path,
            metrics=metrics,
            best_epoch=self.best["epoch"],
            epochs=self.epoch,
            steps=self.total_steps,
            parameters=sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            seconds=round(self._elapsed(), 3),
            device=device,
        )
        if self.accelerator.is_main_process:
            with evaluating(self.model):
                self.run.write_samples(self.task.samples(self.model))
            self.run.write_result(result)
        self.accelerator.wait_for_everyone()
        return result

    # ---------------------------------------------------------------------------------------- steps and epochs

    def _batches(self) -> list[Tensor]:
        """The batches that are left in this epoch, as indices; the same in every process."""
        order = epoch_order(self.config.seed, self.epoch, self.size).to(self.accelerator.device)
        return list(order.split(self.config.batch_size)[self.step :])

    def _take_step(self, batch: Tensor) -> None:
        """Follow the gradient of the mean loss of a batch, of which each process computes its share."""
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        seed_step(self.config.seed, self.total_steps, rank, self.accelerator.device)
        share = batch.tensor_split(processes)[rank]
        weight = 1.0 if len(share) else 0.0  # fewer examples than processes: the others take part with no weight
        loss = weight * self._losses(share if len(share) else batch[:1]).sum()
        self.losses[self.step] = loss.detach()
        self.optimization.step(loss * (processes / len(batch)), self.total_steps)
        self.step += 1

    def _losses(self, index: Tensor) -> Tensor:
        losses = self.task.losses(self.network, "train", index)
        if losses.shape != index.shape:
            raise EngineError(
                f"task {self.task.name!r}: losses() has to return one loss per example, shape {list(index.shape)}; "
                f"it returned shape {list(losses.shape)}"
            )
        return losses

    def _end_epoch(self) -> None:
        """Record the epoch, after validation if it is time for one."""
        train_loss = float(self._finite_losses().double().sum() / self.size)
        rate = self.optimization.rate
        self.optimization.end_epoch(train_loss)
        self.epoch, self.step = self.epoch + 1, 0
        self.losses.zero_()
        record: dict[str, Any] = {"epoch": self.epoch, "step": self.total_steps, "train_loss": train_loss}
        if self.epoch % self.config.validate_every == 0 or self.epoch == self.config.epochs:
            record["validation"] = self._validate()
        record |= {"learning_rate": rate, "seconds": round(self._elapsed(), 3)}
        self.records.append(record)
        if self.accelerator.is_main_process:
            self.run.append_record(record)

    def _validate(self) -> dict[str, float]:
        """The validation metrics; if they are the best so far, the weights are kept."""
        metrics = self._evaluate("validation")
        sign = 1.0 if self.task.direction == "min" else -1.0
        value = sign * metrics[self.task.selection]
        if math.isfinite(value) and (self.best is None or value < sign * self.best["metrics"][self.task.selection]):
            weights = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
            self.best = {"epoch": self.epoch, "metrics": metrics, "model": weights}
            if self.accelerator.is_main_process:
                self.run.write_best(self.best)
        return metrics

    def _evaluate(self, split: Split) -> dict[str, float]:
        from accelerate.utils import broadcast

        broadcast(list(self.model.buffers()))  # running statistics are those of the main process
        with evaluating(self.model):
            metrics = self.task.evaluate(self.model, split, self.config.batch_size)
        if self.task.selection not in metrics:
            raise EngineError(
                f"task {self.task.name!r} selects by {self.task.selection!r}, but evaluate() returned {sorted(metrics)}"
            )
        return {name: float(value) for name, value in metrics.items()}

    def _summary(self) -> str:
        """The state of the run on the progress bar."""
        name, text = self.task.selection, f"train loss {self.records[-1]['train_loss']:.4g}"
        validated = [record["validation"][name] for record in self.records if "validation" in record]
        if validated:
            text += f", validation {name} {validated[-1]:.4g}"
        if self.best is not None:
            text += f" (best {self.best['metrics'][name]:.4g}, epoch {self.best['epoch']})"
        return text

    # --------------------------------------------------------------------------------------------- checkpoints

    def save(self) -> None:
        """Write a checkpoint, after a look at whether the run is still worth one."""
        losses = self._finite_losses()
        if self.accelerator.is_main_process:
            self.run.write_checkpoint(
                {
                    "model": self.model.state_dict(),
                    "optimization": self.optimization.state_dict(),
                    "epoch": self.epoch,
                    "step": self.step,
                    "losses": losses,
                    "records": self.records,
                    "best": self.best,
                    "seconds": self._elapsed(),
                }
            )
        self.saved = time.monotonic()

    def restore(self) -> None:
        """Go back to the last checkpoint, or to the start, also with what the folder shows."""
        state = self.run.read_checkpoint()
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.optimization.load_state_dict(state["optimization"])
            for name in ("epoch", "step", "records", "best", "seconds"):
                setattr(self, name, state[name])
        if self.accelerator.is_main_process:
            if state is not None:
                self.losses.copy_(state["losses"])  # of all processes together
            self.run.write_records(self.records)
            self.run.write_best(self.best)

    def _save_if_due(self) -> None:
        stop = self.interrupted.is_set()
        due = stop or time.monotonic() - self.saved >= self.config.checkpoint_seconds
        if self.accelerator.num_processes > 1:
            if self.step % _STEPS_PER_AGREEMENT:
                return
            from accelerate.utils import broadcast_object_list

            due, stop = broadcast_object_list([due, stop])
        if due:
            self.save()
        if stop:
            raise KeyboardInterrupt(
                f"stopped in epoch {self.epoch + 1} after {self.step} of {self.steps_per_epoch} steps; the checkpoint "
                f"is in {self.run.path}: run the same command again to go on"
            )

    def _finite_losses(self) -> Tensor:
        """This epoch's losses, on the CPU, summed over the processes; refused if training has diverged."""
        losses: Tensor = self.accelerator.reduce(self.losses, "sum").cpu()
        where = None
        if not losses.isfinite().all():
            step = int(losses.isfinite().logical_not().nonzero()[0])
            where = f"the loss is {float(losses[step])} in epoch {self.epoch + 1}, step {step + 1}"
        else:
            for name, parameter in self.model.named_parameters():
                if not parameter.isfinite().all():
                    where = f"{name} is not finite in epoch {self.epoch + 1}, after step {self.step}"
        if where is not None:
            raise EngineError(
                f"training has diverged: {where} of {self.steps_per_epoch}. The last good checkpoint, the records and "
                f"the best weights are kept in {self.run.path}. Train in another folder with a lower learning_rate "
                f"(now {self.config.learning_rate:g}), clip_norm, a warm-up or precision='no'"
            )
        return losses

    def _elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.started
