"""The frozen encoders that go with a backbone: which they are, where they come from, and whether they are a set's.

Owns the way from a backbone's companions and a run's `encoders` settings to encoders of the build side, and the form in
which the network calls them. What a backbone and an encoder say of themselves is theirs (`describe`). Imports torch
only inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from diffusion_perception import plugins
from shards.errors import ConfigError, FingerprintMismatch

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from diffusion_perception.train_job import TrainJob
    from shards.contract.schema import Schema
    from vpd.backbones import BackboneFacts, Companions
    from vpd.model.device_batch import Encoders

Kind = Literal["image", "text", "vision"]
# Settings that name an encoder, where not encoders.model does.
_SETTINGS = {"vision encoder": "encoders.vision", "VAE of the head": "model.head.model"}


def backbone_facts(backbone: Mapping[str, Any]) -> BackboneFacts:
    """What a configured backbone says of itself without its weights.

    Raises:
        ConfigError: no such backbone, or no model there.
    """
    return plugins.describe_plugin(plugins.BACKBONES, backbone, "backbone")


def encoder_setting(job: TrainJob, kind: Kind, companions: Companions, **options: Any) -> dict[str, Any]:
    """The plug-in setting of a run's encoder: `encoders.image` or `encoders.text`, where they say nothing the
    backbone's own, loaded from the backbone's model.

    Args:
        options: that somebody else decides, such as `length`.
    """
    chosen = dict(job.encoders.image if kind == "image" else job.encoders.text)
    chosen = {"name": chosen.get("name") or companions.named(kind), **chosen}
    inherited: dict[str, Any] = {"dtype": job.encoders.dtype}
    if "model" not in chosen:
        own = not job.encoders.model  # a revision belongs to its model
        inherited["model"] = job.encoders.model or job.backbone.get("model", "")
        inherited["revision"] = job.encoders.revision or (job.backbone.get("revision") if own else None)
    build = plugins.find(plugins.ENCODERS, chosen, f"encoders.{kind}").build
    takes = {parameter.name for parameter in plugins.option_parameters(build)}
    return {**chosen, **{name: value for name, value in inherited.items() if name in takes - set(chosen)}, **options}


def vision_setting(job: TrainJob) -> dict[str, Any]:
    """The plug-in setting of the encoder that says of a picture what the set holds of its views: no backbone has one.

    Raises:
        ConfigError: the run names none, so nothing could be predicted of a picture.
    """
    if not job.encoders.vision.get("name"):
        raise ConfigError(
            f"model.vision.classes is {job.model.vision.classes}, and encoders.vision names no encoder: a picture of "
            "no set could never be predicted. Set encoders.vision to the `vision` of the set's build, such as "
            "encoders.vision={name: vit, model: google/vit-base-patch16-224}."
        )
    return dict(job.encoders.vision)


def build_encoder(setting: Mapping[str, Any], kind: Kind, device: torch.device) -> Any:
    """A frozen encoder, as `pipeline.encoders` says."""
    return plugins.build_plugin(plugins.ENCODERS, setting, f"encoders.{kind}", device=str(device))


def needed_encoders(job: TrainJob, companions: Companions, schema: Schema) -> dict[Kind, dict[str, Any]]:
    """The plug-in settings of the encoders that a run loads, for what a set does not store or is told not to use: no
    set stores the empty sentence, which dropped captions leave."""
    from vpd.model.device_batch import text_fields

    needed: dict[Kind, dict[str, Any]] = {}
    reads = text_fields(schema, job.data.text)
    if reads == ("tokens",) or (reads and job.data.caption_drop):
        needed["text"] = encoder_setting(job, "text", companions, length=schema.field("tokens").shape[-1])
    if job.data.latents == "online":
        needed["image"] = encoder_setting(job, "image", companions)
    return needed


def check_empty_known(job: TrainJob, recipe: Mapping[str, Any]) -> None:
    """ConfigError where captions are dropped, and a set's recipe does not say whose empty sentence stands for them."""
    if job.data.caption_drop and not recipe.get("text_encoder"):
        raise ConfigError(
            f"data.caption_drop is {job.data.caption_drop}: the empty sentence has to come from the set's own text "
            "encoder, and the set's recipe names none (text_encoder). Build the set with one, or leave it out."
        )


