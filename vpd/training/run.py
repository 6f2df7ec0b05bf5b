"""A run on one worker: {batch, forward, loss, backward, step, log, evaluate, save}, and what may come between.

Owns the order of these, what is told of them, and what follows a number that is not finite. One step is
`vpd.training.step.learning`'s, a checkpoint `vpd.training.keeping`'s; what a run is given is `vpd.training.loop`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from shards.errors import Interrupted, NonFinite
from shards.progress import Progress
from shards.reading.batch import SampleBatch
from vpd.model.device_batch import DeviceBatch, to_batch
from vpd.training.checkpoints.checkpoint import Checkpoint, CheckpointStore
from vpd.training.feeding import Parts, open_stream, unseen_views
from vpd.training.keeping import Keeping
from vpd.training.resume import move_schedule
from vpd.training.settings import TrainConfig
from vpd.training.step.averaging import WeightAverage
from vpd.training.step.finite import BadStep, FiniteWatch, complaint, unsound_weight, ways_on
from vpd.training.step.kept_features import kept_features_of
from vpd.training.step.learning import LearningStep
from vpd.training.step.norms import check_compiled_norms, joins_norms, norm_statistics
from vpd.training.step.numerics import autocast_of, dtype_of
from vpd.training.step.optim import build_optimizer, named_groups
from vpd.training.step.run_ahead import RunAhead
from vpd.training.telemetry.log import RunLog
from vpd.training.telemetry.pace import Pace
from vpd.training.telemetry.pictures import pictures_of_run
from vpd.training.telemetry.trace import StepTrace
from vpd.training.telemetry.utilisation import Utilisation
from vpd.training.validation import validate
from vpd.training.worker import Worker


class Run:
    """A run on one worker, between two steps."""

    def __init__(
        self,
        config: TrainConfig,
        parts: Parts,
        worker: Worker,
        store: CheckpointStore,
        log: RunLog | None,
        wrap: Callable[[nn.Module], nn.Module],
        report: Callable[[Checkpoint | None, Mapping[str, float]], None],
        asked_to_end: Callable[[], bool],
        resolved: Mapping[str, Any],
    ) -> None:
        self.config, self.parts, self.worker, self.store, self.log = config, parts, worker, store, log
        self.report, self.asked_to_end = report, asked_to_end
        loop, self.batch_size, n_items = config.loop, config.data.batch_size, parts.train_set.n_items
        torch.manual_seed(loop.seed)
        self.model = model = parts.model.to(worker.device)
        if loop.channels_last:
            model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        check_compiled_norms(config, model, worker)
        if joins_norms(config.model, worker):
            nn.SyncBatchNorm.convert_sync_batchnorm(model)  # replaces the children in place
        self.optimizer = build_optimizer(named_groups(model, config.optim), config.optim, worker)
        self.total = loop.total_steps(n_items, self.batch_size)
        self.epoch_steps = n_items / self.batch_size
        self.curve = parts.schedule(self.total, self.epoch_steps)
        self.eval_every = loop.eval_every_steps or max(int(self.epoch_steps), 1)
        self.save_every = loop.save_every_steps or self.eval_every
        self.stop = min(self.total, loop.stop_after_steps or self.total)

        self.average = WeightAverage(model, config.optim.ema_decay) if config.optim.ema_decay else None
        self.keeping = Keeping(config, parts, worker, store, log, model, self.optimizer, self.average, resolved)
        self.step = self.first_step = self.keeping.begin()
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self.curve)
        move_schedule(self.scheduler, self.step)
        if loop.compile:
            model.compile_blocks()
        if loop.compile_head:
            model.compile_head()
        wrapped = wrap(model)
        self.autocast = autocast_of(loop.precision, worker.device)
        self.watch, self.rolled_back = FiniteWatch(model, worker), 0
        learns = (model, wrapped, self.optimizer, self.scheduler, self.average)
        self.learning = LearningStep(config, parts.task, worker, *learns, self.watch, self.autocast)
        self.kept = kept_features_of(config, model, parts.task, self.autocast, parts.train_set)
        self.ahead = RunAhead(worker.device)
        self.gradient_norm: torch.Tensor | None = None
        self.results: dict[str, float] = {}
        self.trace = StepTrace(loop.profile, log.folder, worker.device, log.say) if log else None
        self.utilisation: Utilisation | None = None  # made of the first batch
        self.pictures = pictures_of_run(config, parts, worker, log, lambda: self.step)

    def introduce(self) -> None:
        """Say what is going to be trained."""
        shards = self.parts.train_set
        parameters = sum(p.numel() for p in self.model.parameters() if p.requires_grad) / 1e6
        self._say(
            f"{shards.manifest.name}: {shards.n_items} items, {self.total} steps of {self.batch_size} "
            f"on {self.worker.world} worker(s), {self.worker.device}; {parameters:.1f}M trainable; "
            f"starting at step {self.step}"
        )
        if unseen := unseen_views(shards.manifest):
            self._say(f"WARNING: {unseen}")
        for group in self.optimizer.param_groups:
            self._say(
                f"  group {group['name']}: {len(group['params'])} tensors, lr {group['initial_lr']:.2e}, "
                f"weight decay {group['weight_decay']:g}"
            )
        if self.average:
            self._say(f"  validated and exported: their moving average, {self.average.decay:g} of it kept by a step")

    def to_the_end(self) -> None:
        if self.config.loop.eval_at_start and self.step == 0 and self.parts.val_set is not None:
            self._evaluate()
        self.model.train()
        self.pace, self.progress = Pace(self.step), Progress(self.stop - self.step, "steps")
        try:
            while self.step < self.stop:  # comes round again where a run rolls back
                with open_stream(self.config, self.parts, self.worker, self.step, self.stop) as stream:
                    self._through(stream)
        finally:
            if self.trace:
                self.trace.close()

    def _through(self, stream: Iterable[SampleBatch]) -> None:
        """Train on the batches of a stream, to its end or until the run rolls back."""
        for raw in self.pace.waiting(stream):
            with self.trace.step(self.step + 1) if self.trace else nullcontext(), self._first_compiled():
                self._learn(raw)
            self.step += 1
            last = self.step == self.stop
            alone, every = self.worker.world == 1, self.config.loop.log_every_steps
            ends = alone and not last and self.asked_to_end()
            logs = bool(every) and (last or ends or self.step % every == 0)
            evaluates = self.parts.val_set is not None and (last or self.step % self.eval_every == 0)
            saves = last or ends or self.step % self.save_every == 0
            if not (logs or evaluates or saves):
                continue
            if not self._sound(evaluates or saves):
                return
            if not (alone or last):
                ends = bool(self.worker.any_of(torch.tensor(self.asked_to_end(), device=self.worker.device)))
            if logs:
                self._log()
            with self.pace.apart():
                scored = self._evaluate() if evaluates else {}
                if saves or ends:
                    self._save(scored)
            if ends:
                self._end_early()

    def _end_early(self) -> None:
        self.keeping.writer.close()
        self.worker.barrier()  # a worker that leaves takes the others along, and the first may still be writing
        path = self.store.path_of(self.step)
        raise Interrupted(
            f"ended at step {self.step} of {self.total}, as it was asked to. Saved: {path}. The same command goes on "
            "from there."
        )

    def _learn(self, raw: SampleBatch) -> None:
        """One optimiser step, of which nothing is read back."""
        batch = to_batch(raw.arrays, self.parts.encoders, self.worker.device)
        self._look_at(batch)
        if self.kept is not None:
            batch.features = self.kept.of(raw, batch)
        every, number = self.config.loop.log_every_steps, self.step + 1
        logged = bool(every) and (number == self.stop or number % every == 0)
        self.gradient_norm = self.learning.take(self.step, raw, batch, measured=logged)
        self.ahead.stepped()

    @contextmanager
    def _first_compiled(self) -> Iterator[None]:
        """Around a step: tells how long the first one took, if it compiles."""
        began_s = time.perf_counter()
        yield
        if self.config.loop.compiles and self.step == self.first_step:
            self._say(f"the first step, which compiles, took {time.perf_counter() - began_s:.0f} s")

    def _look_at(self, batch: DeviceBatch) -> None:
        """Count and measure, once, what the share of the device's rate is told by, if it is."""
        on_gpu, mfu = self.worker.device.type == "cuda", self.config.loop.mfu
        if self.utilisation or not self.log or not self.config.loop.log_every_steps or mfu == "never":
            return
        if self.kept is not None:
            return  # most steps are the head's alone, and how many, nobody says
        if mfu == "always" or on_gpu:
            dtype = dtype_of(self.config.loop.precision, self.worker.device)
            with self.pace.apart():
                self.utilisation = Utilisation(self.model, self.parts.task, batch, self.worker.device, dtype)

    def _sound(self, weights_too: bool) -> bool:
        """Whether all steps since the last reading were finite, or can be left out; False if the run rolled back.

        Args:
            weights_too: look at the weights in any case.

        Raises:
            NonFinite: as the setting `loop.nonfinite` says.
        """
        bad = self.watch.read()
        weight = unsound_weight(self.model) if bad or weights_too else ""
        if not bad and not weight:
            return True
        self.keeping.writer.wait()
        self.worker.barrier()  # before anybody looks for the newest checkpoint
        loop, newest = self.config.loop, self.store.latest()
        said = complaint(self.step, bad, weight, self.worker, self.parts.train_set.paged.key)
        if loop.nonfinite == "skip" and not weight:
            self._say(f"{said} Going on without it (loop.nonfinite: skip).")
            return True
        if loop.nonfinite == "roll_back" and newest and self.rolled_back < loop.roll_backs:
            self.rolled_back += 1
            self._say(
                f"{said} Going back to step {newest.step}, and past it without what is not finite "
                f"(loop.nonfinite: roll_back, {self.rolled_back} of {loop.roll_backs})."
            )
            self._roll_back(bad)
            return False
        lr = float(max(self.scheduler.get_last_lr()))
        raise NonFinite(f"{said} {ways_on(newest.path if newest else '', lr, loop.roll_backs)}")

    def _roll_back(self, bad: Iterable[BadStep]) -> None:
        """To the newest checkpoint; these steps are left out when they come again."""
        self.watch.forgiven |= {one.step for one in bad}
        self.watch.forget()
        self.step = self.keeping.restore()
        move_schedule(self.scheduler, self.step)
        if self.log:
            self.log.rewind(self.step)
        self.pace.restart(self.step)

    def _log(self) -> None:
        """The numbers of the steps since the last log."""
        mean_loss = self.worker.summed(torch.tensor([self.watch.mean_loss()], dtype=torch.float64)).item()
        self.results["loss"] = mean_loss / self.worker.world
        steps_per_s, wait_share = self.pace.read(self.step)
        values = {
            "loss": self.results["loss"],
            "epoch": self.step / self.epoch_steps,
            "lr": max(self.scheduler.get_last_lr()),
            "gradient_norm": float("nan") if self.gradient_norm is None else self.gradient_norm.item(),
            "items_per_s": steps_per_s * self.batch_size,
            "wait_share": wait_share,
        }
        if self.utilisation:
            values["mfu"] = self.utilisation.of(values["items_per_s"] / self.worker.world)
        if self.worker.device.type == "cuda":
            values["peak_memory_gb"] = torch.cuda.max_memory_allocated(self.worker.device) / 1e9
        if self.log:
            left_s = self.progress.left_s(self.step - self.first_step)  # with the evaluations among the steps
            rates = {f"lr_{group['name']}": group["lr"] for group in self.optimizer.param_groups}
            self.log.write(self.step, values, total=self.total, left_s=left_s, unsaid=rates)

    def _evaluate(self) -> dict[str, float]:
        self.worker.take_the_first(norm_statistics(self.model))  # the score is that of what is saved
        drawing = self.pictures.scored if self.pictures else None
        with self.average.in_place() if self.average else nullcontext():
            scored = validate(self.model, self.config, self.parts, self.worker, self.autocast, self.log, drawing)
        self.results.update(scored)
        if self.log:
            self.log.write(self.step, scored, prefix="val", total=self.total)
        return scored

    def _save(self, scored: Mapping[str, float]) -> None:
        self.report(self.keeping.save(self.step, scored), scored or {"step": self.step})

    def _say(self, text: str) -> None:
        if self.log:
            self.log.say(text)
