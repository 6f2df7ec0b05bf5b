"""A trained model, loaded from a run's checkpoint or from a model folder, ready to evaluate or predict.

Owns what both kinds have in common for their users (`Trained`). How a run writes its checkpoints is
`vpd.training.resume`'s, the form of a model folder `vpd.exchange.pretrained`'s. Imports torch only inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diffusion_perception import settings
from diffusion_perception.assembly.companions import (
    Kind,
    build_encoder,
    check_label_decoder,
    check_same_weights,
    encoder_setting,
    states_on_device,
    vision_setting,
)
from diffusion_perception.assembly.network import build_model, context_tokens
from diffusion_perception.assembly.parts import build_task
from diffusion_perception.hub import at_hand
from shards.contract.manifest import Manifest
from shards.errors import SchemaMismatch

if TYPE_CHECKING:
    import torch

    from diffusion_perception.train_job import TrainJob
    from vpd.backbones import BackboneFacts
    from vpd.model.device_batch import Encoders
    from vpd.model.perception import Perception
    from vpd.tasks import Task
    from vpd.training.checkpoints.checkpoint import Checkpoint
    from vpd.training.settings import DataConfig


@dataclass
class Trained:
    """A trained model, loaded: everything needed to evaluate or predict, without its training data."""

    home: str  # folder or URL of the run or model
    where: str  # checkpoint or model folder
    step: int
    task: Task
    model: Perception
    data: DataConfig  # of its training; the defaults for a model folder
    precision: str
    tokens: int  # context tokens of a sample
    size_px: tuple[int, int]  # what the image encoder saw in training
    class_names: tuple[str, ...]  # of the class table's rows; empty for a task without one
    predict_views: Mapping[str, Any]
    averaged: bool  # its weights are the moving average of the trained ones
    encoder: Callable[[Kind], Any]  # "image", "text" or "vision" -> the frozen encoder, loaded when it is asked for
    recipe: Mapping[str, Any] = field(default_factory=dict)  # of its training set; empty where that is not known

    def encoders_for(self, manifest: Manifest) -> Encoders:
        """The encoders that stand in for what a set does not store.

        Raises:
            SchemaMismatch, FingerprintMismatch: it does not hold what the model reads of a view, or not by the encoder
                of the training set.
        """
        from vpd.model.device_batch import Encoders, text_fields

        check_label_decoder(self.model.head, manifest.recipe)
        if self.model.reads_vision:
            self._check_vision(manifest)
        if text_fields(manifest.schema, self.data.text) != ("tokens",):
            return Encoders()
        clip = self.encoder("text")
        check_same_weights(clip.fingerprint, manifest.recipe["text_encoder"], "text encoder")
        return Encoders(text=states_on_device(clip, next(self.model.parameters()).device))

    def _check_vision(self, manifest: Manifest) -> None:
        said = next((field for field in manifest.schema.fields if field.name == "vision"), None)
        wanted = getattr(self.model.adapter, "said", 0)
        if said is None or said.shape[-1] != wanted:
            held = "nothing" if said is None else f"{said.shape[-1]} numbers"
            raise SchemaMismatch(
                f"{self.where} reads {wanted} numbers that a `vision` encoder says of a view; {manifest.name} holds "
                f"{held} of it. Build the set with the `vision` of the training set."
            )
        ours, theirs = self.recipe.get("vision_encoder"), manifest.recipe.get("vision_encoder")
        if ours and theirs:
            check_same_weights(ours, theirs, "vision encoder")


def saved_run(folder: str, which: str) -> tuple[Checkpoint, TrainJob, dict[str, Any]]:
    """A finished checkpoint of a run, the configuration it was trained with, and its saved state."""
    from diffusion_perception.train_job import TrainJob
    from vpd.training.checkpoints.checkpoint import CheckpointStore

    store = CheckpointStore(folder)
    newest = store.named("last", "")
    trained = settings.bind(TrainJob, store.load_state(newest)["config"])
    task = build_task(trained)
    checkpoint = store.named(which, task.metric_name, higher_is_better=task.higher_is_better)
    return checkpoint, trained, store.load_state(checkpoint)


def described(folder: str, which: str) -> tuple[Task, tuple[str, ...], str]:
    """The task of a trained model, the names of its classes, and where its weights lie, without reading them.

    Raises:
        ContractError: neither a run with a finished checkpoint nor a model folder.
    """
    from vpd.exchange.pretrained import is_pretrained, read_blueprint

    folder = at_hand(folder)
    if is_pretrained(folder):
        from diffusion_perception.blueprints import task_of

        blueprint = read_blueprint(folder)
        return task_of(blueprint), tuple(blueprint.class_names), folder
    checkpoint, job, state = saved_run(folder, which)
    return build_task(job), tuple(state["class_names"]), checkpoint.path


def load_trained(folder: str, which: str, device: torch.device) -> Trained:
    """A trained model on a device, in eval mode: from a run's checkpoint, or from a model folder
    (`vpd.exchange.pretrained`), which may be published at a URL (`diffusion_perception.hub`)."""
    from vpd.exchange.pretrained import is_pretrained

    folder = at_hand(folder)
    return _from_model_folder(folder, device) if is_pretrained(folder) else _from_run(folder, which, device)


def _from_run(folder: str, which: str, device: torch.device) -> Trained:
    from shards.contract.schema import Schema
    from vpd.training.checkpoints.checkpoint import CheckpointStore
    from vpd.training.resume import final_weights

    checkpoint, job, state = saved_run(folder, which)
    schema, task = Schema.from_json(state["schema"]), build_task(job)
    weights, averaged = final_weights(CheckpointStore(folder), checkpoint, job.model)
    rows = weights.get("class_embeddings")  # a checkpoint carries the class table it was trained with
    model = build_model(job, task, schema, None if rows is None else rows.numpy())
    model.load_state_dict(weights)
    facts: BackboneFacts = model.backbone.facts
    height, width = schema.field("latent").shape[-2:]
    size_px = facts.latents.size_px(int(height), int(width))
    tokens = context_tokens(job, task, schema)

    def load_encoder(kind: Kind) -> Any:
        if kind == "vision":
            encoder = build_encoder(vision_setting(job), kind, device)
            check_same_weights(encoder.fingerprint, state["recipe"]["vision_encoder"], "vision encoder")
            return encoder
        options = {"length": tokens} if kind == "text" else {}
        return build_encoder(encoder_setting(job, kind, facts.companions, **options), kind, device)

    return Trained(
        home=folder,
        where=checkpoint.path,
        step=checkpoint.step,
        task=task,
        model=model.to(device).eval(),
        data=job.data,
        precision=job.loop.precision,
        tokens=tokens,
        size_px=size_px,
        class_names=tuple(state["class_names"]),
        predict_views=job.predict_views or task.predict_views(size_px),
        averaged=averaged,
        encoder=load_encoder,
        recipe=state["recipe"],
    )


def _from_model_folder(folder: str, device: torch.device) -> Trained:
    from diffusion_perception.blueprints import from_pretrained, task_of
    from vpd.exchange.pretrained import encoder_options
    from vpd.training.settings import DataConfig

    model, blueprint = from_pretrained(folder)
    task = task_of(blueprint)
    height, width = blueprint.size_px

    def load_encoder(kind: Kind) -> Any:
        return build_encoder(encoder_options(folder, blueprint, kind), kind, device)

    return Trained(
        home=folder,
        where=folder,
        step=0,
        task=task,
        model=model.to(device).eval(),
        data=DataConfig(train=""),
        precision=blueprint.precision,
        tokens=blueprint.tokens,
        size_px=(height, width),
        class_names=tuple(blueprint.class_names),
        predict_views=blueprint.predict_views or task.predict_views((height, width)),
        averaged=bool(blueprint.origin.get("averaged")),
        encoder=load_encoder,
    )
