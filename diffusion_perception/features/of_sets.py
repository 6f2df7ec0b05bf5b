"""Features of a shard set's latents: whether these are the model's, and what identifies the bytes that are read.

Features of another VAE's latents mean nothing; a recipe, and so a fingerprint, does not change with a source's files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffusion_perception import plugins
from shards.errors import ConfigError, FingerprintMismatch

if TYPE_CHECKING:
    from shards.contract.manifest import Manifest
    from shards.reading.reader import ShardSet


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
