"""A run whose shard sets are not built yet: which are missing, and what is assumed of them meanwhile.

Owns the assumptions, which a forecast states with its figures. Only a dry run goes on without a set; the run itself is
refused. Sets that are there are read by `forecast.sets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffusion_perception import plugins
from diffusion_perception.assembly import fit
from diffusion_perception.assembly.companions import vision_setting
from diffusion_perception.assembly.network import context_tokens, said_width
from diffusion_perception.forecast.sets import Sets
from shards.contract.manifest import Manifest
from shards.contract.schema import META, Field, Schema
from shards.errors import IncompleteSet

if TYPE_CHECKING:
    import torch

    from diffusion_perception.train_job import TrainJob
    from vpd.backbones import BackboneFacts
    from vpd.heads import Prediction
    from vpd.model.device_batch import DeviceBatch
    from vpd.tasks import Task

VIEW_PX = 512  # side of a view, as Stable Diffusion 1 was trained and most published perception methods are
SENTENCE_TOKENS = 77  # the longest that CLIP reads


@dataclass(frozen=True)
class WithoutLabels:
    """What a task does for a network's forward pass, where there are no labels to ask the task itself for."""

    size_px: tuple[int, int]

    def context(self, batch: DeviceBatch) -> torch.Tensor | None:
        """The text, else all classes."""
        return batch.text

    def out_size_px(self, batch: DeviceBatch) -> tuple[int, int]:
        return self.size_px

    def loss(self, logits: Prediction, batch: DeviceBatch) -> torch.Tensor:
        """No loss: nothing is kept for it."""
        from vpd.heads import main_output

        return main_output(logits).sum()

    def loss_weight(self, batch: DeviceBatch) -> torch.Tensor | None:
        """A part of a batch counts as much as it is."""
        return batch.latents.new_ones(())


def lacking_sets(job: TrainJob) -> dict[str, str]:
    """The settings that name no finished set, each with the reason."""
    found = {}
    mixed = [("data.mix.sets", one.set) for one in job.data.mix.sets]
    for setting, url in (("data.train", job.data.train), ("data.val", job.data.val), *mixed):
        try:
            if url:
                Manifest.load(url, job.data.storage)
        except IncompleteSet as error:
            found[setting] = str(error)
    return found


def imagined_sets(job: TrainJob, task: Task, facts: BackboneFacts, lacking: dict[str, str]) -> Sets:
    """What a training set that suits task and backbone would be like, with a sample of zeros that has no labels.

    Raises:
        ConfigError: a class table that does not suit them.
    """
    import torch

    from shards.contract.tables import load_table
    from vpd.model.device_batch import VISION, DeviceBatch

    side, width = VIEW_PX // facts.latents.stride_px, facts.context_width
    fields = [Field("latent", "npy", "float16", ("V", facts.latents.channels, side, side), "view")]
    if task.uses_text:
        fields.append(Field("tokens", "npy", "int32", ("S", SENTENCE_TOKENS), "sentence"))
        fields.append(Field("text", "npy", "float16", ("S", SENTENCE_TOKENS, width), "sentence"))
    if job.model.vision.classes:
        found = plugins.describe_plugin(plugins.ENCODERS, vision_setting(job), "encoders.vision")
        fields.extend(found.fields((VIEW_PX, VIEW_PX)))
    schema = Schema((*fields, Field(META, "json")), "sentence" if task.uses_text else "view")
    tokens = context_tokens(job, task, schema)
    table: tuple[int, ...] | None = None
    if task.uses_classes and not job.model.prompts.count and not job.model.vision.classes:
        table = (tokens, width)
        if job.data.table:
            table = load_table(job.data.table)[0]["embeddings"].shape
            fit.check_class_rows(job, facts, table)
    sample = DeviceBatch(
        torch.zeros(1, facts.latents.channels, side, side),  # [1, C, h, w]
        torch.zeros(1, tokens, width) if task.uses_text else None,  # [1, L, D]
        {VISION: torch.zeros(1, said)} if (said := said_width(job, schema)) else {},  # [1, W]
    )
    return Sets(schema, tokens, table, sample, lacking=lacking)


def assumption(sample: DeviceBatch) -> str:
    """What a sample of `imagined_sets` assumes, for a person."""
    sentences = "" if sample.text is None else f", sentences of {sample.text.shape[1]} tokens"
    return f"views of {VIEW_PX} x {VIEW_PX} pixels, latents {list(sample.latents.shape[1:])}{sentences}"
