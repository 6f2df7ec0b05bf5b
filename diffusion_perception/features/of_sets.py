"""Features of a shard set's latents: whether these are the model's, what identifies the bytes, and one way to ask.

Features of another VAE's latents mean nothing; a recipe, and so a fingerprint, does not change with a source's files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from diffusion_perception import plugins
from shards.errors import ConfigError, FingerprintMismatch

if TYPE_CHECKING:
    import torch

    from diffusion_perception.features.latents import Noise
    from diffusion_perception.features.reading import Features
    from diffusion_perception.features.seen import Seen
    from shards.contract.manifest import Manifest
    from shards.reading.reader import ShardSet


class Asked(Protocol):
    """What the settings of a job say of features, whatever the timestep and prompt."""

    @property
    def model(self) -> str: ...
    @property
    def layers(self) -> Sequence[str]: ...
    @property
    def noise(self) -> Noise: ...
    @property
    def ensemble(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def latent_scale(self) -> float | None: ...
    @property
    def batch_size(self) -> int: ...


def seen_in(asked: Asked, features: Features, timestep: float, prompt: str, latents: torch.Tensor) -> Seen:
    """The features of latents `[B, C, h, w]` as a set stores them.

    Raises:
        ConfigError: they have other channels than the model reads.
    """
    channels = features.pipeline.vae.config["latent_channels"]
    if latents.shape[1] != channels:
        raise ConfigError(
            f"the set holds latents of {latents.shape[1]} channels, {asked.model} reads {channels}: name the model "
            "that the set was built with."
        )
    return features(
        latents=latents.float(),
        prompts=prompt,
        layers=asked.layers,
        timestep=timestep,
        noise=asked.noise,
        ensemble=asked.ensemble,
        seed=asked.seed,
        latent_scale=asked.latent_scale,
        batch_size=asked.batch_size,
    )


def tars_sha256(manifest: Manifest) -> str:
    """Of the hashes of a set's tars, in their order: every record's bytes."""
    return hashlib.sha256("".join(shard.tar_sha256 for shard in manifest.shards).encode()).hexdigest()


def check_same_vae(model: str, revision: str, sets: Sequence[ShardSet]) -> None:
    """Make sure that sets were built with a model's own VAE.

    Raises:
        FingerprintMismatch: one was built with another.
    """
    digests: dict[str, str] = {}
    for shards in sets:
        recorded = shards.manifest.recipe.get("image_encoder") or {}
        name = str(recorded.get("encoder", ""))
        if name not in digests:
            digests[name] = _digest(model, revision, name)
        if digests[name] and digests[name] != recorded.get("weights"):
            raise FingerprintMismatch(
                f"{shards.manifest.name} holds latents of another VAE (weights {str(recorded.get('weights'))[:12]}) "
                f"than {model} has ({digests[name][:12]}). Build the set with image.model={model}, or name the model "
                "it was built with."
            )


def _digest(model: str, revision: str, encoder: str) -> str:
    """Of the weights of the model's VAE, as an encoder counts it; empty for one that is not here, or does not say."""
    try:
        decoder = plugins.function(plugins.ENCODERS, {"name": encoder}, "model", "decoder")
    except ConfigError:
        return ""
    return decoder(model, revision or None, "cpu")[1]
