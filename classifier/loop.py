"""The training loop: steps, validation, early stopping, checkpoints and log, on any number of processes."""

from __future__ import annotations

import math
import random
import sys
import time
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tokenizers import Tokenizer
from tqdm import tqdm
from transformers import get_scheduler

from .batches import Epoch
from .checkpoint import Checkpoints, Progress
from .errors import ClassifierError
from .examples import Examples
from .logits import predict_logits, validation_scores
from .losses import MultiTaskLoss, double
from .model import MultiTaskModel
from .optim import make_optimizer, use_bf16
from .runlog import Log
from .settings import TrainSettings
from .tasks import TaskSet

_LOG_EVERY = 10


class Loop:
    """One run, from the first or a checkpoint's step to the last.

    Args:
        settings: The run's settings.
        tasks: The task set; only its tasks are validated.
        model: The model, with heads for auxiliary tasks too.
        loss: The loss over all heads.
        tokenizer: The encoder's tokenizer.
        train: Training examples.
        validation: Held-out examples.
        accelerator: Device and processes.
    """

    def __init__(
        self,
        settings: TrainSettings,
        tasks: TaskSet,
        model: MultiTaskModel,
        loss: MultiTaskLoss,
        tokenizer: Tokenizer,
        train: Examples,
        validation: Examples,
        accelerator: Accelerator,
    ) -> None:
        self.settings, self.tasks, self.tokenizer = settings, tasks, tokenizer
        self.examples, self.validation, self.accelerator = train, validation, accelerator
        self.per_epoch, self.total = settings.steps_per_epoch(len(train)), settings.steps(len(train))
        self.parts = accelerator.num_processes * settings.accumulation
        if min(len(train), settings.batch_size) < self.parts:
            raise ClassifierError(
                f"A batch of {min(len(train), settings.batch_size)} messages cannot be cut into {self.parts} parts "
                f"({accelerator.num_processes} processes, accumulation {settings.accumulation}); raise --batch-size."
            )
        optimizer = make_optimizer(model, settings)
        self.schedule = get_scheduler(settings.schedule, optimizer, math.ceil(settings.warmup * self.total), self.total)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.bare = model
        self.loss = loss.to(accelerator.device)
        self.bf16 = use_bf16(settings.precision, accelerator.device)
        self.checkpoints, self.progress = Checkpoints(settings.run), Progress()
        self.log = Log(settings.run / "log.jsonl", accelerator)

    def run(self) -> Progress:
        """Train to the end, then put the best weights into the model.

        Raises:
            ClassifierError: Memory or disk ran out, or the loss is no longer a number.
        """
        self._continue()
        bar = tqdm(
            total=self.total,
            initial=self.progress.step,
            desc="train",
            unit="step",
            disable=not self.accelerator.is_main_process,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        )
        with bar:
            if not self.total:
                self._validate()
            while not self.progress.stopped:
                self._epoch(bar)
        self.accelerator.wait_for_everyone()
        self.checkpoints.load_best(self.bare)
        return self.progress

    def _continue(self) -> None:
        latest = self.checkpoints.latest()
        if latest is not None:
            self.progress = self.checkpoints.load(latest, self.bare, self.optimizer, self.schedule)
        if self.accelerator.is_main_process:
            self.log.forget_after(self.progress.step)

    def _epoch(self, bar: tqdm) -> None:
        """Train from the current step to the end of its epoch, or of the run."""
        started = time.perf_counter()
        number, first = divmod(self.progress.step, self.per_epoch)
        epoch = Epoch(self.examples, self.tasks, self.tokenizer, self.settings, number)
        for step in range(first, min(self.per_epoch, self.total - number * self.per_epoch)):
            try:
                record = self._step(epoch, step)
            except RuntimeError as error:
                advice = _out_of_memory(error, self.settings)
                if advice is None:
                    raise
                raise advice from error
            self.progress.step += 1
            self.log.add(self.progress.step, record)
            bar.update()
            end = step + 1 == self.per_epoch or self.progress.step == self.total
            due = self.progress.step % self.settings.checkpoint_steps == 0
            if end or due or self.progress.step % _LOG_EVERY == 0:
                bar.set_postfix(loss=f"{self.log.flush():.3f}", msg_s=f"{self.log.speed:.0f}", refresh=False)
            if end:
                self._validate()
            self.progress.seconds, started = self.progress.seconds + time.perf_counter() - started, time.perf_counter()
            if (end or due) and self.accelerator.is_main_process:
                self.checkpoints.save(self.bare, self.optimizer, self.schedule, self.progress)
            if self.progress.stopped:
                return

    def _step(self, epoch: Epoch, step: int) -> dict[str, Any]:
        """One optimizer step on one global batch."""
        device, count = self.accelerator.device, self.accelerator.num_processes
        rows = len(epoch.steps[step])
        torch.manual_seed(_step_seed(self.settings.seed, self.progress.step, self.accelerator.process_index))
        self.model.train()
        record: dict[str, Any] = {"messages": rows, "tokens": 0, "padded": 0, "losses": 0.0}
        for micro in range(self.settings.accumulation):
            part = self.accelerator.process_index + count * micro
            batch = epoch.batch(step, part, self.parts).to(device)
            last = micro + 1 == self.settings.accumulation
            inputs = double(batch) if self.settings.r_drop else (batch.input_ids, batch.attention_mask)
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
                    outputs = self.model(*inputs)
                losses = torch.stack(list(self.loss(outputs, batch, rows).values()))
                # Processes average their gradients; each holds a summand of the batch's loss.
                self.accelerator.backward(losses.sum() * count)
            record["losses"] = record["losses"] + losses.detach()
            record["tokens"] = record["tokens"] + batch.attention_mask.sum()
            record["padded"] += batch.attention_mask.numel()
        record["learning_rate"] = self.schedule.get_last_lr()[-1]
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        return record

    def _validate(self) -> None:
        """Score the validation split; keep the weights if they are the best so far, or lose patience."""
        mine = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
        rows = list(range(len(self.validation)))[mine]
        logits = predict_logits(
            self.bare, self.tokenizer, [self.validation.texts[row] for row in rows], self.settings.max_tokens
        )
        found = gather_object([(rows, logits)]) if self.accelerator.num_processes > 1 else [(rows, logits)]
        scores = validation_scores(found, self.validation, self.tasks)
        progress = self.progress
        if scores["score"] > progress.best_score:
            progress.best_score, progress.best_step, progress.misses = scores["score"], progress.step, 0
            if self.accelerator.is_main_process:
                self.checkpoints.save_best(self.bare)
        else:
            progress.misses += 1
        progress.stopped = progress.step >= self.total or progress.misses >= self.settings.patience
        self.log.write({"event": "validation", "step": progress.step, "best_step": progress.best_step, **scores})


def _step_seed(seed: int, step: int, process: int) -> int:
    return random.Random(f"{seed}/{step}/{process}").getrandbits(63)


def _out_of_memory(error: RuntimeError, settings: TrainSettings) -> ClassifierError | None:
    """The advice for an error that says that memory ran out, None for any other."""
    if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
        return None
    return ClassifierError(
        f"Memory ran out with --batch-size {settings.batch_size}, --accumulation {settings.accumulation} and "
        f"--max-tokens {settings.max_tokens}; earlier checkpoints are untouched. Continue with --resume and "
        f"--accumulation {settings.accumulation * 2}, which needs about half the memory and gives the same result; "
        "or start anew with fewer --max-tokens."
    )