def build_encoders(
    job: TrainJob, companions: Companions, schema: Schema, recipe: Mapping[str, Any], device: torch.device
) -> Encoders:
    """The frozen encoders that stand in for what a set does not store, or is told not to use.

    Raises:
        FingerprintMismatch: an encoder's weights are not those the set was built with.
        ConfigError: captions are dropped, and nothing says what the empty sentence is.
    """
    from vpd.model.device_batch import Encoders, text_fields

    text = latents = None
    empty: dict[str, np.ndarray] = {}
    needed = needed_encoders(job, companions, schema)
    if "text" in needed:
        (read,) = text_fields(schema, job.data.text)
        check_empty_known(job, recipe)
        text_encoder = build_encoder(needed["text"], "text", device)
        check_same_weights(text_encoder.fingerprint, recipe["text_encoder"], "text encoder")
        if read == "tokens":
            text = states_on_device(text_encoder, device)
        if job.data.caption_drop:
            empty = {read: empty_sentence(text_encoder, read)}
    if "image" in needed:
        image_encoder = build_encoder(needed["image"], "image", device)
        check_same_weights(image_encoder.fingerprint, recipe["image_encoder"], "image encoder")
        latents = on_device(lambda pixels: image_encoder.encode(pixels)["latent"], device)
    return Encoders(latents, text, empty)


def check_label_decoder(head: Any, recipe: Mapping[str, Any]) -> None:
    """Hold a head that decodes label latents against what encoded those of a set: another VAE would show them wrongly,
    and score so, without a word. Other heads, and sets without label latents, pass.

    Raises:
        FingerprintMismatch: the head's VAE is another one.
    """
    import torch

    from vpd.heads.label_latent import LabelLatentHead

    made = recipe.get("label_latents")
    if not made or not isinstance(head, LabelLatentHead):
        return
    expected = made["encoder"]
    setting = {"name": expected["encoder"], "model": head.model, "revision": head.revision}
    found = build_encoder(setting, "image", torch.device("cpu")).fingerprint
    check_same_weights(found, expected, "VAE of the head")


def empty_sentence(encoder: Any, field: str) -> np.ndarray:
    """What a set would store of a sentence without words: `tokens` int32 [L], or its states, `text`, float16 [L, D].

    Raises:
        ConfigError: a state does not fit in float16.
    """
    import numpy as np

    tokens = encoder.tokenize([""])  # [1, L]
    if field == "tokens":
        return tokens[0]
    states = encoder.encode_to_store(tokens)[0]  # [L, D]
    if not np.isfinite(states).all():
        raise ConfigError(
            "data.caption_drop: a state of the empty sentence does not fit in float16. Use encoders.dtype=float32."
        )
    return states


def states_on_device(encoder: Any, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A text encoder as a function on tensors of a device: its own, if it has one, which waits for nothing."""
    own = getattr(encoder, "states", None)
    return on_device(encoder.encode, device) if own is None else lambda tokens: own(tokens).to(device)


def on_device(encode: Callable[[np.ndarray], np.ndarray], device: torch.device) -> Callable[[Tensor], Tensor]:
    """An encoder of the build side, which speaks NumPy, as a function on tensors of a device; float32 out."""
    import torch

    return lambda tensor: torch.from_numpy(encode(tensor.cpu().numpy())).to(device).float()


def check_same_weights(found: Mapping[str, Any], expected: Mapping[str, Any], what: str) -> None:
    """Weights and tokenizer must be equal; precision and batch size may differ, they are this run's own business."""
    apart = [key for key in ("encoder", "weights", "tokenizer", "layout") if found.get(key) != expected.get(key)]
    if apart:
        setting = _SETTINGS.get(what, "encoders.model (and encoders.revision)")
        lines = "\n  ".join(f"{key}: {found.get(key)} here, {expected.get(key)} in the set" for key in apart)
        raise FingerprintMismatch(
            f"the {what} of this configuration is not the one the training set was built with:\n  {lines}\n"
            f"Set {setting} to the model the set was built with, or rebuild the set."
        )
