"""A training run, assembled without weights and without workers: everything that can be wrong is wrong here.

Owns the order of the checks, cheapest first. Each part is made by the function that the run itself uses. What a set
must hold is `forecast.sets`', what is assumed of one that is not built `forecast.unbuilt`'s, the network on the meta
device `forecast.network`'s, and what is printed `forecast.figures`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from diffusion_perception import plugins
from diffusion_perception.assembly import fit
from diffusion_perception.assembly.companions import backbone_facts, check_empty_known, needed_encoders
from diffusion_perception.assembly.parts import build_schedule, build_task
from diffusion_perception.changed_settings import check_unchanged
from diffusion_perception.forecast import network, unbuilt
from diffusion_perception.forecast.sets import Sets, read_sets

if TYPE_CHECKING:
    from diffusion_perception.assembly.companions import Kind
    from diffusion_perception.train_job import TrainJob
    from vpd.model.perception import Perception
    from vpd.tasks import Task
    from vpd.training.checkpoints.checkpoint import Checkpoint, CheckpointStore
    from vpd.training.schedules import Schedule


@dataclass(frozen=True)
class TrainingForecast:
    """A run that would start.

    Attributes:
        total_steps: of the whole run; 0 where only a missing set would tell.
        curve: factor on the learning rate after so many steps; None without `total_steps`.
        step: where the run begins: 0, or that of the checkpoint it goes on from.
        encoders: `image` and `text` -> the frozen encoder that is loaded for it.
        changed: settings that are not those of the checkpoint, and were allowed to differ.
        assumed: what was assumed of the backbone; empty if it was read.
        model: on the meta device; None where `absent` says why.
        groups: of the optimiser, on the model's parameters.
        activation_bytes: precision -> what a step keeps for backward on one worker, estimated; a dry run has both
            where only the workers know whether they have GPUs.
        peak_bytes: precision -> the most that a step holds at once on one worker; counted for a dry run.
    """

    job: TrainJob
    task: Task
    sets: Sets
    total_steps: int
    curve: Schedule | None
    step: int
    encoders: Mapping[Kind, Mapping[str, Any]]
    assumed: str
    model: Perception | None = None
    absent: str = ""
    groups: list[dict[str, Any]] = field(default_factory=list)
    activation_bytes: Mapping[str, int | None] = field(default_factory=dict)
    peak_bytes: Mapping[str, int | None] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)

    @property
    def samples(self) -> int:
        """Of a batch on one worker."""
        return -(-self.job.data.batch_size // self.job.run.fewest)


def forecast_training(job: TrainJob, *, dry: bool = False) -> TrainingForecast:
    """Assemble a run without weights.

    Args:
        job: with its paths resolved (`train_job.placed`).
        dry: nothing follows: go on where a set is not built yet, and read a sample of a remote one.

    Raises:
        ContractError: what the run would be refused for, in the same words.
    """
    from shards.reading.order import check_world
    from vpd.training.checkpoints.checkpoint import CheckpointStore
    from vpd.training.resume import resumable
    from vpd.training.step.graphs import check_graphs
    from vpd.training.step.kept_features import check_kept
    from vpd.training.step.optim import named_groups, preset_rules

    check_world(job.data.batch_size, 0, job.run.world)
    check_graphs(job.training, job.run.world)
    check_kept(job.training)
    preset_rules(job.optim)
    task, facts = build_task(job), backbone_facts(job.backbone)
    if job.predict_views:
        plugins.build_views(job.predict_views, "predict_views")
    lacking = unbuilt.lacking_sets(job) if dry else {}
    if lacking.keys() - {"data.val"}:
        found = unbuilt.imagined_sets(job, task, facts, lacking)
    elif lacking:
        found = replace(read_sets(_without_val(job), task, facts, fetch=dry), lacking=lacking)
    else:
        found = read_sets(job, task, facts, fetch=dry)
    total, curve = _course(job, found)
    if found.train:
        check_empty_known(job, found.train.manifest.recipe)
    encoders = needed_encoders(job, facts.companions, found.schema)
    for kind, setting in encoders.items():
        plugins.describe_plugin(plugins.ENCODERS, setting, f"encoders.{kind}")
    store = CheckpointStore(job.folder)
    checkpoint = resumable(store, found.train.manifest, job.data.batch_size) if found.train else None
    changed = check_unchanged(job, store, checkpoint) if checkpoint else []
    step = checkpoint.step if checkpoint else 0
    known = (job, task, found, total, curve, step, encoders, facts.assumed)

    model, absent = network.assembled(job, task, facts, found)
    if model is None:
        return TrainingForecast(*known, absent=absent, changed=changed)
    if found.train and found.sample is not None:
        fit.check_stride(model.backbone.facts, found.train)
    _check_norms(job, model)
    _learning(job, model, store, checkpoint, assumed=bool(facts.assumed))
    groups = named_groups(model, job.optim)
    activation_bytes = network.activation_bytes(job, task, model, found, dry=dry)
    peak_bytes = network.peak_bytes(job, task, model, found) if dry else {}
    return TrainingForecast(*known, model, "", groups, activation_bytes, peak_bytes, changed)


def _without_val(job: TrainJob) -> TrainJob:
    return replace(job, data=replace(job.data, val=""))


def _course(job: TrainJob, found: Sets) -> tuple[int, Schedule | None]:
    """Steps of the run and the curve of its learning rate, as far as they are known without a missing set."""
    spec, where, batch_size = job.optim.schedule, "optim.schedule", job.data.batch_size
    if found.train:
        total = job.loop.total_steps(found.train.n_items, batch_size)
        return total, build_schedule(spec, total, found.train.n_items / batch_size)
    if job.loop.steps:
        return job.loop.steps, build_schedule(spec, job.loop.steps, steps_per_epoch=1.0)
    plugins.bind_plugin(plugins.SCHEDULES, spec, where, n_positional=2)
    return 0, None


def _check_norms(job: TrainJob, model: Perception) -> None:
    """The run's own refusal; also where only its workers know whether they have GPUs, which would join norms."""
    import torch

    from vpd.training.step.norms import check_compiled_norms
    from vpd.training.worker import Worker

    device = torch.device("cuda" if network.gpus_of_worker(job) else "cpu")
    check_compiled_norms(job.training, model, Worker(world=job.run.world, device=device))


def _learning(
    job: TrainJob, model: Perception, store: CheckpointStore, checkpoint: Checkpoint | None, *, assumed: bool
) -> None:
    """Let what the settings name learn; refused if the weights that the run begins with are another network's.

    Args:
        assumed: the sizes are assumed: the weights may be right, and the assumption wrong.

    Raises:
        ConfigError, SchemaMismatch: other weights, or a regime that does not fit the network.
    """
    import torch

    from vpd.exchange.pretrained import check_start
    from vpd.model.regimes import apply_regime
    from vpd.training.resume import check_network

    if job.model.init and not assumed:
        check_start(model, job.model.init)
    with torch.device("meta"):
        apply_regime(model, job.model)
    if checkpoint is not None and not assumed:
        check_network(store, checkpoint, model)
