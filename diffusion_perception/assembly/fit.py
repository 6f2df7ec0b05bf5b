"""Whether a backbone can learn from a shard set: from the set's manifest and what the backbone says of itself.

Owns the comparison, which needs no weights and no network, so that a driver refuses what a worker would fail at.
Whether an encoder that is loaded is the very one a set was built with is `diffusion_perception.assembly.companions`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffusion_perception import plugins
from diffusion_perception.assembly.companions import Kind, encoder_setting, vision_setting
from shards.errors import ConfigError, FingerprintMismatch, SchemaMismatch

if TYPE_CHECKING:
    from diffusion_perception.train_job import TrainJob
    from shards.contract.manifest import Manifest
    from shards.reading.reader import ShardSet
    from vpd.backbones import BackboneFacts
    from vpd.tasks import Task


def check_set(job: TrainJob, task: Task, facts: BackboneFacts, manifest: Manifest, setting: str) -> None:
    """Make sure that latents and text of a set are what the backbone reads.

    Args:
        facts: of the backbone; sizes that were only assumed are not compared.
        setting: that names the set, for messages.

    Raises:
        ConfigError: latents of other channels, or text states or a vector of another width; the message has both.
        FingerprintMismatch: the set was made by another kind of encoder than the backbone's own.
        SchemaMismatch: the run reads what a `vision` encoder says, and the set was built without one.
    """
    if job.model.vision.classes:
        _check_vision(job, manifest, setting)
    reads_text = task.uses_text and not job.model.prompts.count
    for kind in ("image", "text") if reads_text else ("image",):
        _check_encoder(job, facts, manifest, kind, setting)
    if facts.assumed:
        return
    channels = manifest.schema.field("latent").shape[1]
    if channels != facts.latents.channels:
        raise ConfigError(
            f"{setting} ({manifest.name}) holds latents of {channels} channels, backbone {job.backbone['name']} reads "
            f"{facts.latents.channels}. Build the set with the image encoder of the backbone's model, or name the "
            "model that belongs to the set (backbone.model)."
        )
    if reads_text and (width := _text_width(job, facts, manifest)) != facts.context_width:
        raise ConfigError(
            f"{setting} ({manifest.name}) has text states {width} wide, backbone {job.backbone['name']} attends to "
            f"{facts.context_width}. Build the set with the text encoder of the backbone's model, or name the model "
            "that belongs to the set (backbone.model)."
        )


def check_class_rows(job: TrainJob, facts: BackboneFacts, shape: Sequence[int]) -> None:
    """ConfigError if the class embeddings, of this shape, are not as wide as the backbone's context."""
    if not facts.assumed and shape[-1] != facts.context_width:
        raise ConfigError(
            f"the class embeddings of {job.data.table or job.data.train} are {shape[-1]} wide, backbone "
            f"{job.backbone['name']} attends to {facts.context_width}. Make them with the text encoder of the "
            "backbone's model."
        )


def check_stride(facts: BackboneFacts, shards: ShardSet) -> None:
    """ConfigError if a latent pixel of a set shows more or less than one the backbone was made for; reads a record."""
    view = shards.record(0).meta["views"][0]
    latent, stride = tuple(shards.schema.field("latent").shape[-2:]), facts.latents.stride_px
    if facts.latents.size_px(*map(int, latent)) != tuple(view["size_px"]):
        raise ConfigError(
            f"{shards.manifest.name} holds latents of {latent[0]} x {latent[1]} for views of {view['size_px'][0]} x "
            f"{view['size_px'][1]} pixels, the backbone's have a stride of {stride} pixels. Build the set with the "
            "image encoder of the backbone's model."
        )


def _check_vision(job: TrainJob, manifest: Manifest, setting: str) -> None:
    """The run's own `vision` encoder is of the kind that the set was built with, and says as much of a view."""
    said = {field.name: field for field in manifest.schema.fields}.get("vision")
    if said is None:
        raise SchemaMismatch(
            f"{setting} ({manifest.name}) was built without a `vision` encoder, and model.vision.classes is "
            f"{job.model.vision.classes}. Build it with one, such as vision={{name: vit, model: "
            "google/vit-base-patch16-224}, or set model.vision.classes=0."
        )
    chosen = vision_setting(job)
    recorded = (manifest.recipe.get("vision_encoder") or {}).get("encoder")
    if recorded not in (None, str(chosen["name"]).removeprefix(f"{plugins.ENCODERS}.")):
        raise FingerprintMismatch(
            f"{setting} ({manifest.name}) was made by the vision encoder {recorded}, encoders.vision is "
            f"{chosen['name']}. Name that of the set's build."
        )
    found = plugins.describe_plugin(plugins.ENCODERS, chosen, "encoders.vision")
    if not found.assumed and found.width != said.shape[-1]:
        raise ConfigError(
            f"{setting} ({manifest.name}) holds {said.shape[-1]} numbers of a view ({said.unit}), encoders.vision says "
            f"{found.width} ({found.unit}). Name the model and the options of the set's build."
        )


def _check_encoder(job: TrainJob, facts: BackboneFacts, manifest: Manifest, kind: Kind, setting: str) -> None:
    recorded = (manifest.recipe.get(f"{kind}_encoder") or {}).get("encoder")
    chosen = (job.encoders.image if kind == "image" else job.encoders.text).get("name")
    expected = str(chosen or facts.companions.named(kind)).removeprefix(f"{plugins.ENCODERS}.")
    if recorded is not None and recorded != expected:
        whose = f"encoders.{kind} is" if chosen else f"the {kind} encoder of backbone {job.backbone['name']} is"
        raise FingerprintMismatch(
            f"{setting} ({manifest.name}) was made by the {kind} encoder {recorded}, {whose} {expected}. Build the set "
            f"with {expected}, or, if {recorded} gives what the backbone was trained on, set "
            f"encoders.{kind}.name={recorded}."
        )


def _text_width(job: TrainJob, facts: BackboneFacts, manifest: Manifest) -> int:
    """Of stored states; of a set with token ids only, of the encoder that will make them."""
    names = {field.name for field in manifest.schema.fields}
    if "text" in names:
        return int(manifest.schema.field("text").shape[-1])
    if "tokens" not in names:
        return facts.context_width  # no sentences at all: the task says so itself
    length = manifest.schema.field("tokens").shape[-1]
    setting = encoder_setting(job, "text", facts.companions, length=length)
    found = plugins.describe_plugin(plugins.ENCODERS, setting, "encoders.text")
    return facts.context_width if found.assumed else found.width
